"""Views that give away the id of the row or a label are warned of; ordinary ones are not."""

import numpy as np
import pytest

from counterpoint.multimodal import leaks as module
from counterpoint.multimodal.leaks import leaks
from counterpoint.multimodal.simulate import xnor
from counterpoint.multimodal.table import Table

ROWS = 120


def said(ids: object = None, kind: object = "vector", **views: object) -> list[str]:
    random = np.random.default_rng(0)
    sick = random.random(ROWS) < 0.4
    table = Table.of({"good": random.normal(size=(ROWS, 3)), **views}, {"sick": sick}, kind=kind)  # type: ignore[arg-type]
    table = table if ids is None else Table(table.views, table.columns, np.asarray(ids), "t")
    return leaks(table)


def sick() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.random(ROWS) < 0.4


def test_ordinary_views_are_passed_over() -> None:
    assert said() == []
    assert leaks(xnor(200, p=0.0, seed=0)) == []


@pytest.mark.parametrize("prefix", ["", "p", "row-"])
def test_the_id_in_any_order_is_found(prefix: str) -> None:
    numbers = np.random.default_rng(1).permutation(ROWS)
    ids = numbers if not prefix else np.array([f"{prefix}{number:04}" for number in numbers], dtype=object)
    (text,) = said(ids, bad=np.stack([np.random.default_rng(2).normal(size=ROWS), numbers], axis=1))
    assert text.startswith('view "bad": "bad[1]" is the id of the row')


def test_a_label_among_the_numbers_is_found() -> None:
    random = np.random.default_rng(3)
    for leaking in (sick() * 2.0, np.where(sick(), 1, -1) * (0.1 + random.random(ROWS))):
        gaps = np.where(random.random(ROWS) < 0.1, np.nan, leaking)
        (text,) = said(bad=gaps[:, None])
        assert text.startswith('view "bad": "bad" alone tells "sick" without error; if "sick" is to be predicted')
    assert said(fair=(sick() + random.normal(0, 0.5, ROWS))[:, None]) == []


def test_a_label_among_the_levels_is_found() -> None:
    random = np.random.default_rng(4)
    levels = [[["ward 1", "ward 2"][int(s)] + ("a" if random.random() < 0.5 else "b"), "x"] for s in sick()]
    (text,) = said(bad=levels, kind={"bad": "categories"})
    assert '"bad_0" alone tells "sick"' in text
    names = [[f"person {row}"] for row in range(ROWS)]
    assert said(names=names, kind={"names": "categories"}) == []


def test_too_few_rows_prove_nothing() -> None:
    table = Table.of({"a": [[1.0], [0.0]] * 6, "b": [[2.0]] * 12}, {"sick": [1, 0] * 6})
    assert leaks(table) == []


def test_large_tables_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 60)
    assert len(said(bad=sick()[:, None] * 1.0)) == 1
