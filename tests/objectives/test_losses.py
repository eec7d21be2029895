"""The modules are their functions: same value, options checked, learned scales that learn and stay in bounds."""

import copy
import inspect
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, LogScale, losses
from counterpoint.objectives.losses import Loss

N, D = 6, 5
CLASSES: dict[str, type[Loss]] = {
    name: value for name, value in vars(losses).items() if inspect.isclass(value) and issubclass(value, Loss)
}
del CLASSES["Loss"]


def vectors(seed: int, n: int = N) -> Tensor:
    return 3 * torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_ids(seed: int, first: int = 0) -> Embeddings:
    row = torch.arange(first, first + N)
    return Embeddings(vectors(seed), Ids(row, row))


def two() -> tuple[Tensor, Tensor]:
    return vectors(0), vectors(1)


GENERATOR = torch.Generator()
# class: options, inputs of a batch, keywords of a batch
CALLS: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "InfoNCELoss": ({"temperature": 0.3, "symmetric": True}, two(), {"also": [vectors(2, 2 * N)[:, 0]]}),
    "CLIPLoss": ({"temperature": 0.3}, two(), {}),
    "NTXentLoss": ({"temperature": 0.3}, two(), {}),
    "SupConLoss": ({"temperature": 0.3, "positives": "inside"}, (vectors(0), torch.arange(N) % 2), {}),
    "MultipleNegativesLoss": ({"temperature": 0.3, "symmetric": True}, (*two(), vectors(2), vectors(3, 2)), {}),
    "MoCoLoss": ({"temperature": 0.3}, (with_ids(0), with_ids(1), with_ids(2, first=50)), {}),
    "DebiasedLoss": ({"temperature": 0.3, "prior": 0.2}, two(), {}),
    "HardnessWeightedLoss": ({"temperature": 0.3, "concentration": 0.5, "prior": 0.2}, two(), {}),
    "DecoupledLoss": ({"temperature": 0.3, "sigma": 0.5}, two(), {}),
    "SigLIPLoss": ({"scale": 5.0, "bias": -1.0}, two(), {}),
    "SoftmaxOverLoss": ({"temperature": 2.0}, (*two(), torch.arange(N)), {}),
    "SoftNCELoss": ({"temperature": 0.3, "teacher_temperature": 0.5}, (*two(), vectors(2), vectors(3)), {}),
    "SymileLoss": ({"scale": 5.0, "negatives": "n"}, ([*two(), vectors(2)],), {"generator": GENERATOR}),
    "MultiViewLoss": (
        {"temperature": 0.3},
        ([*two(), vectors(2)],),
        {"present": [torch.arange(N) > k for k in (0, 1, 2)]},
    ),
    "TripletLoss": ({"margin": 0.7, "mining": "hard", "distance": "euclidean"}, two(), {}),
    "MultiSimilarityLoss": ({"alpha": 1.0, "beta": 10.0, "base": 0.1, "epsilon": None}, two(), {}),
    "ContrastiveMarginLoss": ({"margin": 2.0, "distance": "cosine"}, two(), {}),
    "AlignmentLoss": ({"power": 1.5}, two(), {}),
    "UniformityLoss": ({"t": 3.0}, (vectors(0),), {}),
    "BarlowTwinsLoss": ({"off_diagonal": 0.1}, two(), {}),
    "CanonicalLoss": ({"decorrelation": 0.1}, two(), {}),
    "VICRegLoss": ({"covariance": 2.0}, two(), {}),
    "CosineLoss": ({}, two(), {}),
    "LinearContrastLoss": ({}, two(), {}),
    "SpectralContrastLoss": ({}, two(), {}),
    "OrthogonalityLoss": ({}, two(), {}),
    "SwAVLoss": ({"temperature": 0.3, "dim": D, "prototypes": 4}, two(), {}),
}
# these do not normalise by default
AS_THEY_ARE = {
    "SoftmaxOverLoss",
    "BarlowTwinsLoss",
    "CanonicalLoss",
    "VICRegLoss",
    "CosineLoss",
    "OrthogonalityLoss",
} | {"SpectralContrastLoss"}


def unit(value: Any) -> Any:
    if isinstance(value, list):
        return [unit(view) for view in value]
    if isinstance(value, Embeddings):
        return replace(value, vectors=unit(value.vectors))
    return F.normalize(value, dim=1) if value.is_floating_point() else value


def test_every_class_is_tested() -> None:
    assert set(CALLS) == set(CLASSES)


@pytest.mark.parametrize(
    "module", ["infonce", "weighted", "sigmoid", "mining", "views", "regularisers", "symile", "softmax", "linear"]
)
def test_every_objective_has_a_class(module: str) -> None:
    found = import_module(f"counterpoint.objectives.{module}")
    functions = {
        name
        for name, value in vars(found).items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == found.__name__
    }
    covered = {loss.objective.__name__ for loss in CLASSES.values()}
    assert functions - covered <= {"multilinear", "dense_nce"}, "these have nothing to keep between calls"


@pytest.mark.parametrize("normalise", [None, True, False])
@pytest.mark.parametrize("name", sorted(set(CALLS) - {"SwAVLoss"}))
def test_a_module_is_its_function(name: str, normalise: bool | None) -> None:
    options, inputs, of_a_batch = CALLS[name]
    given = {} if normalise is None else {"normalise": normalise}
    module = CLASSES[name](**options, **given)
    assert module.normalise == (name not in AS_THEY_ARE if normalise is None else normalise)
    GENERATOR.manual_seed(0)
    found = module(*inputs, **of_a_batch)
    GENERATOR.manual_seed(0)
    expected = module.objective(*(unit(list(inputs)) if module.normalise else inputs), **options, **of_a_batch)
    expected = expected if isinstance(expected, Tensor) else expected.mean()
    assert found.shape == ()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_a_module_can_be_kept(name: str) -> None:
    """Copied, described, moved to another type and stored, it is the same loss."""
    options, inputs, of_a_batch = CALLS[name]
    module = CLASSES[name](**options).double()
    again = CLASSES[name](**options).double()
    again.load_state_dict(module.state_dict())
    for other in (copy.deepcopy(module), again):
        GENERATOR.manual_seed(0)
        expected = module(*inputs, **of_a_batch)
        GENERATOR.manual_seed(0)
        torch.testing.assert_close(other(*inputs, **of_a_batch), expected)
        assert repr(other) == repr(module)


# --- options ----------------------------------------------------------------------------------------------------


def test_options_are_checked_when_the_module_is_made() -> None:
    with pytest.raises(TypeError, match=r"InfoNCELoss.*temprature.*itself"):
        losses.InfoNCELoss(temperature=0.1, temprature=0.1)
    with pytest.raises(TypeError, match="temperature"):
        losses.InfoNCELoss()
    with pytest.raises(TypeError, match="present"):
        losses.MultiViewLoss(temperature=0.1, present=[])
    with pytest.raises(TypeError, match="margin"):
        losses.TripletLoss(margin="learned")


def test_the_signature_names_the_options() -> None:
    assert list(inspect.signature(losses.TripletLoss).parameters) == ["margin", "mining", "distance", "normalise"]
    assert list(inspect.signature(losses.SwAVLoss).parameters) == ["dim", "prototypes", "options"]


def test_a_class_can_be_extended() -> None:
    class Doubled(losses.TripletLoss):
        def forward(self, *inputs: Any, **of_a_batch: Any) -> Tensor:
            return 2 * super().forward(*inputs, **of_a_batch)

    torch.testing.assert_close(Doubled(margin=0.7)(*two()), 2 * losses.TripletLoss(margin=0.7)(*two()))


# --- what is learned --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, loss in CLASSES.items() if "temperature" in loss.signature.parameters])
def test_a_temperature_is_learned(name: str) -> None:
    options, inputs, of_a_batch = CALLS[name]
    module = CLASSES[name](**options | {"temperature": "learned"}).double()
    assert "temperature='learned'" in repr(module)
    loss = module(*inputs, **of_a_batch)
    loss.backward()
    constant = CLASSES[name](**options | {"temperature": module.temperature.temperature.item()}).double()
    if name == "SwAVLoss":
        constant.load_state_dict(module.state_dict(), strict=False)
    torch.testing.assert_close(loss, constant(*inputs, **of_a_batch), rtol=1e-6, atol=1e-6)
    gradient = module.temperature.log_scale.grad
    assert gradient is not None
    assert gradient != 0


def test_a_learned_scale_is_clamped_when_used() -> None:
    shared = LogScale(init=4.0, maximum=5.0)
    module, other = losses.CLIPLoss(temperature=shared), losses.CLIPLoss(temperature=shared)
    assert module.temperature is other.temperature
    with torch.no_grad():
        shared.log_scale += 10
    first, second = module(*two()), other(*two())
    (first + second).backward()
    torch.testing.assert_close(shared.scale, torch.tensor(5.0))
    torch.testing.assert_close(first, losses.CLIPLoss(temperature=0.2)(*two()), rtol=1e-6, atol=1e-6)


def test_siglip_learns_scale_and_bias_from_those_of_the_paper() -> None:
    module = losses.SigLIPLoss()
    found = module(*two())
    torch.testing.assert_close(found, losses.SigLIPLoss(scale=10.0, bias=-10.0)(*two()), rtol=1e-5, atol=1e-5)
    found.backward()
    assert all(parameter.grad is not None and parameter.grad != 0 for parameter in module.parameters())


def test_symile_learns_its_scale() -> None:
    module = losses.SymileLoss(scale="learned", negatives="n_squared")
    module([*two(), vectors(2)]).backward()
    assert module.scale.log_scale.grad is not None


# --- vectors ----------------------------------------------------------------------------------------------------


def test_swav_scores_unit_vectors_by_unit_prototypes() -> None:
    module = losses.SwAVLoss(D, 4, temperature=0.3).double()
    scores = [F.normalize(view) @ F.normalize(module.prototypes.weight).T for view in two()]
    found = module(*two())
    torch.testing.assert_close(found, losses.swav(*scores, temperature=0.3).mean())
    found.backward()
    assert module.prototypes.weight.grad is not None


def test_half_precision_is_raised_before_it_is_normalised() -> None:
    half = [view.bfloat16() for view in two()]
    found = losses.NTXentLoss(temperature=0.05)(*half)
    assert found.dtype == torch.float32
    expected = losses.NTXentLoss(temperature=0.05)(*(view.double() for view in half))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
