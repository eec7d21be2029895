"""The learnable temperature."""

import pytest
import torch

from counterpoint.objectives import LogScale, clip


def test_scale_and_temperature_are_inverse_and_learn() -> None:
    learned = LogScale(init=5.0, maximum=100.0)
    torch.testing.assert_close(learned.scale * learned.temperature, torch.tensor(1.0))
    clip(torch.eye(4), torch.eye(4).flip(0), learned.temperature).mean().backward()
    assert learned.log_scale.grad > 0, "the views disagree: a smaller scale is better"


def test_clamp() -> None:
    learned = LogScale(init=90.0, maximum=100.0)
    with torch.no_grad():
        learned.log_scale += 1
    learned.clamp_()
    torch.testing.assert_close(learned.scale, torch.tensor(100.0))


@pytest.mark.parametrize("init", [0.0, -0.3, 200.0])
def test_init_is_a_scale(init: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        LogScale(init=init, maximum=100.0)
