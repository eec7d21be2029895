"""open_clip; its loss file is loaded without its package, which imports torchvision."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from adapters.case import TWO, Case, Difference, labelled, later, part_of, unit
from counterpoint.objectives import clip, siglip, streamed

PEER = "open_clip_torch"
SCALED = (*TWO, ())
SIGMOID = (*TWO, (), ())


def module() -> ModuleType:
    """open_clip/loss.py."""
    return part_of("open_clip.loss")


def ours_clip(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Vectors and a learned scale, as `ClipLoss` takes them."""
    return clip(image, text, temperature=1 / scale).mean()


def ours_siglip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Vectors, a learned scale and a learned bias, as `SigLipLoss` takes them."""
    return siglip(image, text, scale=scale, bias=bias).mean()


def siglip_loss() -> type:
    """Their `SigLipLoss` with our loss of a pair of blocks, in tiles of the chunk size where one is given."""
    theirs: Any = module().SigLipLoss

    class SigLipLoss(theirs):
        """Blocks of other ranks are negatives only: their rows belong to nobody here."""

        def __init__(self, *args: Any, chunk_size: int = 0, **options: Any) -> None:
            super().__init__(*args, **options)
            self.chunk_size = chunk_size

        def _loss(
            self, image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None = None, negative_only: bool = False
        ) -> Tensor:
            bias = torch.zeros(()) if bias is None else bias
            row = torch.arange(max(len(image), len(text)))
            one = labelled(image, row[: len(image)])
            other = labelled(text, None if negative_only else row[: len(text)], first=len(image))
            tile, whole = (self.chunk_size, 0) if self.chunk_size else (streamed.TILE, streamed.WHOLE)
            with patch.object(streamed, "TILE", tile), patch.object(streamed, "WHOLE", whole):
                return siglip(one, other, scale=scale, bias=bias).value.sum() / len(image)

    return SigLipLoss


def at(temperature: float) -> Case:
    """CLIP at a constant temperature."""
    return Case(
        PEER,
        f"ClipLoss, temperature {temperature}",
        lambda a, b: clip(*unit(a, b), temperature=temperature).mean(),
        lambda a, b: module().ClipLoss()(*unit(a, b), 1 / temperature),
    )


CASES = [
    *(at(temperature) for temperature in (0.5, 0.07, 0.01)),
    Case(PEER, "ClipLoss, learned scale", ours_clip, later(module, "ClipLoss"), SCALED),
    Case(PEER, "SigLipLoss, learned scale and bias", ours_siglip, later(module, "SigLipLoss"), SIGMOID),
]

DIFFERENCES: list[Difference] = []
SUITES = {"tests/test_siglip_chunked_loss.py": {"open_clip.loss.SigLipLoss": siglip_loss}}
NEWER = "asks for _all_gather_with_grad, which the release 3.3.0 does not have: the test file is newer"
EXPECTED = {
    "tests/test_siglip_chunked_loss.py": {
        f"test_chunked_distributed_blocks[{ranks}-{how}]": NEWER
        for ranks in (2, 3, 4)
        for how in ("gather", "reduce", "shift", "bidir")
    }
}
