"""Matrix products in bfloat16: an option that changes a loss by its rounding only."""

import pytest
import torch

from counterpoint.objectives import bf16_products, info_nce, nt_xent, streamed, sup_con


def _unit(n: int, dim: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1).requires_grad_()


LOSSES = {
    "symmetric": lambda a, b, t: info_nce(a, b, temperature=t, symmetric=True),
    "one way": lambda a, b, t: info_nce(a, b, temperature=t),
    "nt-xent": lambda a, b, t: nt_xent(a, b, temperature=t),
    "classes": lambda a, b, t: sup_con(a + 0 * b, torch.arange(len(a)) % 7, temperature=t),
}


@pytest.mark.parametrize("temperature", [0.07, 0.005])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_moves_loss_and_gradient_by_rounding_only(loss, temperature, monkeypatch):
    monkeypatch.setattr(streamed, "multiplies_bf16", lambda: True)
    found = []
    for rounded in (False, True):
        a, b = _unit(600, 64, 0), _unit(600, 64, 1)
        if rounded:
            with bf16_products():
                value = loss(a, b, temperature).mean()
        else:
            value = loss(a, b, temperature).mean()
        value.backward()
        found.append((value.item(), a.grad))
    (exact, gradient), (value, rounded_gradient) = found
    assert value != exact
    assert value == pytest.approx(exact, rel=1e-3 if temperature > 0.01 else 1e-2)
    error = (rounded_gradient - gradient).norm() / gradient.norm()
    assert error < (0.01 if temperature > 0.01 else 0.1)


def test_fp64_is_left_alone_and_the_option_ends():
    a, b = _unit(20, 8, 0).double(), _unit(20, 8, 1).double()
    plain = info_nce(a, b, temperature=0.1).mean()
    with bf16_products():
        assert torch.equal(info_nce(a, b, temperature=0.1).mean(), plain)
    low = info_nce(a.float(), b.float(), temperature=0.1).mean()
    assert low.item() == pytest.approx(plain.item(), rel=1e-6)


def test_nothing_is_rounded_where_the_processor_would_be_slower(monkeypatch):
    monkeypatch.setattr(streamed, "multiplies_bf16", lambda: False)
    a, b = _unit(600, 64, 0), _unit(600, 64, 1)
    plain = info_nce(a, b, temperature=0.1).mean()
    with bf16_products():
        assert torch.equal(info_nce(a, b, temperature=0.1).mean(), plain)
