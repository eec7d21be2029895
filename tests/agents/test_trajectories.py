"""Runs from files, their pairs, and guidance without the constants of a task."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from counterpoint.agents import environment as world
from counterpoint.agents.differ import agreement, borrowed, common_actions, differ, guidance, kind, pairs
from counterpoint.agents.trajectories import Step, Trajectories
from counterpoint.errors import UserError

LOG = """-----------------
0
Action: reset
Observation:
Webshop
Instruction:
i want a red cup
[Search]

Action: search[red cup]
Observation:
[Back to Search]

Action: click[Buy Now]
Observation: Your score (min 0.0, max 1.0): 0.75

1 0.75 0.0 0.0
-------------
-----------------
1
Action: reset
Observation:
Webshop
Instruction:
a blue hat
[Search]

Action: search[blue hat]
Observation: nothing

2 0.375 0.0 0.0
-------------
"""


def write(folder: Path, *rows: object) -> Path:
    path = folder / "runs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_json_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"task": "a", "steps": [{"action": "x", "observation": "y"}, "z"], "outcome": True},
        {"task": "a", "task_id": "b", "steps": [["x", "y"]], "outcome": 0.25},
    )
    data = Trajectories.read(path)
    assert data.steps == ((Step("x", "y"), Step("z", "")), (Step("x", "y"),))
    assert data.outcomes.tolist() == [1.0, 0.25]
    assert data.of_tasks() == {"a": [0], "b": [1]}
    assert data.rows(np.array([1])).fingerprint() != data.fingerprint()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"task": "a", "steps": ["x"]}, 'row 2: no "outcome"'),
        ({"task": "a", "steps": ["x"], "outcome": None}, 'no "outcome"'),
        ({"task": "a", "steps": ["x"], "outcome": float("nan")}, 'no "outcome"'),
        ({"task": " ", "steps": ["x"], "outcome": 1}, 'no "task"'),
        ({"task": "a", "steps": [], "outcome": 1}, 'no "steps"'),
        ({"task": "a", "steps": [{"do": "x"}], "outcome": 1}, "a step is"),
    ],
)
def test_a_run_that_lacks_something_is_named(row: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        Trajectories.read(write(tmp_path, {"task": "a", "steps": ["x"], "outcome": 1}, row))


def test_the_log_of_webshop(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(LOG)
    data = Trajectories.read(path)
    assert data.tasks.tolist() == ["i want a red cup", "a blue hat"]
    assert data.outcomes.tolist() == [0.75, 0.0]
    assert [step.action for step in data.steps[0]] == ["search[red cup]", "click[Buy Now]"]
    assert "1 of 2 episodes bought nothing" in data.warnings()[0]
    path.write_text("no such thing")
    with pytest.raises(UserError, match="no episode"):
        Trajectories.read(path)


def test_the_real_log_has_500_episodes_and_its_own_mean() -> None:
    folder = os.environ.get("COUNTERPOINT_DATA")
    path = Path(folder or "") / "trajectories" / "ysymyth__ReAct" / "webshop_react_trajectories.txt"
    if not folder or not path.is_file():
        pytest.skip("COUNTERPOINT_DATA does not hold trajectories/ysymyth__ReAct")
    data = Trajectories.read(path)
    assert len(data) == 500
    assert data.outcomes.mean() == pytest.approx(0.6379833, abs=1e-6)
    assert (data.outcomes == 1).mean() == 0.358


def test_tasks_and_templates_stay_whole() -> None:
    data = world.runs(world.templates()[:10], 2, 3, 0)
    parts = data.split({"train": 0.6, "test": 0.4})
    assert not set(parts["train"].columns["template"]) & set(parts["test"].columns["template"])
    plain = Trajectories.of(data.tasks.tolist(), data.steps, data.outcomes.tolist()).split({"train": 0.5, "test": 0.5})
    assert not set(plain["train"].tasks) & set(plain["test"].tasks)


def test_best_against_worst() -> None:
    runs = [[("a", "")], [("a", ""), ("b", "")], [("a", "")], [("c", "")]]
    data = Trajectories.of(["t"] * 4, runs, [0.5, 1.0, 1.0, 0.0])
    found = pairs(data, range(4), 3)
    assert [(one.good, one.bad) for one in found] == [(2, 3), (1, 0)]
    assert differ(data, found[1], set()) == "Do: a; b."
    assert differ(data, found[1], set(), bare=True) == "Do: b."
    assert differ(data, found[0], set()) == "Do: a. Avoid: c."
    assert [(one.good, one.bad) for one in pairs(data, range(4), 9, contrast=False)] == [
        (2, None),
        (1, None),
        (0, None),
    ]
    assert pairs(data, [1, 2], 3) == []


def test_a_task_with_only_successes_is_counted_and_may_borrow() -> None:
    data = Trajectories.of(["t", "t", "u", "u"], [[("a", "")]] * 3 + [[("b", "")]], [1.0, 1.0, 0.0, 0.5])
    assert data.warnings() == ["1 of 2 tasks have runs of one outcome alone, so they hold no contrast"]
    found = borrowed(data, [0, 1], [2, 3], 2)
    assert [(one.task, one.good, one.bad) for one in found] == [("t", 0, 2), ("t", 0, 3)]


def test_constants_of_a_task_never_reach_guidance() -> None:
    data = world.runs(world.templates(), 3, 6, 0)
    common = common_actions(data)
    for rows in data.of_tasks().values():
        for pair in pairs(data, rows, 3):
            text = differ(data, pair, common)
            assert not any(letter.isdigit() for letter in text), text
            assert not any(thing.casefold() in text for thing in world.THINGS), text
    assert kind("open room 12b", set()) == "open room …"
    assert kind("call(x=1)", set()) == "call(…)"


def test_agreement_reads_what_guidance_writes() -> None:
    text = guidance(["login", "delete id=…"], ["delete name=…"])
    assert agreement(text, [Step("login", ""), Step("delete id=7", "")], set()) == 1
    assert agreement(text, [Step("delete name=a", "")], set()) == -1
    assert agreement("", [Step("a", "")], set()) == 0
