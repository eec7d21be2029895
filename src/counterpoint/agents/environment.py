"""A small text world of apps with hidden quirks, and an executor that acts on what guidance says.

Every app keeps named things on pages; every operation changes one of them. What an app or an operation wants is not
written anywhere: whether one must log in first, whether the thing is on the second page, whether it is named by name or
by id, whether the change must be confirmed, whether amounts are in euros or in cents. Quirks of apps and operations
combine, so a task of an unseen template can be solved by what other templates taught.
Source: the design is ours; the card of arXiv 2604.07487 asks for hidden quirks in at least 20 templates.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from counterpoint.agents.trajectories import Step, Trajectories
from counterpoint.errors import UserError

Fact = Literal["login", "page", "id", "confirm", "cents"]
FACTS: tuple[Fact, ...] = ("login", "page", "id", "confirm", "cents")
APPS: dict[str, frozenset[Fact]] = {
    "music": frozenset({"login"}),
    "mail": frozenset({"page"}),
    "shop": frozenset({"login", "page"}),
    "bank": frozenset({"login"}),
    "notes": frozenset(),
    "calendar": frozenset({"page"}),
    "files": frozenset(),
    "photos": frozenset({"login", "page"}),
}
OPERATIONS: dict[str, frozenset[Fact]] = {
    "delete": frozenset({"id", "confirm"}),
    "share": frozenset({"confirm"}),
    "copy": frozenset({"id"}),
    "rename": frozenset(),
    "limit": frozenset({"cents"}),
}
THINGS = ("Road Trip", "Blue Folder", "Rent", "Holiday", "Team Lunch", "Old Draft", "Garden", "Winter Coat")
FLIPS, RECOVERS = 0.2, 0.6
"""How often the executor departs from its habit where guidance says nothing, and how often it mends an error."""
WASTE = 0.1
"""What each error costs of a success."""
TASK = re.compile(r"In the (\w+) app, (\w+) the entry '([^']+)'(?: to (\d+) euros)?\.")
SIDES: tuple[tuple[Fact, str, str], ...] = (
    ("login", r"log ?in", r"(?!)"),
    ("page", r"next page", r"(?!)"),
    ("id", r"\bid\b", r"\bname\b"),
    ("confirm", r"confirm", r"(?!)"),
    ("cents", r"\bcents?\b", r"\beuros?\b"),
)
"""How guidance speaks for a fact, and for its opposite."""
_POLARITY = re.compile(r"\b(avoid|do not|don't|never)\b|\bdo:|[.!\n]", re.IGNORECASE)


@dataclass(frozen=True)
class World:
    """What one task is about, and what is true of it.

    >>> sorted(World.of("In the music app, delete the entry 'Rent'.").wants)
    ['confirm', 'id', 'login']
    """

    app: str
    operation: str
    thing: str
    amount: int
    wants: frozenset[Fact]

    @classmethod
    def of(cls, task: str) -> "World":
        """The world of a task; raises `UserError` for a task of another kind."""
        found = TASK.search(task)
        if not found or found[1] not in APPS or found[2] not in OPERATIONS:
            raise UserError(f'"{task}": not a task of these apps, such as: {task_text("music", "delete", "Rent", 0)}')
        app, operation, thing, amount = found.groups()
        return cls(app, operation, thing, int(amount or 0), APPS[app] | OPERATIONS[operation])


def task_text(app: str, operation: str, thing: str, amount: int) -> str:
    """A task in words."""
    to = f" to {amount} euros" if operation == "limit" else ""
    return f"In the {app} app, {operation} the entry '{thing}'{to}."


def said(guidance: str) -> dict[Fact, bool]:
    """What guidance says of the facts, the first word on each; what it does not speak of is left out.

    >>> said("Do: login; delete id=… Avoid: confirm.")
    {'login': True, 'id': True, 'confirm': False}
    """
    marks = [(0, True), *((found.end(), not found[1]) for found in _POLARITY.finditer(guidance))]
    ends = [start for start, _ in marks[1:]] + [len(guidance)]
    facts: dict[Fact, bool] = {}
    for (start, good), end in zip(marks, ends, strict=True):
        part = guidance[start:end]
        for fact, yes, no in SIDES:
            for pattern, value in ((yes, good), (no, not good)):
                if re.search(pattern, part, re.IGNORECASE):
                    facts.setdefault(fact, value)
    return facts


@dataclass
class Run:
    """One run as it goes on."""

    world: World
    random: np.random.Generator
    told: dict[Fact, bool]
    steps: list[Step]
    errors: int = 0
    alive: bool = True

    def believes(self, fact: Fact) -> bool:
        """What the executor assumes: what it was told, or its habit (none of the quirks), now and then the opposite."""
        flips = bool(self.random.random() < FLIPS)
        return self.told.get(fact, flips)

    def act(self, action: str, observation: str) -> None:
        """Do something."""
        self.steps.append(Step(action, observation))

    def fail(self, action: str, observation: str) -> bool:
        """Do something that is refused; whether the executor finds the remedy."""
        self.act(action, f"error: {observation}")
        self.errors += 1
        self.alive = bool(self.random.random() < RECOVERS)
        return self.alive


def execute(task: str, guidance: str = "", seed: int = 0) -> tuple[list[Step], float]:
    """One run of the executor: its steps, and 1 less 0.1 for each error, or 0 when it did not succeed.

    It takes every step that guidance speaks for, none that it speaks against, and follows its habits in the rest. After
    an error it finds the remedy six times in ten and else gives up. An amount in the wrong unit is not noticed.

    >>> good = "Do: login; delete id=…; confirm. Avoid: next page."
    >>> execute("In the music app, delete the entry 'Rent'.", good)[1]
    1.0
    """
    world = World.of(task)
    run = Run(world, np.random.default_rng([seed, *task.encode()]), said(guidance), [])
    beliefs = {fact: run.believes(fact) for fact in FACTS}
    _enter(run, beliefs["login"])
    if run.alive:
        _find(run, beliefs["page"])
    unit = beliefs["cents"] if world.operation == "limit" else False
    if run.alive:
        _change(run, beliefs["id"], unit)
    if run.alive:
        _finish(run, beliefs["confirm"])
    right = run.alive and (world.operation != "limit" or unit == ("cents" in world.wants))
    return run.steps, max(0.0, 1 - WASTE * run.errors) if right else 0.0


def _enter(run: Run, login: bool) -> None:
    if "login" in run.world.wants:
        if login or run.fail("list", "log in first"):
            run.act("login", "ok")
    elif login and not run.fail("login", "this app has no accounts"):
        return
    if run.alive:
        run.act("list", "page 1")


def _find(run: Run, turn: bool) -> None:
    if "page" in run.world.wants:
        if turn or run.fail("look", "not on this page"):
            run.act("next page", "page 2")
    elif turn:
        run.fail("next page", "there is one page")


def _change(run: Run, by_id: bool, cents: bool) -> None:
    world = run.world
    wanted = "id" in world.wants
    if by_id != wanted and not run.fail(_reference(world, by_id), "use the other reference"):
        return
    if world.operation == "limit":
        run.act(_reference(world, wanted), "which amount?")
        run.act(f"amount cents={100 * world.amount}" if cents else f"amount euros={world.amount}", "taken")
    else:
        run.act(_reference(world, wanted), "waits for a confirmation" if "confirm" in world.wants else "done")


def _reference(world: World, by_id: bool) -> str:
    """The operation on a thing, named by its id or its name."""
    number = 10 + sum(world.thing.encode()) % 90
    return f"{world.operation} id={number}" if by_id else f"{world.operation} name={world.thing}"


def _finish(run: Run, confirm: bool) -> None:
    if "confirm" in run.world.wants:
        if confirm or run.fail("finish", "a change waits for a confirmation"):
            run.act("confirm", "done")
    elif confirm and not run.fail("confirm", "nothing to confirm"):
        return
    if run.alive:
        run.act("finish", "ok")


def templates() -> list[tuple[str, str]]:
    """All pairs of app and operation."""
    return [(app, operation) for app in APPS for operation in OPERATIONS]


def runs(chosen: list[tuple[str, str]], tasks: int, repeats: int, seed: int, guidance: str = "") -> Trajectories:
    """So many runs of so many tasks of each template, without guidance unless some is given.

    >>> len(runs(templates()[:2], tasks=3, repeats=6, seed=0))
    36
    """
    random = np.random.default_rng(seed)
    texts, names, steps, outcomes = [], [], [], []
    for app, operation in chosen:
        for thing in random.permutation(len(THINGS))[:tasks]:
            task = task_text(app, operation, THINGS[thing], int(random.integers(2, 60)))
            for repeat in range(repeats):
                found, outcome = execute(task, guidance, seed * 1000 + repeat)
                texts.append(task)
                names.append(f"{app} {operation}")
                steps.append(found)
                outcomes.append(outcome)
    return Trajectories.of(texts, steps, outcomes, columns={"template": names}, source=f"apps, seed {seed}")


def reward(task: str, guidance: str, repeats: int, seed: int) -> float:
    """Mean outcome over some runs."""
    return float(np.mean([execute(task, guidance, seed * 1000 + repeat)[1] for repeat in range(repeats)]))
