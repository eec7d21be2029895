"""The text world: guidance is what moves the executor, right and wrong."""

import numpy as np
import pytest

from counterpoint.agents import environment as world
from counterpoint.errors import UserError


def told(app: str, operation: str) -> str:
    """Everything that is true of a template, in words."""
    wants = world.APPS[app] | world.OPERATIONS[operation]
    parts = {"login": "login", "page": "next page", "id": "use the id", "confirm": "confirm", "cents": "pay in cents"}
    sides = {fact in wants: [] for fact in world.FACTS} | {True: [], False: []}
    for fact, text in parts.items():
        sides[fact in wants].append(text)
    return f"Do: {'; '.join(sides[True])}. Avoid: {'; '.join(sides[False])}."


def mean(guidance: dict[tuple[str, str], str] | None = None, repeats: int = 30) -> dict[tuple[str, str], float]:
    found = {}
    for app, operation in world.templates():
        task = world.task_text(app, operation, "Rent", 12)
        text = (guidance or {}).get((app, operation), "")
        found[app, operation] = float(np.mean([world.execute(task, text, seed)[1] > 0 for seed in range(repeats)]))
    return found


def test_a_naive_executor_fails_a_third_to_two_thirds_of_the_time() -> None:
    found = list(mean().values())
    assert len(found) == 40
    assert 0.3 < 1 - np.mean(found) < 0.7
    assert np.std(found) > 0.1


def test_true_guidance_always_succeeds_and_false_guidance_harms() -> None:
    right = {one: told(*one) for one in world.templates()}
    swapped = str.maketrans({})
    wrong = {
        one: text.replace("Do:", "X").replace("Avoid:", "Do:").replace("X", "Avoid:").translate(swapped)
        for one, text in right.items()
    }
    assert set(mean(right).values()) == {1.0}
    assert np.mean(list(mean(wrong).values())) < np.mean(list(mean().values())) / 2
    rewards = [world.reward(world.task_text(*one, "Rent", 3), right[one], 5, 0) for one in right]
    assert set(rewards) == {1.0}


def test_the_same_seed_runs_the_same_and_another_differs() -> None:
    task = world.task_text("shop", "delete", "Rent", 0)
    assert world.execute(task, "", 3) == world.execute(task, "", 3)
    assert len({str(world.execute(task, "", seed)) for seed in range(20)}) > 3


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", {}),
        ("Never log in. Then confirm!", {"login": False, "confirm": True}),
        ("Avoid: delete name=…; login", {"id": True, "login": False}),
        ("do not confirm\nuse cents", {"confirm": False, "cents": True}),
        ("Do: login. Avoid: login.", {"login": True}),
        ("The valid idea of confirmation", {"confirm": True}),
    ],
)
def test_what_guidance_says(text: str, facts: dict[str, bool]) -> None:
    assert world.said(text) == facts


def test_other_tasks_are_refused() -> None:
    with pytest.raises(UserError, match="not a task of these apps"):
        world.execute("Buy milk")
