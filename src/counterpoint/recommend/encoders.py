"""Networks that read histories: a causal Transformer over padded sequences."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


class Block(nn.Module):
    """Attention and a feed-forward network; each reads the normalised input and is added to the input.

    Source: arXiv 1808.09781, section 3.2.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.before_attention, self.before_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        """Each place reads itself and what comes before; padding behind the end is read by padding alone."""
        n, length, dim = x.shape
        parts = self.project(self.before_attention(x)).view(n, length, 3, self.heads, dim // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        read = scaled_dot_product_attention(queries, keys, values, is_causal=True, dropout_p=rate)
        return self._added(x, read)

    def last(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        """The state after the last event of each history alone, which is all that is read of the topmost block."""
        dim, normal = x.shape[-1], self.before_attention(x)
        weight, bias = self.project.weight, self.project.bias
        own = linear(at_the_end(normal, there)[:, None], weight[:dim], bias[:dim])
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (own, *linear(normal, weight[dim:], bias[dim:]).chunk(2, dim=-1))
        )
        mask = None if bool(there.all()) else there[:, None, None]
        rate = self.rate if self.training else 0.0
        read = scaled_dot_product_attention(queries, keys, values, mask, dropout_p=rate)
        return self._added(at_the_end(x, there)[:, None], read)[:, 0]

    def _added(self, x: Float[Tensor, "n l d"], read: Float[Tensor, "n h l _"]) -> Float[Tensor, "n l d"]:
        x = x + self.dropout(self.out(read.transpose(1, 2).flatten(2)))
        fed: Tensor = x + self.dropout(self.feed(self.before_feed(x)))
        return fed


class CausalTransformer(nn.Module):
    """Blocks over vectors of items with learned positions, counted from the first event that is read."""

    def __init__(self, dim: int, longest: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Embedding(longest, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, dropout) for _ in range(layers)))
        self.normal = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        """A state after each event; histories begin at the first place."""
        states: Tensor = self.normal(self.blocks(self._placed(x)))
        return states

    def last(self, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        """The state after the last event of each history, the same as in `forward`."""
        below: Tensor = self.blocks[:-1](self._placed(x))
        found: Tensor = self.normal(self.blocks[-1].last(below, there))  # type: ignore[operator]
        return found

    def _placed(self, x: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        found: Tensor = self.dropout(x + self.positions(torch.arange(x.shape[1], device=x.device)))
        return found


def at_the_end(states: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"]) -> Float[Tensor, "n d"]:
    """The state after the last event of each history.

    >>> at_the_end(torch.arange(4.0).view(1, 4, 1), torch.tensor([[True, True, True, False]]))
    tensor([[2.]])
    """
    rows = torch.arange(len(states), device=states.device)
    return states[rows, there.sum(1) - 1]


def small_normal(module: nn.Module, scale: float = 0.02) -> None:
    """Weights from a normal distribution of that deviation; biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=scale)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
