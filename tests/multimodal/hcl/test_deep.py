"""Deep HCL: its losses against their equations, structures that hold their own factors, labels, explanations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.hcl.deep import HCL
from counterpoint.multimodal.hcl.encoders import explained_share
from counterpoint.multimodal.hcl_claims import separation
from counterpoint.multimodal.simulate.hcl import MadeTable, hcl
from counterpoint.multimodal.table import Table
from counterpoint.training import Batch, Clock, Trainer

QUIET = Trainer(progress=False)
SMALL = {"rank": 2, "dim": 8, "hidden": 16, "head": (8,), "epochs": 2, "batch_size": 32}
CLOCK = Clock(0, "fit", 1, 1, 1)


def fitted(table: Table, **options: object) -> HCL:
    return HCL(**(SMALL | options)).fit(table, trainer=QUIET)


@pytest.fixture(scope="module")
def table() -> MadeTable:
    return hcl(96, (6, 7, 8), rank=1, noise=0.1)


def batch_and_blocks(model: HCL, table: Table, rows: int = 12) -> tuple[Batch, dict[str, list[Tensor]]]:
    """A batch, and each view's vector in each structure (None where it has no part), in float64."""
    batch = model.batch(table, torch.arange(rows), torch.Generator())
    encoded = model.encode(batch.views)
    blocks = {}
    for name, vectors in encoded.vectors.items():
        own = set(model.structures.having(name))
        parts = [vectors[:, part].double() for part in model.structures.columns]
        assert all(bool(part.any()) == (k in own) for k, part in enumerate(parts))
        blocks[name] = parts
    return batch, blocks


def products(one: list[Tensor], other: list[Tensor]) -> Tensor:
    return torch.stack([a @ b.T for a, b in zip(one, other, strict=True)]).sum(dim=0)


def test_the_linear_loss_is_the_released_codes(table: MadeTable) -> None:
    model = fitted(table, contrast="linear", regulariser="released", regulariser_weight=0.5)
    batch, blocks = batch_and_blocks(model, table)
    unit = {n: [part * 2 for part in parts] for n, parts in blocks.items()}  # each view is in four structures
    for parts in unit.values():
        for part in parts:
            lengths = part.norm(dim=1)
            assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-5) or not lengths.any()
    phi = torch.stack([products(a, b) for a in unit.values() for b in unit.values()]).sum(dim=0)
    b = len(phi)
    wanted = (phi.sum() - phi.trace()) / (2 * b * (b - 1)) - phi.trace() / (2 * b)
    overlap = torch.stack(
        [(x * y).sum() for parts in unit.values() for x in parts for y in parts]
    ).sum()  # summed over the batch, the same structure with itself included
    terms = model.losses(batch, CLOCK)
    torch.testing.assert_close(terms["contrast"].double(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms["regulariser"].double(), 0.5 * overlap, atol=1e-4, rtol=1e-5)
    squared = fitted(table, contrast="linear", regulariser="squared")
    batch, blocks = batch_and_blocks(squared, table)
    unit = {n: [part * 2 for part in parts] for n, parts in blocks.items()}
    overlap = torch.stack(
        [(x * y).sum(dim=1).square().mean() for p in unit.values() for x in p for y in p if x is not y]
    ).sum()
    torch.testing.assert_close(squared.losses(batch, CLOCK)["regulariser"].double(), overlap, atol=1e-5, rtol=1e-5)


def test_the_spectral_loss_pair_by_pair(table: MadeTable) -> None:
    model = fitted(table)
    batch, blocks = batch_and_blocks(model, table)
    terms = model.losses(batch, CLOCK)
    assert list(terms) == ["A-B", "A-C", "B-C", "A", "B", "C"]
    for name, term in terms.items():
        a, _, b = name.partition("-")
        s = 1 + products(blocks[a], blocks[b or a])
        n = len(s)
        loss = (s.square().sum() - s.square().trace()) / (n * (n - 1)) - 2 * s.trace() / n + 1
        torch.testing.assert_close(term.double(), loss if b else loss / 2, atol=1e-5, rtol=1e-5)


def test_a_head_per_level_is_shared_by_structures_of_one_size(table: MadeTable) -> None:
    own, level = fitted(table), fitted(table, heads="level")
    assert len(own.encoders.heads) == 12
    assert len(level.encoders.heads) == 9
    vectors = level.embed_views(table).vectors["A"]
    pairs = [level.structures.columns[k] for k in (1, 2)]  # A + B and A + C
    torch.testing.assert_close(vectors[:, pairs[0]], vectors[:, pairs[1]])
    other = own.embed_views(table).vectors["A"]
    assert not torch.allclose(other[:, pairs[0]], other[:, pairs[1]])


def test_a_rows_vector_is_the_mean_over_the_views_of_each_structure(table: MadeTable) -> None:
    model = fitted(table)
    encoded = model.embed_views(table)
    a, b, c = (encoded.vectors[n] for n in "ABC")
    structures = model.structures.columns
    factors = model.factors(encoded)
    torch.testing.assert_close(factors[:, structures[0]], ((a + b + c) / 3)[:, structures[0]])
    torch.testing.assert_close(factors[:, structures[1]], ((a + b) / 2)[:, structures[1]])
    torch.testing.assert_close(factors[:, structures[4]], a[:, structures[4]])
    alone = model.factors(encoded.only(["B"]))
    torch.testing.assert_close(alone, b)
    torch.testing.assert_close(model.embed(table).norm(dim=1), torch.ones(96))


def test_structures_hold_their_own_factors_and_the_released_loss_does_not() -> None:
    train, test = (hcl(n, (12, 12, 12), rank=1, noise=0.02, draw=draw) for draw, n in enumerate((1500, 1000)))
    options = {
        "rank": 1,
        "hidden": 32,
        "dim": 16,
        "head": (16,),
        "epochs": 10,
        "batch_size": 100,
        "optim": {"lr": 5e-3},
    }
    found = {
        name: separation(HCL(**options, **more).fit(train, trainer=QUIET), test).summary()
        for name, more in {
            "spectral": {},
            "released": {"contrast": "linear", "regulariser": "released", "heads": "level"},
        }.items()
    }
    assert found["spectral"]["joint"] > 0.7
    assert found["spectral"]["pair"] > 0.5
    assert abs(found["spectral"]["leak"]) < 0.1
    assert found["spectral"]["separated"] > found["released"]["separated"] + 0.3


def test_views_that_are_absent_train_and_serve(table: MadeTable) -> None:
    views = {n: v.values.copy() for n, v in table.views.items()}
    views["B"][::3] = np.nan
    holes = Table.of(views, {"y": table.columns["y"]})
    for options in ({}, {"contrast": "linear", "regulariser": "squared"}, {"hide": 0.3}):
        model = fitted(holes, label="y", **options)
        assert bool(model.embed(holes).isfinite().all())
        assert len(model.predict(holes)) == 96
        assert model.retrieve(holes.rows(np.arange(4)), "B", ["A", "C"], holes, k=3).ids.shape == (4, 3)


@pytest.mark.parametrize("supervision", ["lasso", "joint", "finetune"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_labels_are_learned(supervision: str, kind: str) -> None:
    shared = {"active": [("A", "B")], "spread": 0.1}
    train, test = (hcl(n, (8, 8), rank=1, noise=0.05, draw=draw, **shared) for draw, n in enumerate((800, 400)))

    def labelled(made: MadeTable) -> Table:
        y = made.columns["y"]
        views = {n: v.values for n, v in made.views.items()}
        return Table.of(views, {"y": np.where(y > 0, "high", "low").astype(object) if kind == "classes" else y})

    options = {"rank": 2, "hidden": 32, "dim": 16, "head": (16,), "epochs": 6, "batch_size": 40, "optim": {"lr": 5e-3}}
    model = HCL(**options, label="y", supervision=supervision).fit(labelled(train), trainer=QUIET)
    said = model.predict(labelled(test))
    if kind == "classes":
        assert list(said.classes) == ["high", "low"]
        right = np.array(said.labels) == np.where(test.columns["y"] > 0, "high", "low")
        assert right.mean() > 0.75
        assert said.probabilities is not None
        torch.testing.assert_close(said.probabilities.sum(dim=1), torch.ones(400, dtype=torch.float64))
    else:
        assert np.mean((np.array(said.labels) - test.columns["y"]) ** 2) < 0.5 * test.columns["y"].var()


def test_what_is_explained_is_judged_on_other_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 20, generator=generator, dtype=torch.float64)
    noise = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    assert float(explained_share(vectors, noise).max()) < 0.2  # in-sample it would be two thirds
    exact = explained_share(vectors, vectors[:, :3] @ torch.randn(3, 3, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(exact, torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)
    assert explained_share(vectors, torch.zeros(60, 2, dtype=torch.float64)).tolist() == [0.0, 0.0]


def test_the_explanation_names_columns_and_views(table: MadeTable) -> None:
    found = fitted(table).explain()
    assert found["views"] == ["A", "B", "C"]
    assert [part["name"] for part in found["structures"]][:2] == ["A + B + C", "A + B"]
    assert found["structures"][0]["agreement"] is not None
    assert found["structures"][-1]["agreement"] is None
    assert set(found["structures"][1]["share"]) == {"A", "B"}
    assert all(0 <= value <= 1 for value in found["unexplained"].values())


def test_text_and_categories_take_part(table: MadeTable) -> None:
    rng = np.random.default_rng(0)
    levels = [["f" if value else "m"] for value in rng.random(96) < 0.5]
    mixed = Table.of({"labs": table.views["A"].values, "sex": levels}, kind={"sex": "categories"})
    model = fitted(mixed)
    assert [part["name"] for part in model.explain()["structures"]] == ["labs + sex", "labs", "sex"]
    assert model.embed(mixed).shape == (96, 6)


def test_what_it_is_about_to_make_is_said_and_too_much_refused(table: MadeTable) -> None:
    said = HCL(**SMALL).remarks(table)
    model = fitted(table)
    heads = sum(p.numel() for p in model.encoders.heads.parameters())
    assert said == [f"7 structures of 3 views (2^3 - 1): 12 heads of {heads:,} parameters on 3 encoders"]
    many = Table.of({f"v{i}": np.random.default_rng(i).normal(size=(40, 2)) for i in range(11)})
    with pytest.raises(UserError, match=r"11 views have 2047 structures \(2\^11 - 1\)"):
        HCL().fit(many, trainer=QUIET)
    with pytest.raises(UserError, match=r"1023 structures of 10 views \(2\^10 - 1\) need .* GiB of memory"):
        HCL(rank=2000, head=(2000,)).fit(replace(many, views={f"v{i}": many.views[f"v{i}"] for i in range(10)}))
    six = replace(many, views={f"v{i}": many.views[f"v{i}"] for i in range(6)})
    small = HCL(rank=1, head=(2,), hidden=2, dim=2)
    small.prepare(small.measure(six))
    assert small.encode(small.batch(six, torch.arange(4), torch.Generator()).views).vectors["v0"].shape == (4, 63)
    with pytest.raises(UserError, match="fitted without a label"):
        model.predict(table)
