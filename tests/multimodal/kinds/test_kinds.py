"""Views that are not of numbers: what they become, what is remembered of training rows, and how they are used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint import load
from counterpoint.errors import UserError
from counterpoint.multimodal import items
from counterpoint.multimodal.cca.mcca import MCCA
from counterpoint.multimodal.cca.ridge import RidgeCCA
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.corrupt import hide, noise, swap
from counterpoint.multimodal.gated_symile import GatedSymile
from counterpoint.multimodal.gram import GRAM
from counterpoint.multimodal.items import Items, Made
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import How
from counterpoint.multimodal.symile import Symile
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, hide_views, measure_views
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.training import Trainer
from multimodal.kinds.kinds_data import SMALL, fitted, table
from pretrained.tiny_vision import png, pngs, tiny_vit
from text.tiny import tiny

ENCODERS = {"note": tiny(), "scan": tiny_vit()}
HOW = How(learns=True, encoder=ENCODERS)


def front(data: Table, name: str, how: How = HOW) -> Any:
    kind = KINDS[data.views[name].kind]
    return kind.front(kind.measure(data.views[name], how), how.bases.get(name))


# --- items


def test_what_is_made_of_items_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "TOGETHER", 2)
    asked: list[str] = []

    def lengths(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[len(text)] for text in texts]

    for kept in (2**28, 0):  # in memory, in a file
        monkeypatch.setattr(items, "KEPT", kept)
        asked.clear()
        made = Made(Items(["a", "bb", "ccc", "dddd"]), (1,), np.float32, lengths)
        assert made.rows(np.array([3, 0, 3])).tolist() == [[4], [1], [4]]
        assert made.rows(np.array([0, 1, 2])).tolist() == [[1], [2], [3]]
        assert sorted(asked) == ["a", "bb", "ccc", "dddd"]
        assert isinstance(made.values, np.memmap) == (kept == 0)


def test_equal_tables_hash_equally_whatever_the_numbering() -> None:
    whole = table(30)
    assert table(30).fingerprint() == whole.fingerprint()
    assert table(30, seed=1).fingerprint() != whole.fingerprint()
    order = np.arange(29, -1, -1)
    assert whole.rows(order).rows(order).fingerprint() == whole.fingerprint()
    one, other = (Table.of({"a": [["x"], [level]]}, kind={"a": "categories"}) for level in "yz")
    assert one.fingerprint() != other.fingerprint()
    backwards = Table.of({"a": ["p", "q"][::-1]}, kind={"a": "text"}).rows(np.array([1, 0]))
    assert backwards.views["a"].digest() == Table.of({"a": ["p", "q"]}, kind={"a": "text"}).views["a"].digest()


# --- categories


def categories(*levels: Any) -> Table:
    return Table.of({"v": list(levels)}, kind={"v": "categories"})


def test_rare_and_unseen_levels_are_one_and_gaps_are_said() -> None:
    train = categories(*[["a", "x"]] * 6, *[["b", "x"]] * 5, ["c", "x"], ["d", None], [None, "x"])
    made = front(train, "v")
    assert made.levels == [["a", "b"], ["x"]]
    assert made.gaps == [0, 1]
    new = categories(["b", "x"], ["c", "x"], ["never", "y"], [None, "x"], None)
    codes = made.tensor(new.views["v"], slice(None))
    assert codes.tolist() == [[1, 0], [2, 0], [2, 1], [-1, 0], [-1, -1]]
    assert made(codes).tolist() == [
        [0, 1, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 1, 0, 1, 0, 0],
        [0, 0, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]
    assert made.present(codes).tolist() == [True, True, True, True, False]
    without = front(categories(*[["a", "x"]] * 6), "v")
    assert without.present(torch.tensor([[0, -1], [0, 0]])).tolist() == [False, True]


def test_levels_of_single_rows_are_refused() -> None:
    names = categories(*[[f"name {row}"] for row in range(10_000)])
    with pytest.raises(UserError, match=r'view "v": no level has 5 training rows \(levels: v 10000\).*kind\.v=text'):
        front(names, "v")
    assert "rare levels count as one" in categories(*["a"] * 20, *[f"b{i}" for i in range(30)]).warnings()[0]


def test_levels_beyond_the_most_frequent_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoint.multimodal.kinds.categories.MOST", 2)
    data = categories(*["a"] * 9, *["b"] * 8, *["c"] * 7)
    assert front(data, "v").levels == [["a", "b"]]
    assert "the 2 most frequent are told apart" in data.warnings()[0]


# --- texts


def test_frozen_texts_are_their_vectors_made_once() -> None:
    data = Table.of({"v": ["word1 word2", None, "word3", "word1 word2"]}, kind={"v": "text"})
    made = front(data, "v", How(encoder={"v": tiny()}))
    values = made.tensor(data.views["v"], slice(None))
    expected = TextEncoder.from_source(tiny()).encode(["word1 word2", "word3"])
    torch.testing.assert_close(values[[0, 2, 3]], expected[[0, 1, 0]])
    assert bool(values[1].isnan().all())
    assert made.present(values).tolist() == [True, False, True, True]
    assert made(values)[[0, 2, 3]].mean(dim=0).abs().max() < 1e-5


def test_learned_texts_are_tokens_and_the_same_vectors() -> None:
    data = Table.of({"v": ["word1 word2", None, "word3"]}, kind={"v": "text"})
    made = front(data, "v", How(learns=True, pretrained="full", encoder={"v": tiny()}))
    values = made.tensor(data.views["v"], np.array([1, 0, 2]))
    assert values.shape == (3, 24)
    assert (values >= 0).sum(dim=1).tolist() == [0, 4, 3]
    assert made.present(values).tolist() == [False, True, True]
    vectors = made(values)
    expected = TextEncoder.from_source(tiny()).encode(["word1 word2", "word3"])
    torch.testing.assert_close(vectors[1:], expected, rtol=1e-5, atol=1e-6)
    assert not vectors[0].any()
    assert made(values[:1]).shape == (1, made.width)


def test_an_encoder_that_changed_is_refused() -> None:
    data = Table.of({"v": ["word1", "word2"]}, kind={"v": "text"})
    facts = KINDS["text"].measure(data.views["v"], How(encoder={"v": tiny()}))
    facts["base"] = {**facts["base"], "hash": "other"}
    with pytest.raises(UserError, match="not the one that was fitted"):
        KINDS["text"].front(facts).tensor(data.views["v"], slice(None))


def test_texts_that_are_numbers_are_refused() -> None:
    data = Table.of({"v": ["1", "2.5", "3"]}, kind={"v": "text"})
    with pytest.raises(UserError, match=r'view "v": its texts are numbers \("1"\); use kind\.v=numbers'):
        front(data, "v")


# --- pictures


def test_frozen_and_learned_pictures_agree() -> None:
    data = Table.of({"v": [*pngs(3, 0), None]}, kind={"v": "pictures"})
    frozen = front(data, "v", How(scaled=False, encoder={"v": tiny_vit()}))
    learned = front(data, "v", How(learns=True, pretrained="full", encoder={"v": tiny_vit()}))
    one, two = (made.tensor(data.views["v"], slice(None)) for made in (frozen, learned))
    assert two.shape == (4, 3, 8, 8)
    torch.testing.assert_close(frozen(one)[:3], learned(two)[:3], rtol=1e-5, atol=1e-5)
    assert frozen.present(one).tolist() == learned.present(two).tolist() == [True, True, True, False]
    assert not learned(two)[3].any()


def test_pictures_in_a_file_are_paths_beside_it(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.png").write_bytes(png((9, 9, 9)))
    columns = {"scan": ["in/a.png", None, "in/b.png"], "raw": [png((1, 1, 1)), png((2, 2, 2)), None], "x": [1, 2, 3]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    data = Table.read(tmp_path / "t.parquet", view={"scan": "scan", "raw": "raw", "x": "x"})
    assert [view.kind for view in data.views.values()] == ["pictures", "pictures", "numbers"]
    assert data.views["scan"].present.tolist() == [True, False, True]
    assert data.views["raw"].present.tolist() == [True, True, False]


def test_low_rank_updates_need_linear_layers() -> None:
    data = table(12)
    with pytest.raises(UserError, match=r"encoder\.scan=efficientnet-lite0 has no linear layers"):
        front(data, "scan", How(learns=True, pretrained="lora"))
    with pytest.raises(UserError, match=r"encoder\.note=static has no layers"):
        front(data, "note", How(learns=True, pretrained="lora", encoder={"note": "static"}))


# --- events


def events(*rows: Any) -> Table:
    return Table.of({"v": list(rows)}, kind={"v": "events"})


def test_events_are_sorted_cut_and_told_apart() -> None:
    long = [(float(t), float(t), "hr") for t in range(300)]
    data = events([(2.0, 5.0, "hr"), (None, 1.0, "drug")], None, long)
    made = front(data, "v")
    assert made.types == ["hr", "drug"]
    values = made.tensor(data.views["v"], slice(None))
    assert values.shape == (3, 256, 3)
    assert values[0, :3, 1].tolist()[:2] == [1.0, 5.0]
    assert values[0, :2, 2].tolist() == [1.0, 0.0]
    assert values[2, :, 1].tolist() == list(range(44, 300))
    assert made.present(values).tolist() == [True, False, True]
    new = events([(1.0, 0.0, "new"), (1.0, 1.0, "hr")])
    assert made.tensor(new.views["v"], slice(None))[0, :2, 2].tolist() == [2.0, 0.0]
    assert "1 rows have more than 256 events" in data.warnings()[0]


def test_the_order_of_events_of_one_time_and_padding_do_not_matter() -> None:
    data = events([(1.0, 0.0, "a"), (2.0, 0.0, "b"), (None, 1.0, "a")], [(1.0, 0.0, "a")] * 5)
    made = front(data, "v")
    values = made.tensor(data.views["v"], slice(0, 1))
    turned = values[:, [1, 0, 2, 3, 4]]
    torch.testing.assert_close(made(values), made(turned))
    torch.testing.assert_close(made(values), made(values[:, :3]))
    assert made(values).isfinite().all()


def test_the_summary_of_events_against_a_loop() -> None:
    random = np.random.default_rng(0)
    rows = [
        [(float(random.normal()) if random.random() < 0.8 else None, float(t), "abc"[random.integers(3)])
         for t in range(random.integers(1, 9))]
        for _ in range(20)
    ]  # fmt: skip
    data = events(*rows)
    made = front(data, "v", How())
    found = made(made.tensor(data.views["v"], slice(None)))
    assert found.shape == (20, 3 * 3 + 1)
    for row, given in enumerate(rows):
        wanted = [np.log1p(len(given))]
        for place, kind in enumerate(made.types):
            mean, scale = float(made.mean[place]), float(made.scale[place])
            known = [(value - mean) / scale for value, _, name in given if name == kind and value is not None]
            count = sum(name == kind for _, _, name in given)
            wanted += [np.log1p(count), np.mean(known) if known else 0.0, known[-1] if known else 0.0]
        np.testing.assert_allclose(found[row].numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_events_in_a_file_with_timestamps(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hours = [[0, 3_600_000_000, 1_800_000_000], None]
    columns = {
        "value": pa.array([[1.0, 2.0, None], None]), "time": pa.array(hours, pa.list_(pa.timestamp("us"))),
        "type": pa.array([["hr", "hr", "drug"], None]), "x": [1.0, 2.0],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    data = Table.read(tmp_path / "t.parquet", view={"ehr": "value,time,type", "x": "x"})
    (found,) = data.views["ehr"].entries(0)
    np.testing.assert_array_equal(found, np.float32([[1, 0, 1], [np.nan, 0.5, 0], [2, 1, 1]]))
    assert data.views["ehr"].items.names == ("drug", "hr")
    assert data.views["ehr"].present.tolist() == [True, False]
    assert KINDS["events"].shown(data.views["ehr"], 0) == "3 events, last: hr 1, drug, hr 2"


# --- every kind in every method


@pytest.mark.parametrize("method", [CLIP, Symile, GatedSymile, GRAM, RidgeCCA, MCCA])
def test_every_method_takes_every_kind(method: Any) -> None:
    data = table()
    closed = method in (RidgeCCA, MCCA)
    options = {} if closed else {**SMALL, "encoder": ENCODERS}
    if closed:  # by their default encoders, which are not tiny
        pytest.importorskip("wordllama")
        views = {name: view for name, view in data.views.items() if name != "scan"}
        data = Table(views, data.columns, data.ids, "t")
    model = method(**options).fit(data, trainer=Trainer(progress=False))
    found = model.retrieve(data.rows(np.arange(5)), "note", ["labs", "about"], data, k=3)
    assert found.ids.shape == (5, 3)
    encoded = model.embed_views(data)
    for name, view in data.views.items():
        assert encoded.present[name].tolist() == view.present.tolist(), name
        assert bool(encoded.vectors[name][encoded.present[name]].isfinite().all())
    assert all(bool(((t >= 0) & (t <= 1) | t.isnan()).all()) for t in model.reliability(data).values())


def test_a_cause_that_all_kinds_share_is_found() -> None:
    train, test = table(240), table(90, seed=1, complete=True)
    model = fitted("frozen", train, epochs=20, batch_size=120, dim=8, hidden=16, optim={"lr": 0.03})
    cause = test.columns["cause"]
    for given in ("note", "about", "scan", "ehr"):
        found = model.retrieve(test, "labs", [given], test, k=1)
        right = (cause[found.index[:, 0].numpy()] == cause).mean()
        assert right > 0.6, f"{given}: {right}"


def test_corruptions_of_every_kind() -> None:
    data = table(60, complete=True)
    names = list(data.views)
    wrong, hit = swap(data, names, 0.5, np.random.default_rng(0))
    for name, mask in hit.items():
        moved = [wrong.views[name].values[row].tolist() != data.views[name].values[row].tolist() for row in range(60)]
        assert not np.any(np.array(moved) & ~mask)
    hidden, hit = hide(data, names, 0.5, np.random.default_rng(0))
    assert all((hidden.views[name].present == ~mask).all() for name, mask in hit.items())
    with pytest.raises(UserError, match="noise is for numbers, use swap"):
        noise(data, "note", 0.5, np.random.default_rng(0))


def test_views_of_every_kind_can_be_hidden() -> None:
    data = table(30, complete=True)
    for mode in ("frozen", "full"):
        model = fitted(mode, data, epochs=1)
        batch = batch_of(data, torch.arange(30), model.fronts)
        hide_views(batch, 0.9, torch.Generator().manual_seed(0))
        present = model.encode(batch.views).present
        count = torch.stack(list(present.values())).sum(dim=0)
        assert bool((count >= 2).all())
        assert bool((count < len(present)).any())


def test_records_say_what_views_hold() -> None:
    model = fitted("frozen", table(30))
    given = {"note": "word1 word3", "about": ["a", None], "ehr": [[1.5, 0, "hr"], [None, 2, "drug"]]}
    import base64

    text = "data:image/png;base64," + base64.b64encode(png((1, 2, 3))).decode()
    data = Table.of_records([given, {"scan": text, "labs": [1, None, 2]}], model.facts)
    assert list(data.views) == ["labs", "note", "about", "scan", "ehr"]
    vectors = model.embed(data)
    assert bool(vectors.norm(dim=1).allclose(torch.ones(2)))
    same = Table.of({"note": ["word1 word3"]}, kind={"note": "text"})
    torch.testing.assert_close(
        model.embed_views(same, ["note"]).vectors["note"][0], model.embed_views(data, ["note"]).vectors["note"][0]
    )


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"note": 3}, 'record 1, view "note": must be a text, not int'),
        ({"about": ["a"]}, 'view "about": 1 levels, where there are 2 columns'),
        ({"about": [["a"], "f"]}, "a level is text or a number, not list"),
        ({"scan": "in/a.png"}, "must be a picture as"),
        ({"scan": "data:image/png;base64,#"}, "is not base64"),
        ({"scan": "data:image/png;base64,AAAA"}, "does not open (not a picture)"),
        ({"ehr": [1, 2, 3]}, "event 1 is not [value, time, type]"),
        ({"ehr": [[1, "x", "hr"]]}, "value and time are numbers"),
        ({"ehr": [[1, 1e300, "hr"]]}, "infinite or too large"),
        ({"ehr": "x"}, "must be a list of [value, time, type]"),
        (
            "x",
            "record 1 is text, not an object of views: {view: value}; views: labs (a list of numbers), note (a text)",
        ),
    ],
)
def test_wrong_records_are_named(record: Any, line: str) -> None:
    facts = {"views": measure_views(table(30), HOW)}
    with pytest.raises(UserError) as said:
        Table.of_records([record], facts)
    assert line in str(said.value)


def test_a_view_of_another_kind_is_refused() -> None:
    model = fitted("frozen", table(30))
    numbers = Table.of({"note": np.ones((3, 8)), "labs": np.ones((3, 3))})
    with pytest.raises(UserError, match=r'view "note" is vector, the run was fitted on text; use kind\.note'):
        model.embed_views(numbers, ["note"])
    short = Table.of({"about": [["a"]] * 3}, kind={"about": "categories"})
    with pytest.raises(UserError, match=r'view "about" has 1 columns, the run was fitted on 2'):
        model.embed_views(short, ["about"])
    with pytest.raises(UserError, match=r'encoder\.labs: view "labs" is vector, which no pretrained encoder reads'):
        fitted("frozen", table(30), encoder={"labs": "static"})
    with pytest.raises(UserError, match=r'encoder\.nota: there is no view "nota"'):
        fitted("frozen", table(30), encoder={"nota": "static"})


def test_a_saved_run_answers_as_before(tmp_path: Path) -> None:
    data = table()
    for mode in ("frozen", "lora", "full"):
        model = fitted(mode, data, epochs=1)
        loaded: Any = load(model.save(tmp_path / mode))
        assert torch.equal(loaded.embed(data), model.embed(data)), mode
        kept = (tmp_path / mode / "model.safetensors").stat().st_size
        assert (tmp_path / mode / "tables").exists() == (mode == "full")
        assert kept > 0
