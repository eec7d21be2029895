"""The addresses a server answers to."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from counterpoint import __version__
from counterpoint.serving import shapes
from counterpoint.serving.desk import Desk
from counterpoint.serving.page import page


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


At = Annotated[Desk, Depends(_desk)]
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": shapes.Problem, "description": "A mistake in what was asked."},
    401: {"model": shapes.Problem, "description": "No token, or not the right one."},
    404: {"model": shapes.Problem, "description": "No such row, column or model, or the run cannot do this."},
    413: {"model": shapes.Problem, "description": "Too much in one request."},
    422: {"model": shapes.Problem, "description": "Not the form of this request."},
    429: {"model": shapes.Problem, "description": "Too many requests a second."},
    503: {"model": shapes.Problem, "description": "Too much is waiting."},
}
router = APIRouter(responses=REFUSALS)


@router.get("/health")
async def health() -> shapes.Health:
    """Say that the server answers."""
    return shapes.Health(version=__version__)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counts and timings for Prometheus."""
    return Response(generate_latest(request.app.state.meters.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/about")
async def about(desk: At) -> shapes.About:
    """What is served: the run, the form of its records, and what can be asked."""
    return desk.about()


@router.get("/v1/models")
async def models(desk: At) -> shapes.Models:
    """The run as a model, for OpenAI clients."""
    return shapes.Models(data=[shapes.Model(id=desk.served.name, created=desk.served.since)])


@router.post("/v1/embeddings")
async def embeddings(request: shapes.EmbeddingsRequest, desk: At) -> shapes.EmbeddingsAnswer:
    """Vectors of texts or of objects with the numbers of views."""
    return await desk.embeddings(request)


@router.post("/search")
async def search(request: shapes.SearchRequest, desk: At) -> shapes.SearchAnswer:
    """The indexed rows nearest to a record, to a row or to a vector."""
    return await desk.search(request)


@router.post("/why")
async def why(request: shapes.WhyRequest, desk: At) -> shapes.WhyAnswer:
    """The training pairs that brought a query and a row found for it together."""
    return await desk.why(request)


@router.get("/map")
async def atlas(
    desk: At, column: Annotated[str | None, Query(max_length=1000, description="Metadata to colour by.")] = None
) -> shapes.MapAnswer:
    """Rows of the index on a plane."""
    return await desk.map(column)


@router.post("/predict")
async def predict(request: shapes.PredictRequest, desk: At) -> shapes.PredictAnswer:
    """What the method says of each record, when it classifies."""
    return await desk.predict(request)


@router.post("/recommend")
async def recommend(request: shapes.RecommendRequest, desk: At) -> shapes.RecommendAnswer:
    """What a user may want next, when the method recommends."""
    return await desk.recommend(request)


@router.get("/", include_in_schema=False)
async def people() -> HTMLResponse:
    """The page for people."""
    text, policy = page()
    return HTMLResponse(text, headers={"content-security-policy": policy, "x-frame-options": "DENY"})
