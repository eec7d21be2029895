"""Every row of the engine's benchmark can be measured, and says the same losses are compared; at tiny sizes."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def engine() -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("engine")
    finally:
        sys.path.remove(str(FOLDER))


def rows(name: str) -> list[Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        return list(getattr(importlib.import_module("engine"), name))
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("measure", rows("ROWS"), ids=lambda measure: f"{measure.func.__name__} {measure.args[:1]}")
def test_a_row_is_measured(engine: Any, measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(name: str, n: int, dim: int, views: int = 2) -> float:
        return engine.stepped(name, engine.vectors(n, dim, views))() or 1.0

    monkeypatch.setattr(engine, "interleave", lambda runs, repeats: {name: run() or 1.0 for name, run in runs.items()})
    monkeypatch.setattr(engine, "peak", peak)
    if "sentence_transformers" in str(measure):
        pytest.skip("its import takes longer than the whole file")
    try:
        found = measure(n=16, dim=4)
    except ImportError as absent:
        pytest.skip(str(absent))
    assert found["what"].endswith("d=4")
    assert isinstance(found["met"], bool)
    number = next(value for value in found.values() if isinstance(value, float))
    assert number == 1.0 or found["relative"] < 1e-6


def test_compared_losses_are_one_loss(engine: Any) -> None:
    peers = engine.peers
    views = [view.double().detach() for view in engine.vectors(16, 4, 3)]
    same = {
        "ours": ["dense_symmetric", "of_open_clip"],
        "ours_one_way": ["of_info_nce"],
        "ours_nt_xent": ["of_lightly", "of_metric_learning_nt_xent"],
        "ours_sup_con": ["of_metric_learning_sup_con"],
    }
    for own, others in same.items():
        for other in others:
            try:
                torch.testing.assert_close(getattr(peers, own)(*views[:2]), getattr(peers, other)(*views[:2]))
            except ImportError as absent:
                print(f"skipped: {other}: {absent}")


def test_the_peak_of_a_process_is_measured(engine: Any) -> None:
    assert 0 < engine.peak("dense_symmetric", 1024, 8) < 200
