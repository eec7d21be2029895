"""What gives a document its shares of topics, and topics their words."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.objectives.ranks import gather


class Spread(nn.Module):
    """Batch normalisation over the rows of all ranks: every topic is taken by some documents of a batch.

    In training with the batch's own moments, which `track` adds to running ones; else with those. Source: the encoders
    of ProdLDA (arXiv 1703.01488) and its followers; over ranks ours.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, rows: Float[Tensor, "n k"], track: bool = True) -> Float[Tensor, "n k"]:
        mean, variance = self.mean, self.variance
        if self.training:
            whole = gather(rows)
            mean, variance = whole.mean(0), whole.var(0, correction=0)
            if track:
                self.mean.lerp_(mean.detach(), self.momentum)
                self.variance.lerp_(variance.detach(), self.momentum)
        return (rows - mean) / (variance + 1e-5).sqrt() * self.scale + self.shift


class Shares(nn.Module):
    """softmax(MLP([words / |words| ; vector])): n documents' shares of k topics, as logarithms.

    One hidden layer with softplus and dropout, and `Spread` before the softmax.
    """

    def __init__(self, words: int, width: int, hidden: int, topics: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(words + width, hidden)
        self.outer = nn.Linear(hidden, topics)
        self.dropout = nn.Dropout(dropout)
        self.spread = Spread(topics)

    def forward(
        self, counts: Float[Tensor, "n v"], vectors: Float[Tensor, "n d"], track: bool = True
    ) -> Float[Tensor, "n k"]:
        given = torch.cat([normalize(counts, dim=1), vectors], dim=1)
        hidden = self.dropout(nn.functional.softplus(self.inner(given)))
        shares: Tensor = self.spread(self.outer(hidden), track)
        return shares.log_softmax(1)
