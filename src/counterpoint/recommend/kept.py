"""What is costly to make of a network's weights, made once while they rest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Kept(nn.Module):
    """Something made of tensors, kept until they change; with gradients or in training it is made anew.

    Optimisers may write weights without telling, so a change of mode forgets it, too: training leaves eval mode before
    it steps and comes back after.

    >>> kept, weights = Kept().eval(), torch.ones(2)
    >>> with torch.no_grad():
    ...     kept(lambda: weights + 1, weights) is kept(lambda: weights + 1, weights)
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: tuple[Any, Any] | None = None

    def train(self, mode: bool = True) -> "Kept":
        """Another mode; what was kept is forgotten."""
        self._made = None
        return super().train(mode)

    def forward(self, make: Callable[[], Any], *tensors: Tensor) -> Any:
        """What `make` gives of these tensors."""
        if self.training or torch.is_grad_enabled():
            return make()
        now = tuple((tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors)
        if self._made is None or self._made[0] != now:
            self._made = now, make()
        return self._made[1]
