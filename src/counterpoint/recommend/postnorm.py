"""A Transformer that reads a whole history in both directions, normalised after each addition."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from counterpoint.recommend.encoders import at_the_end
from counterpoint.training.dropout import Dropout


class PostNormBlock(nn.Module):
    """Attention without an output projection and a feed-forward network; each is added and the sum normalised."""

    def __init__(self, dim: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.project = nn.Linear(dim, 3 * dim)
        self.after_attention, self.after_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """A state for each place."""
        queries, keys, values = (self._heads(part) for part in self.project(x).chunk(3, dim=-1))
        mask = None if self.causal else _mask(there)  # padding lies behind the end, where no earlier place looks
        return self._added(x, scaled_dot_product_attention(queries, keys, values, mask, is_causal=self.causal))

    def last(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        """The state of the last place alone, which is all that is read of the topmost block."""
        dim = x.shape[-1]
        end = at_the_end(x, there)[:, None]
        weight, bias = self.project.weight, self.project.bias
        queries = self._heads(linear(end, weight[:dim], bias[:dim]))
        keys, values = (self._heads(part) for part in linear(x, weight[dim:], bias[dim:]).chunk(2, dim=-1))
        return self._added(end, scaled_dot_product_attention(queries, keys, values, _mask(there)))[:, 0]

    def _heads(self, x: Float[Tensor, "n l d"]) -> Float[Tensor, "n h l _"]:
        apart: Tensor = x.unflatten(-1, (self.heads, -1))
        return apart.transpose(1, 2)

    def _added(self, x: Float[Tensor, "n l d"], read: Float[Tensor, "n h l _"]) -> Float[Tensor, "n l d"]:
        x = self.after_attention(x + self.dropout(read.transpose(1, 2).flatten(2)))
        found: Tensor = self.after_feed(x + self.dropout(self.feed(x)))
        return found


class PostNormTransformer(nn.Module):
    """Blocks over vectors of items with learned positions, counted from the first event that is read.

    Each place reads all others, or with `causal` itself and what comes before. Source: the released code of arXiv
    2604.14114; the blocks are those of arXiv 1706.03762, section 3, without the projection of joined heads.
    """

    def __init__(self, dim: int, longest: int, layers: int, heads: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.positions = nn.Embedding(longest, dim)
        self.blocks = nn.ModuleList(PostNormBlock(dim, heads, dropout, causal) for _ in range(layers))

    def forward(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """A state for each place; histories begin at the first."""
        return self._through(x, there, len(self.blocks))

    def last(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        """The state of the last event of each history, the same as in `forward`."""
        found: Tensor = self.blocks[-1].last(self._through(x, there, len(self.blocks) - 1), there)  # type: ignore[operator]
        return found

    def _through(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"], blocks: int) -> Float[Tensor, "n l d"]:
        x = x + self.positions(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks[:blocks]:
            x = block(x, there)
        return x


def _mask(there: Bool[Tensor, "n l"]) -> Bool[Tensor, "n 1 1 l"] | None:
    """Who may be read, None for all: histories of one length need no mask."""
    return None if bool(there.all()) else there[:, None, None]
