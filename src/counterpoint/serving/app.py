"""The HTTP interface of a run: `create_app` is an ASGI application for any server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from counterpoint import __version__
from counterpoint.serving import problems
from counterpoint.serving.desk import Desk
from counterpoint.serving.guard import Guard
from counterpoint.serving.routes import router
from counterpoint.serving.served import Served
from counterpoint.serving.settings import Settings
from counterpoint.serving.watch import Meters, Watch


def create_app(run: str | Path | Served, index: str | Path | None = None, settings: Settings | None = None) -> FastAPI:
    """An application that serves a run folder and, when given, an index of its vectors.

    Raises `UserError` when one of them is missing, damaged or newer, or when they do not belong together.
    """
    served = run if isinstance(run, Served) else Served.open(Path(run), Path(index) if index is not None else None)
    settings, meters = settings or Settings(), Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.desk = Desk(served, settings, meters)
        yield
        app.state.desk.close()

    app = FastAPI(
        title="Counterpoint",
        summary="Vectors, search and what else a fitted run can do.",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.meters, app.state.leaving = meters, False
    app.include_router(router)
    problems.install(app)
    app.add_middleware(Guard, settings=settings)  # the last one added is the first one passed
    if settings.origins:
        headers = ["authorization", "content-type"]
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=headers
        )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
    app.add_middleware(Watch, meters=meters)
    return app
