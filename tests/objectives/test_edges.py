"""Every objective on the batches that break losses elsewhere: finite values, finite gradients, no warning.

The classes of `losses` are called, so an objective that is added without a line here fails the first test.
"""

import inspect
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, losses
from counterpoint.objectives.losses import Loss

T = 0.05


def ids(n: int, first: int = 0, positive: Tensor | None = None) -> Ids:
    row = torch.arange(first, first + n)
    return Ids(row, row if positive is None else positive)


def classes(vectors: Tensor, label: Tensor) -> Embeddings:
    return Embeddings(vectors, ids(len(vectors), positive=label))


def raised(view: Tensor) -> torch.dtype:
    return torch.promote_types(view.dtype, torch.float32)


# Each takes two views of n rows and a label per row.
CALLS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "InfoNCELoss": lambda a, b, y: losses.InfoNCELoss(temperature=T, symmetric=True)(classes(a, y), classes(b, y)),
    "CLIPLoss": lambda a, b, y: losses.CLIPLoss(temperature=T)(a, b),
    "NTXentLoss": lambda a, b, y: losses.NTXentLoss(temperature=T)(a, b),
    "SupConLoss": lambda a, b, y: losses.SupConLoss(temperature=T)(torch.cat([a, b]), torch.cat([y, y])),
    "MultipleNegativesLoss": lambda a, b, y: losses.MultipleNegativesLoss(temperature=T)(a, b, a.flip(0)),
    "MoCoLoss": lambda a, b, y: losses.MoCoLoss(temperature=T)(
        classes(a, y), classes(b, y), Embeddings(b.detach(), ids(len(b), first=100), everywhere=True)
    ),
    "DebiasedLoss": lambda a, b, y: losses.DebiasedLoss(temperature=T)(a, b),
    "HardnessWeightedLoss": lambda a, b, y: losses.HardnessWeightedLoss(temperature=T)(a, b),
    "DecoupledLoss": lambda a, b, y: losses.DecoupledLoss(temperature=T, sigma=0.5)(a, b),
    "SigLIPLoss": lambda a, b, y: losses.SigLIPLoss()(classes(a, y), classes(b, y)),
    "SoftmaxOverLoss": lambda a, b, y: losses.SoftmaxOverLoss(temperature=T)(a, b, torch.arange(len(a))),
    "SoftNCELoss": lambda a, b, y: losses.SoftNCELoss(temperature=T, teacher_temperature=T)(
        a, b, b.detach(), a.detach()
    ),
    "SymileLoss": lambda a, b, y: losses.SymileLoss(scale=16.0, negatives="n_squared")([a, b, a + b]),
    "MultiViewLoss": lambda a, b, y: losses.MultiViewLoss(temperature=T)(
        [a, b, a - b], present=[y >= 0, y >= 0, y < 0]
    ),
    "TripletLoss": lambda a, b, y: losses.TripletLoss(distance="euclidean")(classes(a, y), classes(b, y)),
    "MultiSimilarityLoss": lambda a, b, y: losses.MultiSimilarityLoss()(classes(a, y), classes(b, y)),
    "ContrastiveMarginLoss": lambda a, b, y: losses.ContrastiveMarginLoss()(classes(a, y), classes(b, y)),
    "LinearContrastLoss": lambda a, b, y: losses.LinearContrastLoss()(classes(a, y), classes(b, y)),
    "SpectralContrastLoss": lambda a, b, y: losses.SpectralContrastLoss()(classes(a, y), classes(b, y)),
    "AlignmentLoss": lambda a, b, y: losses.AlignmentLoss()(a, b),
    "UniformityLoss": lambda a, b, y: losses.UniformityLoss()(torch.cat([a, b])),
    "BarlowTwinsLoss": lambda a, b, y: losses.BarlowTwinsLoss()(a, b),
    "CanonicalLoss": lambda a, b, y: losses.CanonicalLoss()(a, b),
    "VICRegLoss": lambda a, b, y: losses.VICRegLoss()(a, b),
    "CosineLoss": lambda a, b, y: losses.CosineLoss()(a, b) + losses.CosineLoss()(b, a),
    "OrthogonalityLoss": lambda a, b, y: losses.OrthogonalityLoss()(a, b),
    "SwAVLoss": lambda a, b, y: losses.SwAVLoss(a.shape[1], 4, temperature=T).to(raised(a))(a, b),
}


def drawn(n: int, dim: int = 6, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    first, second = (torch.randn(n, dim, generator=generator).to(dtype) for _ in range(2))
    return first, second


def some_zero() -> tuple[Tensor, Tensor]:
    first, second = drawn(6)
    first[2], second[4] = 0, 0
    return first, second


def turned() -> tuple[Tensor, Tensor]:
    first, second = (view.T.contiguous().T for view in drawn(6))
    assert not first.is_contiguous()
    return first, second


BATCHES: dict[str, tuple[tuple[Tensor, Tensor], Tensor]] = {
    "one row": (drawn(1), torch.zeros(1, dtype=torch.int64)),
    "two rows": (drawn(2), torch.arange(2)),
    "all of one class": (drawn(6), torch.zeros(6, dtype=torch.int64)),
    "all of different classes": (drawn(6), torch.arange(6)),
    "nobody has a class": (drawn(6), torch.full((6,), -1)),
    "duplicate rows": (tuple(view[[0, 0, 0, 1, 1, 2]] for view in drawn(6)), torch.tensor([0, 0, 0, 1, 1, 2])),
    "all rows the same": (tuple(view[[0] * 6] for view in drawn(6)), torch.arange(6) % 2),
    "zero vectors": (some_zero(), torch.arange(6) % 3),
    "nothing but zeros": ((torch.zeros(6, 6), torch.zeros(6, 6)), torch.arange(6)),
    "not contiguous": (turned(), torch.arange(6) % 3),
    "half precision": (drawn(6, dtype=torch.float16), torch.arange(6) % 3),
    "bfloat16": (drawn(6, dtype=torch.bfloat16), torch.arange(6) % 3),
    "one dimension": (drawn(6, dim=1), torch.arange(6) % 3),
}


def test_every_objective_has_a_line_here() -> None:
    known = {name for name, value in vars(losses).items() if inspect.isclass(value) and issubclass(value, Loss)}
    assert set(CALLS) == known - {"Loss"}


def check(name: str, views: tuple[Tensor, Tensor], label: Tensor) -> None:
    a, b = (view.clone(memory_format=torch.preserve_format).requires_grad_() for view in views)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # SwAV draws its prototypes
        loss = CALLS[name](a, b, label)
    assert loss.shape == ()
    assert loss.isfinite()
    assert loss.dtype == raised(a)
    if loss.requires_grad:
        loss.backward()
        for view in (a, b):
            assert view.grad is None or view.grad.isfinite().all()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", CALLS)
def test_finite(name: str, batch: str) -> None:
    check(name, *BATCHES[batch])


@pytest.mark.parametrize("name", CALLS)
@given(
    n=st.integers(1, 9),
    dim=st.integers(1, 5),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    size=st.sampled_from([0.0, 1e-6, 1.0, 1e3]),
    labels=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_finite_on_any_batch(
    name: str, n: int, dim: int, dtype: torch.dtype, size: float, labels: int, seed: int
) -> None:
    if dtype == torch.float16 and size != 0:
        size = 1.0  # the gradients of very short and very long vectors are beyond its range
    generator = torch.Generator().manual_seed(seed)
    a, b = ((size * torch.randn(n, dim, generator=generator)).to(dtype) for _ in range(2))
    check(name, (a, b), torch.randint(labels, (n,), generator=generator))
