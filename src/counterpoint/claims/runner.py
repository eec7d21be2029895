"""Verify a claim: search the knobs, fit every arm with every seed in every setting, decide, write the result."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoint.claims.board import result_path
from counterpoint.claims.result import Trial, describe
from counterpoint.claims.units import Store, Unit, load_claim
from counterpoint.claims.workers import Crew
from counterpoint.errors import UserError
from counterpoint.evaluation.claim import Arm, Claim, Options, Search
from counterpoint.evaluation.outcome import Key, setting_of
from counterpoint.evaluation.significance import DRAWS, Verdict, decide, table
from counterpoint.files import write_json


def verify(
    claim: str,
    *,
    folder: str | os.PathLike[str],
    quick: bool = False,
    workers: int = 2,
    progress: bool = True,
    trainer_options: Options | None = None,
    draws: int = DRAWS,
) -> Verdict:
    """Run the claim of a method of the catalog (or "module:NAME") and write `<name>.json` to `folder`.

    Every fit is kept under `<folder>/<name>/arms` and used again while nothing it depends on changes, so a
    claim stopped half-way continues. `trainer_options` go to every `Trainer` (device, precision);
    `draws` are those of the bootstrap. Raises
    `UserError` when there is no such claim or an arm cannot be fitted, KeyboardInterrupt when stopped.
    """
    if workers < 1:
        raise UserError(f"workers={workers}: at least one is needed")
    text = load_claim(claim).at(quick)
    path = result_path(folder, text.name, quick)
    store = Store(text, Path(folder) / path.stem / "arms")
    crew = Crew(claim, quick, store, workers, progress)
    trials = _search(text, crew, trainer_options or {})
    units = list(_units(text, _choices(trials), trainer_options or {}))
    crew.finish(units)
    outcomes = {Key(unit.arm, unit.seed, unit.setting): store.outcome(unit) for unit in units}
    verdict = decide(text.predictions, outcomes, draws)
    records = [store.record(unit) for unit in units]
    write_json(path, describe(text, quick, verdict, table(outcomes, draws), records, trials, draws))
    return verdict


def _search(claim: Claim, crew: Crew, trainer: Options) -> list[Trial]:
    """Score every trial of every searched arm on validation rows."""
    search = claim.search
    if search is None:
        return []
    units = {
        (name, number): [_trial_unit(claim, search, claim.arm(name), options, seed, trainer) for seed in search.seeds]
        for name, trials in search.trials.items()
        for number, options in enumerate(trials)
    }
    crew.finish([unit for each in units.values() for unit in each])
    return [
        Trial(name, search.trials[name][number], _score(crew.store, each, search.measure))
        for (name, number), each in units.items()
    ]


def _trial_unit(claim: Claim, search: Search, arm: Arm, options: Options, seed: int, trainer: Options) -> Unit:
    budget = claim.budget_of(arm) if search.budget is None else search.budget
    merged = _merged(_merged(budget, arm.options), options)
    return Unit(arm.name, seed, setting_of(search.setting), merged, trainer, part="validation")


def _score(store: Store, units: Sequence[Unit], measure: str) -> float:
    values = [store.outcome(unit).value(measure) for unit in units]
    return sum(values) / len(values)


def _choices(trials: Sequence[Trial]) -> dict[str, Options]:
    """The best trial of each arm, the first of equals; a score that is not a number never wins."""
    best: dict[str, Trial] = {}
    for trial in trials:
        if trial.arm not in best or _rated(trial) > _rated(best[trial.arm]):
            best[trial.arm] = trial
    return {arm: trial.options for arm, trial in best.items()}


def _rated(trial: Trial) -> float:
    return -math.inf if math.isnan(trial.score) else trial.score


def _units(claim: Claim, choices: Mapping[str, Options], trainer: Options) -> Iterator[Unit]:
    """Every fit of the claim, seed by seed, so that what is finished early can be compared."""
    for seed in claim.seeds:
        for setting in claim.settings:
            for arm in claim.arms:
                if arm.runs_in(setting):
                    yield Unit(arm.name, seed, setting_of(setting), _options(claim, arm, choices), trainer)


def _options(claim: Claim, arm: Arm, choices: Mapping[str, Options]) -> dict[str, Any]:
    """Budget, own options and searched ones; what an arm is prevails over what it takes from the one it follows."""
    source = claim.search.source(arm.name) if claim.search else None
    chosen = {} if source is None else choices[source]
    own = _merged(arm.options, chosen) if source == arm.name else _merged(chosen, arm.options)
    return _merged(claim.budget_of(arm), own)


def _merged(first: Options, second: Options) -> dict[str, Any]:
    """Both, the second prevailing; nested options are merged too."""
    both = dict(first)
    for name, value in second.items():
        old = both.get(name)
        both[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
