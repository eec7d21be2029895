"""Normalisation over a batch with the statistics of pretraining, so that a row's vector depends on that row alone."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm


class FixedNorm(nn.Module):
    """BatchNorm in evaluation whatever the mode; its scale and shift may learn, its statistics stay.

    >>> import torch
    >>> layer = nn.BatchNorm2d(2).eval()
    >>> x = torch.rand(3, 2, 4, 4)
    >>> torch.equal(FixedNorm(layer)(x), layer(x))
    True
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = layer.weight, layer.bias, layer.eps
        self.register_buffer("running_mean", layer.running_mean)
        self.register_buffer("running_var", layer.running_var)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.epsilon)


def with_fixed_norms(network: nn.Module) -> nn.Module:
    """A network whose BatchNorm layers keep their statistics, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FixedNorm(child))
    return network
