"""Vectors of single texts from a pretrained encoder that is borrowed, not learned."""

from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from counterpoint.pretrained.texts import TextEncoder


class Embedder:
    """Text to unit vector, each text alone and once, so that a vector depends on nothing but the text.

    The encoder is read when the first vector is asked for; it is no part of the method that uses it.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[str, Float[Tensor, " d"]] = {}

    @cached_property
    def encoder(self) -> TextEncoder:
        """The pretrained encoder."""
        return TextEncoder.from_source(self.source)

    def __call__(self, text: str) -> Float[Tensor, " d"]:
        if text not in self.known:
            self.known[text] = self.encoder.encode([text])[0]
        return self.known[text]
