"""A fitted method as an embeddings object of the LangChain kind, without that library."""

from collections.abc import Sequence
from typing import Any

from counterpoint.serving.export import text_encoder
from counterpoint.training import Method


class Embeddings:
    """`embed_documents` and `embed_query` over a fitted method; LangChain's vector stores ask for nothing else.

    A record is a text for methods of texts, and {view: numbers} (null where missing) for methods of tables.
    """

    def __init__(self, method: Method) -> None:
        method.require_fitted()
        self.method: Any = method

    def embed_documents(self, texts: Sequence[Any]) -> list[list[float]]:
        """One vector per record."""
        return self._embed(texts, "document")

    def embed_query(self, text: Any) -> list[float]:
        """The vector of one record."""
        return self._embed([text], "query")[0]

    def _embed(self, records: Sequence[Any], role: str) -> list[list[float]]:
        if not records:
            return []
        if text_encoder(self.method) is not None:
            vectors = self.method.embed_texts(list(records), role)
        else:
            vectors = self.method.embed(type(self.method).Data.of_records(records, self.method.facts))
        found: list[list[float]] = vectors.tolist()
        return found


def as_embeddings(method: Method) -> Embeddings:
    """An object with `embed_documents` and `embed_query`; raises `UserError` for a method that is not fitted."""
    return Embeddings(method)
