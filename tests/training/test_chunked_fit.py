"""A Trainer with `chunk`: the same fit with less memory."""

import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.simulate import xnor
from counterpoint.training import Run, Trainer, load

ROWS = xnor(128, p=0.0, seed=0)


def fitted(chunk: int, **trainer) -> CLIP:
    model = CLIP(dim=8, hidden=16, epochs=2, batch_size=32)
    return model.fit(ROWS, trainer=Trainer(chunk=chunk, progress=False, **trainer))


def test_a_fit_in_chunks_is_the_fit_of_whole_batches() -> None:
    whole, chunked = fitted(0), fitted(5)
    torch.testing.assert_close(chunked.embed(ROWS), whole.embed(ROWS), rtol=1e-3, atol=1e-4)


def test_activations_of_one_chunk_are_kept() -> None:
    def kept(chunk: int) -> int:
        model = CLIP(dim=8, hidden=256, batch_size=128)
        model.prepare(model.measure(ROWS))
        model.chunk = chunk
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel() * (tensor.data_ptr() not in parameters))
            return tensor

        parameters = {p.data_ptr() for p in model.parameters()}
        views = model.batch(ROWS, torch.arange(128), torch.Generator()).views
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.encode(views)
        return sum(sizes)

    assert kept(16) < kept(0) / 2


def test_resuming_with_other_chunks_is_refused(tmp_path) -> None:
    fitted(5, run=Run(tmp_path / "run"))
    assert load(tmp_path / "run").name == "clip"
    with pytest.raises(UserError, match="chunk"):
        fitted(0, run=Run(tmp_path / "run"))


def test_a_negative_chunk_is_refused() -> None:
    with pytest.raises(UserError, match="chunk=-1"):
        Trainer(chunk=-1)
