"""How the wing's claims are run."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from agents.scripted import careless
from counterpoint.agents.claims import TF_TTCL, streams
from counterpoint.claims.units import Store, Unit, run
from counterpoint.language import register
from text import tiny


def test_arms_and_orders_of_a_claim_ask_a_model_once(tmp_path: Path) -> None:
    model = careless("counted")
    register("counted", lambda: model)
    store = Store(replace(TF_TTCL, data=partial(streams, questions=4)), tmp_path / "arms")
    options = {"model": "counted", "embedder": tiny.tiny(), "reflect": "none"}
    for seed in (0, 1):
        unit = Unit("no rules", seed, (("task", "larger"),), options, {})
        run(store, unit)
        assert len(model.asked) == 4 * 6
        assert store.outcome(unit).value("calls") == 6
    assert (tmp_path / "calls.sqlite").is_file()
