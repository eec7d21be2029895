"""Dropout: how much is zeroed, what is left, its gradient and its randomness."""

import pytest
import torch

from counterpoint.training.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_share_is_zeroed_and_the_rest_scaled(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.full((301, 333), 2.0, dtype=dtype, requires_grad=True)
    found = Dropout(share)(x)
    zero = found == 0
    assert zero.double().mean().item() == pytest.approx(share, abs=0.005)
    for rows in (zero.double().mean(0), zero.double().mean(1)):
        assert (rows - share).abs().max() < 0.15
    for step in (1, 2, 3, 4):  # four numbers come from one draw: none may follow from another
        both = (zero.flatten()[step:] & zero.flatten()[:-step]).double().mean()
        assert both.item() == pytest.approx(share**2, abs=0.01)
    torch.testing.assert_close(found[~zero], torch.full_like(found[~zero], 2 / (1 - share)), rtol=1e-4, atol=0)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach() / 2)


def test_the_generator_decides() -> None:
    layer, x = Dropout(0.5), torch.ones(7, 3)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_done_outside_training_or_without_a_share() -> None:
    x = torch.ones(2, 3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(0.3)(torch.ones(0, 4)).shape == (0, 4)
    assert "share=0.3" in repr(Dropout(0.3))
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="a share is at least 0 and below 1"):
            Dropout(wrong)
