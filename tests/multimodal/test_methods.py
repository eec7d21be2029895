"""Each method against its equations, and used with any subset of views."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.multimodal.cca.mcca import MCCA
from counterpoint.multimodal.cca.ridge import Pair, RidgeCCA
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.corrupt import hide
from counterpoint.multimodal.gated_symile import GatedSymile
from counterpoint.multimodal.gram import GRAM
from counterpoint.multimodal.judge import Task, candidate_sets, cross_view
from counterpoint.multimodal.simulate import xnor, xor_sweep
from counterpoint.multimodal.symile import Symile
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.triangle import TRIANGLE
from counterpoint.multimodal.volumes import gram_score, triangle_score
from counterpoint.training import Clock, Encoded, Trainer

LEARNED = [CLIP, Symile, GatedSymile, GRAM, TRIANGLE]
SMALL = {"dim": 8, "hidden": 16, "epochs": 2, "batch_size": 32}
QUIET = {"progress": False}


def fitted(method, table, **options):
    return method(**(SMALL | options)).fit(table, trainer=Trainer(**QUIET))


@pytest.fixture(scope="module")
def table() -> Table:
    return xnor(96, p=0.3, seed=0, dim=12, bits=3)


@pytest.mark.parametrize("method", [*LEARNED, RidgeCCA, MCCA])
def test_any_subset_of_views_may_be_given(method, table):
    options = {} if method in (RidgeCCA, MCCA) else SMALL
    model = method(**options).fit(table, trainer=Trainer(**QUIET))
    for given in (["B"], ["C"], ["B", "C"]):
        found = model.retrieve(table.rows(np.arange(5)), "A", given, table, k=7)
        assert found.ids.shape == (5, 7)
        assert bool((found.scores.diff(dim=1) <= 0).all())
    trust = model.reliability(table)
    assert all(bool(((v >= 0) & (v <= 1)).all()) for v in trust.values())


@pytest.mark.parametrize("method", LEARNED)
def test_views_that_are_absent_train_and_serve(method, table):
    holes, masks = hide(table, ["A", "B", "C"], 0.5, np.random.default_rng(0))
    model = fitted(method, holes)
    encoded = model.embed_views(holes)
    for name, mask in masks.items():
        assert bool((encoded.present[name].numpy() == ~mask).all())
        assert bool(model.reliability(holes)[name].isnan().numpy()[mask].all())
    assert bool(model.embed(holes).isfinite().all())
    outcome = cross_view(model, holes)
    assert 0 < len(outcome.ids) <= len(holes)


def test_clip_loss_is_the_mean_or_sum_of_the_pairs(table):
    model = fitted(CLIP, table, learn_temperature=False, temperature=0.5)
    batch = model.batch(table, torch.arange(20), torch.Generator())
    e = model.encode(batch.views).vectors
    pairs = [(e["A"], e["B"]), (e["A"], e["C"]), (e["B"], e["C"])]
    target = torch.arange(20)
    cross_entropy = torch.nn.functional.cross_entropy
    each = [(cross_entropy(x @ y.T / 0.5, target) + cross_entropy(y @ x.T / 0.5, target)) / 2 for x, y in pairs]
    clock = Clock(0, "fit", 0, 0, 1)
    torch.testing.assert_close(sum(model.losses(batch, clock).values()), sum(each) / 3)
    model.set_params(reduction="sum")
    torch.testing.assert_close(sum(model.losses(batch, clock).values()), sum(each))


def test_gated_loss_is_the_mean_cross_entropy_over_targets(table):
    model = fitted(GatedSymile, table)
    batch = model.batch(table, torch.arange(20), torch.Generator())
    encoded = model.encode(batch.views)
    wanted = []
    for target in "ABC":
        given = encoded.only([n for n in "ABC" if n != target])
        scores = model.scores(given, target, encoded.vectors[target])
        wanted.append(torch.nn.functional.cross_entropy(scores, torch.arange(20)))
    found = model.losses(batch, Clock(0, "fit", 0, 0, 1))
    torch.testing.assert_close(sum(found.values()), sum(wanted) / 3)


def test_sampled_candidates_with_replacement_count_as_often_as_drawn(table):
    model = fitted(GatedSymile, table, sampled=5)
    batch = model.batch(table, torch.arange(10), torch.Generator())
    clock = Clock(0, "fit", 0, 0, 1)
    encoded = model.encode(batch.views)
    wanted = []
    for target in "ABC":
        given = encoded.only([n for n in "ABC" if n != target])
        scores = model.scores(given, target, encoded.vectors[target])
        draws = torch.randint(9, (10, 5), generator=clock.rng(target))
        draws = draws + (draws >= torch.arange(10)[:, None])
        logits = torch.cat([scores.diagonal()[:, None], scores.gather(1, draws)], dim=1)
        wanted.append(torch.nn.functional.cross_entropy(logits, torch.zeros(10, dtype=torch.long)))
    torch.testing.assert_close(sum(model.losses(batch, clock).values()), sum(wanted) / 3)


def test_symile_scores_are_scaled_products(table):
    model = fitted(Symile, table)
    e = model.embed_views(table)
    scores = model.scores(e.only(["B", "C"]), "A", e.vectors["A"][:4])
    by_hand = model.scale.scale * torch.einsum("nd,nd,md->nm", e.vectors["B"], e.vectors["C"], e.vectors["A"][:4])
    torch.testing.assert_close(scores, by_hand)
    assert model.scale.maximum == pytest.approx(100 * 8)


def test_symile_sees_the_xor_that_no_pair_of_views_shows():
    train, test = xor_sweep(4000, p_hat=1.0, dim=1, seed=0), xor_sweep(400, p_hat=1.0, dim=1, seed=1)
    options = {"dim": 16, "layers": 0, "epochs": 3, "batch_size": 500, "optim": {"lr": 0.1}}
    right = {}
    for method in (Symile, CLIP):
        model = method(**options).fit(train, trainer=Trainer(**QUIET))
        encoded = model.embed_views(test)
        both = torch.tensor([[0.0], [1.0]])
        scores = model.scores(encoded.only(["a", "c"]), "b", model.encode({"b": both}).vectors["b"])
        right[method] = float((scores.argmax(dim=1) == torch.from_numpy(test.views["b"].values[:, 0])).float().mean())
    assert right[Symile] > 0.99
    assert right[CLIP] < 0.7


def test_gram_volume_is_the_root_of_the_determinant():
    torch.manual_seed(0)
    others = [normalize(torch.randn(4, 6, dtype=torch.float64), dim=1) for _ in range(3)]
    candidates = normalize(torch.randn(5, 6, dtype=torch.float64), dim=1)
    scores = gram_score(others, candidates)
    for i in range(4):
        for j in range(5):
            stack = torch.stack([candidates[j], *(o[i] for o in others)])
            assert scores[i, j].item() == pytest.approx(-torch.linalg.det(stack @ stack.T).sqrt().item(), abs=1e-4)
    present = [torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)]
    two = gram_score([others[0], others[2]], candidates)
    torch.testing.assert_close(gram_score(others, candidates, present), two, rtol=1e-5, atol=1e-5)


def test_triangle_area_from_its_sides():
    torch.manual_seed(0)
    first, second, candidates = (normalize(torch.randn(4, 6, dtype=torch.float64), dim=1) for _ in range(3))
    scores = triangle_score([first, second], candidates)
    u, v = first[:, None] - candidates[None], second[:, None] - candidates[None]
    area = 0.5 * (u.square().sum(-1) * v.square().sum(-1) - (u * v).sum(-1) ** 2)
    torch.testing.assert_close(scores, -area)


def test_cca_correlations_equal_scikit_learns():
    cross = pytest.importorskip("sklearn.cross_decomposition")
    torch.manual_seed(0)
    shared = torch.randn(300, 2, dtype=torch.float64)
    x = torch.cat([shared, torch.randn(300, 2)], dim=1) @ torch.randn(4, 4, dtype=torch.float64)
    y = torch.cat([shared + 0.5 * torch.randn(300, 2), torch.randn(300, 3)], dim=1) @ torch.randn(
        5, 5, dtype=torch.float64
    )
    a, b = Pair(x, y).solve(ridge=0.0, k=2)
    ours = [abs(float(torch.corrcoef(torch.stack([x @ a[:, i], y @ b[:, i]]))[0, 1])) for i in range(2)]
    u, v = cross.CCA(2, scale=False, max_iter=20_000, tol=1e-14).fit_transform(x.numpy(), y.numpy())
    theirs = [abs(np.corrcoef(u[:, i], v[:, i])[0, 1]) for i in range(2)]
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_mcca_of_two_views_is_cca():
    table = Table.of(
        {"x": np.random.default_rng(0).normal(size=(60, 3)), "y": np.random.default_rng(1).normal(size=(60, 4))}
    )
    model = MCCA(ridges=(0.0,), dims=(3,)).fit(table)
    x, y = (torch.from_numpy(table.views[n].values) for n in "xy")
    a, b = Pair(model.scalers.scalers.view_x(x), model.scalers.scalers.view_y(y)).solve(0.0, 3)
    for ours, cca in ((getattr(model, "of x"), a), (getattr(model, "of y"), b)):
        cosines = torch.nn.functional.cosine_similarity(ours, cca, dim=0).abs()
        torch.testing.assert_close(cosines, torch.ones(3), rtol=1e-3, atol=1e-3)


def test_candidate_sets_are_equally_large_and_fixed():
    sets = candidate_sets(1000, 128)
    assert [len(rows) for rows in sets] == [128] * 7
    assert len(torch.cat(sets).unique()) == 7 * 128
    assert all(torch.equal(a, b) for a, b in zip(sets, candidate_sets(1000, 128), strict=True))
    assert [len(rows) for rows in candidate_sets(50_000, None)] == [2000] * 5
    with pytest.raises(UserError, match="100 rows cannot be judged among 128"):
        candidate_sets(100, 128)


def test_the_judge_against_a_loop(table):
    model = fitted(CLIP, table)
    outcome = cross_view(model, table, tasks=(Task(("B",), "A"), Task(("B", "C"), "A")))
    e = model.embed_views(table)
    hits = []
    for given in (["B"], ["B", "C"]):
        scores = model.scores(e.only(given), "A", e.vectors["A"])
        better = (scores > scores.diagonal()[:, None]).sum(dim=1)
        hits.append((better < 1).double())
    assert outcome.summary()["top1"] == pytest.approx(float(torch.stack(hits).mean()))


def test_wrong_views_and_unfitted_methods_are_refused_in_one_line(table):
    model = fitted(CLIP, table)
    with pytest.raises(UserError, match='unknown view "D"'):
        model.retrieve(table, "D", ["A"], table)
    with pytest.raises(UserError, match="at least one view other than the target"):
        model.retrieve(table, "A", ["A"], table)
    with pytest.raises(UserError, match="not fitted"):
        CLIP().embed(table)
    rng = np.random.default_rng(0)
    many = Table.of({f"v{i}": rng.normal(size=(40, 2)) for i in range(9)})
    with pytest.raises(UserError, match="takes exactly three"):
        TRIANGLE().fit(many)
    with pytest.raises(UserError, match="at most 8"):
        GatedSymile().fit(many)


def test_encoded_rows_and_views():
    encoded = Encoded({"a": torch.eye(3)}, {"a": torch.tensor([True, False, True])})
    assert len(encoded.rows(torch.tensor([0, 1]))) == 2
    assert encoded.only(["a"]).present["a"].tolist() == [True, False, True]
