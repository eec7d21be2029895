"""The shape of an embedding: near where it should be near, spread where it should be spread, or collapsed."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

SAME_DIRECTION = 0.95  # mean cosine from which one direction explains nearly everything
FEW_DIRECTIONS = 0.10  # effective rank as a share of the possible, below which most dimensions are idle
DEAD = 0.01  # standard deviation of a dimension as a share of 1 / sqrt(d), that of evenly spread unit vectors


@dataclass(frozen=True)
class Geometry:
    """Numbers on the geometry of n unit vectors in d dimensions; `settings` says how they were taken."""

    effective_rank: float
    mean_cosine: float
    uniformity: float
    std: tuple[float, ...]
    alignment: float | None
    settings: dict[str, Any]

    @property
    def dead(self) -> int:
        """How many dimensions hardly vary."""
        return sum(value < DEAD / len(self.std) ** 0.5 for value in self.std)

    @property
    def collapse(self) -> str | None:
        """What kind of collapse the numbers show, or None."""
        if self.mean_cosine > SAME_DIRECTION:
            return "complete"
        possible = min(self.settings["rows_used"], len(self.std))
        return "dimensional" if self.effective_rank < FEW_DIRECTIONS * possible else None

    def numbers(self) -> dict[str, float]:
        """The scalars, by name."""
        values = {
            "effective_rank": self.effective_rank,
            "mean_cosine": self.mean_cosine,
            "uniformity": self.uniformity,
            "dead_dimensions": float(self.dead),
        }
        return values if self.alignment is None else {**values, "alignment": self.alignment}

    def sentences(self) -> list[str]:
        """One plain sentence on what each number means, the warning first where there is one."""
        d = len(self.std)
        lines = [
            f"The vectors use about {self.effective_rank:.0f} of {d} directions (effective rank).",
            f"Two vectors of different rows have cosine {self.mean_cosine:.2f} on average; "
            "0 is spread out, 1 is all the same.",
            f"Uniformity is {self.uniformity:.2f}; 0 is one single point, about -4 evenly spread out.",
            f"{self.dead} of {d} dimensions hardly vary from row to row.",
        ]
        if self.alignment is not None:
            lines.append(
                f"Vectors that belong together are {self.alignment:.2f} apart (squared distance); "
                "0 is the same point, 2 unrelated directions, 4 opposite."
            )
        return [*_WARNINGS[self.collapse], *lines]


_WARNINGS: dict[str | None, list[str]] = {
    None: [],
    "complete": ["Warning: the embedding has collapsed; nearly all rows have the same vector."],
    "dimensional": ["Warning: the embedding has collapsed to few directions; most of its dimensions carry nothing."],
}


def geometry(
    vectors: Float[Tensor, "n d"], partners: Float[Tensor, "n d"] | None = None, *, limit: int = 4096
) -> Geometry:
    """Measure the geometry of the rows, scaled to unit length, and how near their `partners` lie.

    Partners go row by row. Uniformity and effective rank use `limit` evenly spaced rows when there are
    more; the settings say so. Sources: alignment and uniformity arXiv 2005.10242 (alpha = 2, t = 2);
    effective rank arXiv 2210.02885. Raises ValueError for fewer than two rows or numbers that are not
    finite.

    >>> flat = geometry(torch.eye(8))
    >>> round(flat.effective_rank, 4), round(flat.mean_cosine, 4), flat.collapse is None
    (8.0, 0.0, True)
    """
    if len(vectors) < 2 or not bool(vectors.isfinite().all()):
        raise ValueError("geometry needs at least two rows of finite numbers")
    unit = normalize(vectors.double(), dim=1)
    used = unit[_spaced(len(unit), limit)]
    return Geometry(
        effective_rank=effective_rank(used),
        mean_cosine=mean_cosine(unit),
        uniformity=uniformity(used),
        std=tuple(unit.std(0, correction=0).tolist()),
        alignment=None if partners is None else alignment(unit, partners.double()),
        settings={"rows": len(unit), "rows_used": len(used), "unit_length": True, "centred": False, "t": 2.0},
    )


def alignment(vectors: Float[Tensor, "n d"], partners: Float[Tensor, "n d"]) -> float:
    """Mean squared distance of given pairs, both scaled to unit length: 0 is perfect.

    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    return float((normalize(vectors, dim=1) - normalize(partners, dim=1)).square().sum(1).mean())


def uniformity(vectors: Float[Tensor, "n d"], *, t: float = 2.0, chunk: int = 1024) -> float:
    """Log of the mean of exp(-t |x - y|^2) over distinct rows scaled to unit length: lower is more spread."""
    unit = normalize(vectors.double(), dim=1)
    n = len(unit)
    squares = unit.square().sum(1)
    total = torch.zeros((), dtype=torch.float64, device=unit.device)
    for part in torch.split(unit, chunk):
        distances = part.square().sum(1, keepdim=True) + squares - 2 * part @ unit.T
        total += torch.exp(-t * distances).sum()
    return float(((total - n) / (n * (n - 1))).log())


def effective_rank(vectors: Float[Tensor, "n d"]) -> float:
    """Exponential of the entropy of the singular values as shares of their sum (RankMe, not centred).

    The paper adds 1e-7 to the shares to avoid log 0; here 0 log 0 is 0.
    """
    values = torch.linalg.svdvals(vectors.double())
    total = values.sum()
    return float(torch.special.entr(values / total).sum().exp()) if total > 0 else 0.0


def mean_cosine(vectors: Float[Tensor, "n d"]) -> float:
    """Mean cosine of distinct rows, in O(n d): the squared length of the sum holds every pair."""
    unit = normalize(vectors.double(), dim=1)
    n = len(unit)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (n * (n - 1)))


def _spaced(n: int, limit: int) -> Tensor:
    """At most `limit` row numbers, evenly spaced."""
    return torch.arange(min(n, limit)) * n // min(n, limit)
