"""URMF: its terms against float64 brute force, what absent views and labels do, and what it says of rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cross_entropy, normalize

from counterpoint.errors import UserError
from counterpoint.multimodal.corrupt import hide
from counterpoint.multimodal.fusion import Attending, averaged, weights
from counterpoint.multimodal.simulate.tokens import polarity
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.tokens import Tokens
from counterpoint.multimodal.urmf import URMF
from counterpoint.objectives import Gaussian
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.training import Classifies, Clock, rng

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "hidden": 8, "dropout": 0.0, "epochs": 1, "batch_size": 48}
CLOCK = Clock(0, "fit", 0, 0, 1)
TERMS = ("task", "bottleneck", "prior", "alignment", "contrast")


@pytest.fixture(scope="module")
def table() -> Table:
    return polarity(96, seed=0)


@pytest.fixture(scope="module")
def fitted(table: Table) -> URMF:
    return URMF(**SMALL).fit(table)


def prepared(table: Table, **options: Any) -> URMF:
    """Unfitted, in float64, with variances that differ from row to row."""
    method = URMF(**{**SMALL, **options})
    method.prepare(method.measure(table))
    for name, parameter in method.named_parameters():
        if "log_variance" in name:
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(len(name)))
    return method.double().eval()


def losses(method: URMF, table: Table, rows: int = 12) -> dict[str, Tensor]:
    batch = method.batch(table, torch.arange(rows), rng(0))
    views = {name: values.double() if values.is_floating_point() else values for name, values in batch.views.items()}
    return method.losses(replace(batch, views=views), CLOCK)


def latents(method: URMF, table: Table, rows: int = 12) -> Any:
    batch = method.batch(table, torch.arange(rows), rng(0))
    return method.network({name: values.double() for name, values in batch.views.items()}), batch.context["classes"]


def noise(rows: int, dim: int, use: str) -> Tensor:
    return torch.randn(rows, dim, generator=CLOCK.shared_rng(use), dtype=torch.float64)


def test_every_term_is_the_equation_of_the_page(table: Table) -> None:
    method = prepared(table, task=1.0, bottleneck=0.5, prior=0.3, alignment=0.2, contrast=0.1)
    found = losses(method, table)
    fused, classes = latents(method, table)
    assert tuple(found) == TERMS

    def normal(q: Gaussian) -> Normal:
        return Normal(q.mean, (q.log_variance / 2).exp())

    standard = Normal(torch.zeros(12, 8, dtype=torch.float64), 1.0)
    prior = sum(kl_divergence(normal(q), standard).sum(1).mean() for q in fused.latents.values())
    apart = kl_divergence(normal(fused.latents["text"]), normal(fused.latents["image"])).sum(1).mean()
    drawn = fused.result.mean + noise(12, 8, "fused") * (fused.result.log_variance / 2).exp()
    kept = kl_divergence(normal(fused.result), standard).sum(1).mean()
    expected = {
        "task": cross_entropy(method.classifier(fused.result.mean), classes),
        "bottleneck": 0.5 * (kept + cross_entropy(method.classifier(drawn), classes)),
        "prior": 0.3 * prior,
        "alignment": 0.2 * apart,
        "contrast": 0.1 * sum(naive_contrast(name, q) for name, q in fused.latents.items()),
    }
    for name in TERMS:
        torch.testing.assert_close(found[name], expected[name], msg=name)


def naive_contrast(name: str, q: Gaussian) -> Tensor:
    """The card's NTX, row by row: within-view and cross-view similarities, without the row itself."""
    a, b = (
        normalize(q.mean + noise(len(q.mean), q.mean.shape[1], f"{name} {draw}") * (q.log_variance / 2).exp(), dim=1)
        for draw in (0, 1)
    )
    total = torch.zeros((), dtype=torch.float64)
    for z, other in ((a, b), (b, a)):
        for i in range(len(z)):
            within, across = (z[i] @ z.T / 0.5).exp(), (z[i] @ other.T / 0.5).exp()
            total = total - (across[i] / (within.sum() + across.sum() - within[i])).log()
    return total / (2 * len(a))


def test_each_term_can_be_switched_off_alone(table: Table) -> None:
    for term in TERMS:
        assert set(losses(prepared(table, **{term: 0.0}), table)) == set(TERMS) - {term}


def test_weights_are_normalised_precisions_and_the_fused_variance_follows() -> None:
    generator = torch.Generator().manual_seed(0)
    made = {name: Gaussian(*torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)) for name in "abc"}
    here = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, True, True, False])}
    here["c"] = torch.tensor([True, False, True, False])
    shares = weights(made, here, "precision")
    precision = {name: q.variance.reciprocal() * here[name][:, None] for name, q in made.items()}
    total = sum(precision.values())
    for name in "abc":
        torch.testing.assert_close(shares[name][:3], (precision[name] / total)[:3])
        assert not shares[name][3].any()
    torch.testing.assert_close(averaged(made, shares).variance[:3], total[:3].reciprocal())


def test_with_two_latents_variance_is_eaus_rule() -> None:
    generator = torch.Generator().manual_seed(1)
    made = {name: Gaussian(*torch.randn(2, 4, 3, generator=generator)) for name in ("t", "v")}
    here = dict.fromkeys(made, torch.ones(4, dtype=torch.bool))
    of_t, of_v = (made[name].variance.exp() for name in ("t", "v"))
    torch.testing.assert_close(weights(made, here, "variance")["t"], of_v / (of_t + of_v))
    assert all((share == 0.5).all() for share in weights(made, here, "uniform").values())


def test_attention_sees_nothing_where_nothing_is() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Attending(4, 2, 0.0).eval()
        asking, asked = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    known = torch.tensor([[True, True, False, False, False], [False] * 5])
    everything = torch.ones(2, 3, dtype=torch.bool)
    found = layer(Tokens(asking, everything), Tokens(asked, known)).vectors
    alone = layer(Tokens(asking[:1], everything[:1]), Tokens(asked[:1, :2], known[:1, :2])).vectors
    torch.testing.assert_close(found[:1], alone)
    torch.testing.assert_close(found[1], layer.norm(asking[1]))


def test_filling_changes_nothing(table: Table, fitted: URMF) -> None:
    """A short text beside a long one, and alone."""
    together, alone = (fitted.predict(table.rows(rows)).probabilities for rows in (slice(0, 20), slice(3, 4)))
    assert together is not None
    assert alone is not None
    torch.testing.assert_close(together[3:4], alone)


def test_an_absent_view_weighs_nothing_and_a_row_without_any_says_nothing(table: Table, fitted: URMF) -> None:
    half, masks = hide(table, "image", 0.5, np.random.default_rng(0))
    both, _ = hide(half, "text", 1.0, np.random.default_rng(0))
    one, none = fitted.predict(half), fitted.predict(both)
    hit = torch.from_numpy(masks["image"])
    assert not one.weights["image"][hit].any()
    assert one.variances["image"].isnan().equal(hit)
    total = sum(one.weights.values())
    torch.testing.assert_close(total, torch.ones_like(total))
    assert [label is None for label in none.labels] == hit.tolist()
    without = fitted.predict(replace(table, views={"text": table.views["text"]}))
    torch.testing.assert_close(without.probabilities[hit], one.probabilities[hit])
    assert (fitted.embed(both).norm(dim=1) == 0).equal(hit)


def test_rows_without_a_label_teach_all_but_the_classifier(table: Table) -> None:
    label = table.columns["label"].astype(float)
    some = np.where(np.arange(len(table)) % 3 == 0, np.nan, label)
    method = prepared(table)
    whole = losses(method, table)
    partly = losses(method, replace(table, columns={**table.columns, "label": some}))
    fused, classes = latents(method, table)
    known = torch.arange(12) % 3 != 0
    expected = cross_entropy(method.classifier(fused.result.mean)[known], classes[known])
    torch.testing.assert_close(partly["task"], expected)
    assert all(torch.equal(partly[name], whole[name]) for name in ("prior", "alignment", "contrast"))


def test_labels_come_back_as_they_were(table: Table) -> None:
    words = np.array(["no", "yes"], dtype=object)[table.columns["label"]]
    named = replace(table, columns={**table.columns, "label": words})
    method = URMF(**SMALL).fit(named)
    assert method.facts["classes"] == ["no", "yes"]
    assert set(method.predict(named).labels) <= {"no", "yes"}
    assert isinstance(method, Classifies)


def test_it_learns_an_xor_that_no_view_tells_alone() -> None:
    easy: dict[str, Any] = {"ambiguous": 0.0, "noise": 0.1, "text_tokens": 5, "image_tokens": 4}
    train, test = (polarity(n, seed=s, **easy) for s, n in enumerate((480, 200)))
    method = URMF(**SMALL | {"dim": 16, "epochs": 8, "optim": {"lr": 0.01}}).fit(train)
    assert method.judge(method, test).summary()["accuracy"] > 0.9
    alone = replace(test, views={"image": test.views["image"]})
    assert abs(method.judge(method, alone).summary()["accuracy"] - 0.5) < 0.12


def test_reliability_is_a_share_of_training_rows(table: Table, fitted: URMF) -> None:
    trust = fitted.reliability(table)
    assert list(trust) == ["text", "image"]
    for name, values in trust.items():
        own = fitted.predict(table).variances[name]
        expected = [(float((own > value).sum()) + 0.5 * float((own == value).sum())) / len(own) for value in own]
        torch.testing.assert_close(values, torch.tensor(expected), atol=0.02, rtol=0)
    still = URMF(**SMALL, fusion="uniform", bottleneck=0, prior=0, alignment=0, contrast=0).fit(table)
    assert still.predict(table).variances == {}
    assert all(values.isnan().all() for values in still.reliability(table).values())


def test_texts_are_read_as_words() -> None:
    texts = ["good day", None, "bad day", "good night"] * 6
    table = Table.of(
        {"text": texts, "size": [[float(i)] for i in range(24)]},
        {"label": np.array([0, 1, 1, 0] * 6)},
        kind={"text": "text", "size": "numbers"},
    )
    method = URMF(**SMALL | {"epochs": 40, "batch_size": 24, "optim": {"lr": 0.01}}).fit(table)
    assert method.facts["views"]["text"]["words"] == ["day", "good", "bad", "night"]
    assert method.predict(table).labels[2] == 1
    fresh = Table.of({"text": ["Good GOOD unheard", ""]}, kind="text")
    said = method.predict(fresh)
    assert said.labels[0] == 0
    assert said.labels[1] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "lable"}, r'no column "lable" with labels; did you mean "label"'),
        ({"label": "same"}, "holds 1 different values"),
        ({"heads": 3}, "dim=8 is no multiple of heads=3"),
    ],
)
def test_mistakes_are_named(table: Table, change: dict[str, Any], words: str) -> None:
    broken = replace(table, columns={**table.columns, "same": np.ones(96)})
    with pytest.raises(UserError, match=words):
        URMF(**SMALL | change).fit(broken)


def test_a_view_of_another_kind_is_refused(fitted: URMF) -> None:
    with pytest.raises(UserError, match='view "text" is text, the run was fitted on tokens'):
        fitted.predict(Table.of({"text": ["words"]}, kind="text"))
    with pytest.raises(UserError, match="none of the run's views; it needs text, image"):
        fitted.predict(Table.of({"other": [[1.0]]}))
    with pytest.raises(UserError, match='may not be called "interaction"'):
        URMF(**SMALL).fit(Table.of({"interaction": [[1.0], [2.0]]}, {"label": [0, 1]}))


def test_one_view_can_be_used_alone(table: Table) -> None:
    model = URMF(**SMALL, only=("image",)).fit(table)
    said = model.predict(table)
    assert list(said.weights) == ["image"]
    assert model.assess(model, table, table)["reliability"]["views"] == ["image"]
    assert said.labels == model.predict(replace(table, views={"image": table.views["image"]})).labels
    with pytest.raises(UserError, match='only=imag: there is no such view; did you mean "image"'):
        URMF(**SMALL, only=("imag",)).fit(table)


def test_decisions_are_added_up_by_their_energy(table: Table) -> None:
    method = prepared(table, fusion="energy", prior=0.0, alignment=0.0, contrast=0.0)
    found = losses(method, table)
    assert list(found) == ["task"]
    fused, classes = latents(method, table)
    said = {n: method.opinions.classifiers[f"latent_{n}"](q.mean) for n, q in fused.latents.items()}
    whole = sum(one * (one.exp().sum(1).log() / 10)[:, None] for one in said.values())
    torch.testing.assert_close(
        found["task"], cross_entropy(whole, classes) + sum(cross_entropy(one, classes) for one in said.values())
    )
    half, masks = hide(table, "image", 0.5, np.random.default_rng(0))
    told = URMF(**SMALL, fusion="energy").fit(table).predict(half)
    total = sum(told.weights.values())
    torch.testing.assert_close(total, torch.ones_like(total))
    assert not told.weights["image"][torch.from_numpy(masks["image"])].any()


def test_latents_side_by_side(table: Table) -> None:
    method = prepared(table, fusion="concat")
    fused, _ = latents(method, table)
    beside = torch.cat([q.mean / 3 for q in fused.latents.values()], dim=1)
    torch.testing.assert_close(fused.result.mean, method.network.stacked.head(beside)[:, :8])


def test_from_epoch_five_a_views_gradients_grow_with_its_variance(table: Table) -> None:
    """Of latents without interaction, so that a view's tokens are met once: the gradient of a bias is a sum of rows."""
    options = {"interaction": False, "bottleneck": 0.0, "prior": 0.0, "alignment": 0.0, "contrast": 0.0}

    def gradient(epoch: int, modulation: float) -> Tensor:
        method = prepared(table, **options, modulation=modulation).train()
        batch = method.batch(table, torch.arange(1), rng(0))
        views = {name: values.double() for name, values in batch.views.items()}
        method.losses(replace(batch, views=views), replace(CLOCK, epoch=epoch))["task"].backward()
        return method.network.projections["view_image"][-1].bias.grad

    method = prepared(table, **options)
    variance = latents(method, table, 1)[0].latents["image"].variance.mean()
    torch.testing.assert_close(gradient(4, 0.5), gradient(9, 0.0))
    torch.testing.assert_close(gradient(5, 0.5), gradient(5, 0.0) * (1 + 0.5 * variance))


def test_words_may_start_at_vectors_that_are_known() -> None:
    texts = Table.of({"text": ["good day", "bad day", "good night", "bad night"]}, {"label": [0, 1, 0, 1]}, kind="text")
    method = URMF(**SMALL, words="static")
    method.prepare(method.measure(texts))
    front = method.network.named_fronts["text"]
    assert front.width == 256
    assert front.vectors.weight.requires_grad
    known = TextEncoder.from_source("static").encode(method.facts["views"]["text"]["words"])
    torch.testing.assert_close(front.vectors.weight[1:], known)
