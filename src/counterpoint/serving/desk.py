"""Between requests and the run: puts what is asked at the same moment together, and answers each."""

import asyncio
import base64
import json
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from counterpoint.errors import UserError, nearest
from counterpoint.serving import shapes
from counterpoint.serving.batching import Batcher
from counterpoint.serving.problems import RefusedError
from counterpoint.serving.search import JOINT
from counterpoint.serving.served import Served
from counterpoint.serving.settings import Settings
from counterpoint.serving.watch import Meters
from counterpoint.serving.why import plain

T = TypeVar("T")


class Desk:
    """Answers the requests of one server; encoding, prediction and search each run in batches in one thread."""

    def __init__(self, served: Served, settings: Settings, meters: Meters) -> None:
        self.served, self.settings = served, settings
        limits = (settings.batch, settings.wait, settings.waiting, meters.batch.observe)
        self.encoding = Batcher(lambda view, records: list(served.embed(records, view)), *limits)
        self.predicting = Batcher(lambda key, records: served.predict(records), *limits)
        self.searching = Batcher(self._search, *limits)
        self.aside = ThreadPoolExecutor(max_workers=1)

    def close(self) -> None:
        """Let the threads go."""
        for batcher in (self.encoding, self.predicting, self.searching):
            batcher.close()
        self.aside.shutdown()

    # Vectors ----------------------------------------------------------------------------------------------

    async def embeddings(self, request: shapes.EmbeddingsRequest) -> shapes.EmbeddingsAnswer:
        """Vectors as an OpenAI client expects them."""
        self._wants("embed")
        if request.model not in (None, self.served.name):
            raise RefusedError(404, f'no model "{request.model}" here, only "{self.served.name}"', "model")
        vectors = await self._embed(request.records)
        if request.dimensions not in (None, vectors.shape[1]):
            raise RefusedError(400, f"vectors of this run have {vectors.shape[1]} numbers", "dimensions")
        coded = [_base64(row) if request.encoding_format == "base64" else row.tolist() for row in vectors]
        data = [shapes.Embedding(index=number, embedding=row) for number, row in enumerate(coded)]
        tokens, cut = await self._aside(self.served.reading, request.records)
        usage = shapes.Usage(prompt_tokens=tokens, total_tokens=tokens)
        return shapes.EmbeddingsAnswer(data=data, model=self.served.name, usage=usage, truncated=cut)

    async def _embed(self, records: Sequence[Any], view: str = JOINT) -> Float[np.ndarray, "n d"]:
        self._refuse_too_many(records)
        return np.stack(await self.encoding.submit(list(records), view))

    # Search -----------------------------------------------------------------------------------------------

    async def search(self, request: shapes.SearchRequest) -> shapes.SearchAnswer:
        """The rows of the index nearest to what is asked, without the row itself."""
        row, vector = await self._asked(request)
        own = row is not None
        where = json.dumps(request.model_dump(mode="json")["where"], sort_keys=True)
        found = (await self.searching.submit([(vector, request.k + own)], where))[0]
        hits = [hit for hit in found if hit[2] != row][: request.k]
        answer: shapes.SearchAnswer = await self._aside(self._describe, row, vector, hits)
        if request.input is not None:
            answer.query.truncated = bool((await self._aside(self.served.reading, [request.input]))[1])
        return answer

    def _search(self, where: Hashable, items: list[Any]) -> list[Any]:
        """Search for several vectors under one condition, each cut to its own k."""
        most = max(k for _, k in items)
        found = self.served.search(np.stack([vector for vector, _ in items]), most, json.loads(str(where)))
        return [hits[:k] for hits, (_, k) in zip(found, items, strict=True)]

    def _describe(self, row: int | None, vector: Any, hits: list[tuple[Any, float, int]]) -> shapes.SearchAnswer:
        """Metadata and places of what was found, and of the query's own row."""
        served, rows = self.served, [hit[2] for hit in hits]
        here, *places = served.place(np.concatenate([vector[None], served.vectors(rows)]))
        own = {} if row is None else {"id": served.ids([row])[0], "metadata": served.metadata([row])[0]}
        return shapes.SearchAnswer(
            query=shapes.Query(at=here, **own),
            hits=[
                shapes.Hit(rank=rank, id=key, score=score, metadata=about, at=at)
                for rank, ((key, score, _), about, at) in enumerate(
                    zip(hits, served.metadata(rows), places, strict=True), start=1
                )
            ],
        )

    async def _asked(self, request: shapes.Asked) -> tuple[int | None, Float[np.ndarray, " d"]]:
        """The row and the vector of what is asked for; the row is None unless it is one of the index."""
        self._wants_index()
        given = [name for name in ("input", "id", "vector") if getattr(request, name) is not None]
        if len(given) != 1:
            raise RefusedError(400, "give exactly one of input, id and vector")
        if request.id is not None:
            return await self._known(request.id, "id")
        if request.vector is not None:
            return None, self._whole(request.vector)
        self._wants("embed")
        return None, (await self._embed([request.input], self.served.view))[0]

    async def _known(self, key: Any, param: str) -> tuple[int, Float[np.ndarray, " d"]]:
        """The row of an id with its vector."""
        try:
            row = await self._aside(self.served.row, key)
        except UserError as reason:
            raise RefusedError(404, str(reason), param) from None
        return row, self.served.vectors([row])[0]

    def _whole(self, values: Sequence[float]) -> Float[np.ndarray, " d"]:
        wanted = self.served.index.about["dim"] if self.served.index is not None else 0
        if len(values) != wanted:
            raise RefusedError(400, f"the vector has {len(values)} numbers, those of the index have {wanted}", "vector")
        if not any(values):
            raise RefusedError(400, "a vector of zeros has no direction", "vector")
        return np.asarray(values, dtype=np.float32)

    # Why, the map, and what else a method can do ----------------------------------------------------------

    async def why(self, request: shapes.WhyRequest) -> shapes.WhyAnswer:
        """The training pairs nearest to the query and a row found for it."""
        _, vector = await self._asked(request)
        training = self.served.training
        if training is None:
            raise RefusedError(404, "the run folder has no vectors of its training rows (embeddings.parquet)")
        _, hit = await self._known(request.hit, "hit")
        found = await self._aside(training.pairs, vector, hit, request.k)
        about = training.columns.take([row for row, *_ in found]).to_pylist() or [{}] * len(found)
        return shapes.WhyAnswer(
            pairs=[
                shapes.Pair(
                    id=plain(training.ids[row]),
                    query_view=a,
                    query_similarity=near_query,
                    hit_view=b,
                    hit_similarity=near_hit,
                    metadata={name: plain(value) for name, value in columns.items()},
                )
                for (row, a, near_query, b, near_hit), columns in zip(found, about, strict=True)
            ]
        )

    async def map(self, column: str | None) -> shapes.MapAnswer:
        """Rows of the index on a plane, with one column of their metadata."""
        self._wants_index()
        return await self._aside(self._map, column)

    def _map(self, column: str | None) -> shapes.MapAnswer:
        served, rows = self.served, self.served.drawn.tolist()
        values = None
        if column is not None:
            about = served.metadata(rows)
            if about and column not in about[0]:
                raise RefusedError(404, f'the index has no column "{column}"; {nearest(column, about[0])}', "column")
            values = [row[column] for row in about]
        places = served.place(served.vectors(rows))
        return shapes.MapAnswer(ids=served.ids(rows), x=[x for x, _ in places], y=[y for _, y in places], values=values)

    async def predict(self, request: shapes.PredictRequest) -> shapes.PredictAnswer:
        """What the method says of each record."""
        self._wants("predict")
        self._refuse_too_many(request.records)
        return shapes.PredictAnswer(data=await self.predicting.submit(list(request.records)))

    async def recommend(self, request: shapes.RecommendRequest) -> shapes.RecommendAnswer:
        """What a user may want next."""
        self._wants("recommend")
        return shapes.RecommendAnswer(hits=await self._aside(lambda: self.served.recommend(**request.model_dump())))

    def about(self) -> shapes.About:
        """What is served."""
        served = self.served
        about = None
        if served.index is not None:
            told = {name: plain(served.index.about[name]) for name in ("kind", "dim", "rows", "recall")}
            columns = list(served.metadata([0])[0]) if len(served.index) else []
            about = {**told, "view": served.view, "columns": columns}
        return shapes.About(
            run=served.name,
            method=served.method.name,
            text=served.takes_text,
            views=served.views,
            can=served.capabilities,
            index=about,
        )

    # What cannot be served --------------------------------------------------------------------------------

    def _wants(self, capability: str) -> None:
        if not self.served.can(capability):
            able = ", ".join(self.served.capabilities)
            raise RefusedError(404, f"{self.served.method.name} does not {capability}; this run can: {able}")

    def _wants_index(self) -> None:
        if self.served.index is None:
            raise RefusedError(404, "no index is served; start the server with --index, made by counterpoint index")

    def _refuse_too_many(self, records: Sequence[Any]) -> None:
        if len(records) > self.settings.inputs:
            raise RefusedError(413, f"{len(records):,} inputs, where {self.settings.inputs:,} are allowed", "input")

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run something off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.aside, work, *arguments)


def _base64(row: Float[np.ndarray, " d"]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
