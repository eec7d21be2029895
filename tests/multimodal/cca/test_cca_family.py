"""MCCA, GCCA and KCCA against their equations in float64 and against mvlearn's code."""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from counterpoint.errors import UserError
from counterpoint.multimodal.cca import gcca, kcca, mcca
from counterpoint.multimodal.cca.gcca import GCCA
from counterpoint.multimodal.cca.kcca import KCCA
from counterpoint.multimodal.cca.mcca import MCCA
from counterpoint.multimodal.table import Table

ROWS = 60


@pytest.fixture
def views() -> list[torch.Tensor]:
    """Three views that share two causes."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(ROWS, 2))
    made = [hidden @ random.normal(size=(2, width)) + 0.5 * random.normal(size=(ROWS, width)) for width in (3, 4, 5)]
    return [torch.from_numpy(values) for values in made]


@pytest.fixture(scope="module")
def mvlearn() -> Any:
    """mvlearn's embeddings, without its plots, which need matplotlib, and a check that newer scikit-learns refuse."""
    if find_spec("mvlearn") is None:
        pytest.skip("mvlearn 0.5.0 is not installed (pip install --no-deps mvlearn==0.5.0)")
    sys.modules.setdefault("mvlearn.plotting", ModuleType("mvlearn.plotting"))
    import mvlearn.compose.split
    import mvlearn.embed

    mvlearn.compose.split.check_is_fitted = lambda fitted: None
    return mvlearn.embed


def centred(values: torch.Tensor) -> torch.Tensor:
    return values - values.mean(dim=0)


def same_directions(ours: torch.Tensor, theirs: np.ndarray, within: float = 1e-6) -> None:
    """Columns equal up to sign and length."""
    for one, other in zip(ours.T.numpy(), theirs.T, strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) == pytest.approx(1, abs=within)


def test_gcca_variates_are_mvlearns(views: list[torch.Tensor], mvlearn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["mvlearn.embed.gcca"]
    monkeypatch.setattr(module, "center", lambda x: x - x.mean(0))  # ours does not scale rows
    theirs = mvlearn.GCCA(fraction_var=0.8).fit([view.numpy().copy() for view in views])
    found = gcca.solve(views, share=0.8, k=int(min(theirs.ranks_)))
    assert [gcca.components(centred(v).T @ centred(v), 0.8).shape[1] for v in views] == list(theirs.ranks_)
    for view, ours, other in zip(views, found, theirs.projection_mats_, strict=True):
        same_directions(centred(view) @ ours, centred(view).numpy() @ other)
        assert torch.allclose((centred(view) @ ours).std(dim=0, correction=0), torch.ones(ours.shape[1]).double())


def test_gcca_with_all_components_has_mccas_directions(views: list[torch.Tensor]) -> None:
    """MAXVAR and the generalised eigenproblem have one solution."""
    for ours, theirs in zip(gcca.solve(views, 1.0, 3), mcca.solve(views, 0.0, 3), strict=True):
        same_directions(ours, theirs.numpy())


def test_mcca_solves_its_generalised_eigenproblem(views: list[torch.Tensor], mvlearn: Any) -> None:
    found = mcca.solve(views, 0.0, 2)
    theirs = mvlearn.MCCA(n_components=2).fit([view.numpy() for view in views])
    for view, ours, loadings in zip(views, found, theirs.loadings_, strict=True):
        same_directions(centred(view) @ ours, centred(view).numpy() @ loadings)


def gaussian(x: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    return np.exp(-gamma * ((x[:, None] - y[None]) ** 2).sum(-1))


def fitted_kernels(views: list[torch.Tensor], ridge: float) -> list[kcca.Kernel]:
    """All rows are landmarks."""
    method = KCCA(landmarks=ROWS, dims=(3,))
    method.prepare(method.measure(Table.of({f"v{i}": view.numpy() for i, view in enumerate(views)})))
    return method._solved(views, {"width": 1.0, "ridge": ridge}, torch.Generator().manual_seed(0))


def test_kcca_is_mvlearns_kernel_mcca(views: list[torch.Tensor], mvlearn: Any) -> None:
    """The ridge of the primal form is r / (1 - r) = n * ridge in mvlearn's dual form, mode A."""
    kernels = fitted_kernels(views, ridge=0.1)
    gammas, regs = [float(kernel.gamma) for kernel in kernels], []
    for view, gamma in zip(views, gammas, strict=True):
        inner = gaussian(view.numpy(), view.numpy(), gamma)
        values, vectors = np.linalg.eigh(inner)
        kept = values > 1e-6 * values[-1]
        features = inner @ vectors[:, kept] / np.sqrt(values[kept])
        strength = ROWS * 0.1 * np.trace(np.cov(features.T, bias=True)) / kept.sum()
        regs.append(strength / (1 + strength))
    params = [{"gamma": gamma} for gamma in gammas]
    theirs = mvlearn.KMCCA(
        n_components=2, kernel="rbf", kernel_params=params, regs=regs, sval_thresh=1e-12, diag_mode="A"
    ).fit([view.numpy() for view in views])
    new = [torch.randn(20, view.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
           for view in views]  # fmt: skip
    method = KCCA()
    for i, kernel in enumerate(kernels):
        same_directions(method._placed(kernel, views[i])[:, :2], theirs.transform_view(views[i].numpy(), i))
        ours = method._placed(kernel, new[i])[:, :2]
        inner = gaussian(new[i].numpy(), views[i].numpy(), gammas[i])
        dual = (inner - theirs.kernel_col_means_[i]) @ theirs.dual_vars_[i]
        same_directions(ours, dual, within=1e-4)  # the smallest eigenvalues are cut at other places


def test_kcca_solves_the_dual_eigenproblem(views: list[torch.Tensor]) -> None:
    """K_a K_b between views, K^2 + n ridge K within, on both sides (Bach and Jordan 2002), in float64."""
    two = views[:2]
    kernels = fitted_kernels(two, ridge=0.5)
    inners, within = [], []
    for view, kernel in zip(two, kernels, strict=True):
        inner = gaussian(view.numpy(), view.numpy(), float(kernel.gamma))
        middle = np.eye(ROWS) - 1 / ROWS
        values, vectors = np.linalg.eigh(inner)
        kept = values > kcca.LEAST_VALUE * values[-1]
        features = inner @ vectors[:, kept] / np.sqrt(values[kept])
        strength = ROWS * 0.5 * np.trace(np.cov(features.T, bias=True)) / kept.sum()
        inner = middle @ inner @ middle
        inners.append(inner)
        within.append(inner @ inner + strength * inner)
    cross = inners[0] @ inners[1]
    left = np.block([[within[0], cross], [cross.T, within[1]]])
    right = scipy.linalg.block_diag(*within) + 1e-9 * np.eye(2 * ROWS)
    _, vectors = scipy.linalg.eigh(left, right)
    for i, kernel in enumerate(kernels):
        dual = inners[i] @ vectors[i * ROWS : (i + 1) * ROWS, ::-1][:, :2]
        same_directions(KCCA()._placed(kernel, two[i])[:, :2], dual)


def test_kcca_sees_a_relation_that_is_not_linear() -> None:
    def rows(seed: int) -> Table:
        random = np.random.default_rng(seed)
        angle = random.uniform(0, 2 * np.pi, 400)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        twice = np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=1)
        return Table.of({"once": circle, "twice": twice + 0.02 * random.normal(size=twice.shape)})

    train, test = rows(0), rows(1)
    linear, kernel = MCCA(dims=(2,)).fit(train), KCCA(dims=(8,), landmarks=64).fit(train)
    top10 = [type(method).judge(method, test).value("top10") for method in (linear, kernel)]
    assert top10[1] > 5 * top10[0]


@pytest.mark.parametrize("method", [MCCA, GCCA, KCCA])
def test_rows_that_lack_a_view_are_left_out_and_too_few_refused(method: Any) -> None:
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(40, 3)).astype(np.float32) for name in "ab"}
    values["a"][:10] = np.nan
    holed = method(dims=(2,)).fit(Table.of(values))
    assert int(holed.embed_views(Table.of(values)).present["a"].sum()) == 30
    assert bool(holed.embed(Table.of(values)).isfinite().all())
    values["b"][15:] = np.nan
    with pytest.raises(UserError, match=f"only 5 rows have every view; {method.__name__} needs at least 8"):
        method().fit(Table.of(values))


def test_components_hold_the_share_and_leave_out_what_does_not_vary() -> None:
    covariance = torch.diag(torch.tensor([5.0, 3.0, 2.0, 0.0], dtype=torch.float64))
    assert [gcca.components(covariance, share).shape[1] for share in (0.5, 0.51, 0.8, 0.81, 1.0)] == [1, 2, 2, 3, 3]
