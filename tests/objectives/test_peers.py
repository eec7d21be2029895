"""Public libraries as oracles, in value and gradient; they normalise inside, we outside."""

import pytest
import torch
import torch.nn.functional as F

from counterpoint.objectives import clip, info_nce, nt_xent, sup_con


def views(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(n, 8, generator=generator, requires_grad=True) for _ in range(2))
    return a, b


def unit(*vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(F.normalize(vector) for vector in vectors)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, *inputs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for found, expected in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 0.07])
def test_nt_xent_is_that_of_pytorch_metric_learning(temperature: float) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    a, b = views()
    peer = losses.SelfSupervisedLoss(losses.NTXentLoss(temperature))
    assert_same(nt_xent(*unit(a, b), temperature=temperature).mean(), peer(a, b), a, b)


@pytest.mark.parametrize("temperature", [0.5, 0.07])
@pytest.mark.parametrize("classes", [2, 5])
def test_sup_con_is_that_of_pytorch_metric_learning(temperature: float, classes: int) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    a, _ = views(20)
    labels = torch.arange(20) % classes
    assert_same(
        sup_con(*unit(a), labels, temperature=temperature).mean(),
        losses.SupConLoss(temperature)(a, labels),
        a,
    )


@pytest.mark.parametrize("temperature", [0.5, 0.07, 0.01])
def test_info_nce_is_that_of_info_nce_pytorch(temperature: float) -> None:
    info_nce_pytorch = pytest.importorskip("info_nce")
    a, b = views()
    theirs = info_nce_pytorch.InfoNCE(temperature)
    assert_same(info_nce(*unit(a, b), temperature=temperature).mean(), theirs(a, b), a, b)
    assert_same(clip(*unit(a, b), temperature).mean(), (theirs(a, b) + theirs(b, a)) / 2, a, b)
