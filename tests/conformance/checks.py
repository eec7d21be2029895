"""What every method of the catalog is held to; there is no way out.

A method enters by its row in the catalog alone; a new kind of data needs a sample in samples.py. Each wing's
methods are checked in a file of their own, `test_<wing>.py`, so that wings are checked side by side.
"""

import ast
import doctest
import inspect
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformance import fits
from conformance.fits import ROWS, class_of, fit, outputs, small, state
from conformance.options_of import NEEDS, allowed, literals, merged, nested, others, paths, texts
from conformance.samples import sample_of
from counterpoint import catalog, load, options
from counterpoint.training import Method, Run, rng
from training.ranks import pair
from training.toys import CutRun, Interrupted, events

METHODS = sorted(catalog.rows())


def of_wing(wing: str) -> pytest.MarkDecorator:
    """The checks of the methods of one wing."""
    return pytest.mark.parametrize("name", [name for name in METHODS if catalog.row(name).wing == wing])


@cache
def default_fit(name: str, *needed: str, option: str = "") -> Any:
    """The small fit that others are compared with, judged, with what an option needs beside it."""
    return fit(name, *map(json.loads, needed), judged=True, option=option)


@cache
def default_outputs(name: str, *needed: str, option: str = "") -> dict[str, Any]:
    """What that fit answers."""
    return outputs(default_fit(name, *needed, option=option), sample_of(class_of(name)), option)


def steps_of_phases(stood: list[dict[str, Any]]) -> list[int]:
    """The numbers of the checkpoints after the first, the middle and the last step of each phase."""
    cuts = []
    for phase in range(stood[-1]["phase"]):
        within = [n for n, at in enumerate(stood, start=1) if at["phase"] == phase and at["step"]]
        cuts += [within[0], within[len(within) // 2], within[-1]]
    return sorted({*cuts, len(stood)})


def test_a_fit_that_is_cut_goes_on_to_the_same_end(name: str, tmp_path: Path) -> None:
    method = class_of(name)
    random = allowed(method.Config, sample_of(method).random)
    whole = CutRun(tmp_path / "whole")
    expected = state(fit(name, random, run=whole, save_every=1))
    for cut in steps_of_phases(whole.stood):
        folder = tmp_path / str(cut)
        with pytest.raises(Interrupted):
            fit(name, random, run=CutRun(folder, cut), save_every=1)
        assert state(fit(name, random, run=Run(folder, resume=True), save_every=1)) == expected, whole.stood[cut - 1]
        assert events(folder) == events(whole.folder), whole.stood[cut - 1]


def test_two_ranks_are_one(name: str) -> None:
    """After one step of plain descent in float64 (so all gradients), and after every closed-form solution.

    Shards are equal (32 rows) and unequal (31), the data whole and with gaps; every Literal's values take part.
    """
    variants: list[tuple[dict[str, Any], int, bool]] = [({}, 32, True), ({}, 31, True), ({}, 32, False)]
    variants += [(options, 31, False) for options in literals(class_of(name).Config) or [{}]]
    alone = fits.two_rank_fits(name, variants)
    for rank, together in enumerate(pair().ask(fits.two_rank_fits, name, variants)):
        for variant, (expected, loss), (found, their_loss) in zip(variants, alone, together, strict=True):
            if rank == 0 and loss is not None:
                assert their_loss == pytest.approx(loss, rel=1e-9), variant
            for key, value in expected.items():
                np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-11, err_msg=f"{variant} {key}")


def test_a_saved_method_answers_as_before(name: str, tmp_path: Path) -> None:
    method, sample = default_fit(name), sample_of(class_of(name))
    loaded = load(method.save(tmp_path / "run"))
    assert type(loaded) is type(method)
    assert not loaded.training
    assert outputs(loaded, sample) == outputs(method, sample)
    assert type(method).judge(loaded, sample.made(ROWS, 3)).summary()[sample.metric] is not None


def test_every_capability_is_asked(name: str) -> None:
    """A public function of a fitted method that no sample calls would go unchecked."""
    method = class_of(name)
    contract = {attribute for base in Method.__mro__ for attribute in vars(base)}
    public = {
        attribute
        for attribute, value in inspect.getmembers(method, inspect.isfunction)
        if not attribute.startswith("_") and attribute not in contract
    }
    missing = public - set(sample_of(method).calls) - {"forward", "judge"}
    assert not missing, f"say in tests/conformance/samples.py how to call {', '.join(sorted(missing))}"
    assert public, "a method has to be of use"


def test_its_data_can_be_read(name: str) -> None:
    reader = catalog.row(name).reader()
    assert reader is class_of(name).Data
    assert callable(reader.read)
    assert options.divide([], reader, class_of(name).Config) == ({}, {})


@pytest.mark.slow  # a quarter of the time of all tests; CI runs it beside the default ones
def test_every_option_changes_something(name: str) -> None:
    """A fit under another value differs, in its state or in its answers; every value of a Literal runs."""
    method, sample = class_of(name), sample_of(class_of(name))
    part = next((child for child, module in default_fit(name).named_children() if list(module.parameters())), "")
    dead = []
    for path, field, value in paths(method(**small(name)).options):
        about = path if path in sample.about else ""
        need = sample.about[path].needs if about else NEEDS.get(path, {})
        beside = [json.dumps(need)] if need else []
        base = state(default_fit(name, *beside, option=about))
        differs = []
        for other in sample.choices.get(path) or others(path, field, value, part, sample.metric):
            changed = nested(path, other)
            made = method(**small(name, need, changed))
            reader = catalog.row(name).reader()
            _, typed = options.divide(texts(merged(need, changed)), reader, method.Config)
            assert method(**small(name, typed)).options == made.options, f"{path}={other} reads differently as text"
            found = fit(name, need, changed, judged=True, option=about)
            differs.append(
                state(found) != base or outputs(found, sample, about) != default_outputs(name, *beside, option=about)
            )
            if differs[-1] and not literal(field):
                break
        if not (all(differs) if literal(field) else any(differs)):
            dead.append(path)
    assert not dead, f"options that change nothing: {', '.join(dead)}"


def literal(field: Any) -> bool:
    return str(field.annotation).startswith("typing.Literal")


def test_arms_with_one_seed_start_equal_in_what_they_share(name: str) -> None:
    """Random parts of the same name and shape, in methods of the same data and under the method's own switches."""
    method = class_of(name)

    def start(other: str, seed: int, *more: dict[str, Any]) -> dict[str, torch.Tensor]:
        made = class_of(other)(**small(other, *more))
        made.prepare(default_fit(other).facts, seed)
        return made.state_dict()

    mine, reseeded = start(name, 0), start(name, 1)
    random = {key for key, value in mine.items() if not torch.equal(value.nan_to_num(), reseeded[key].nan_to_num())}
    arms = [(name, choice) for choice in (*literals(method.Config), *switches(method.Config))]
    arms += [(other, {}) for other in METHODS if class_of(other).Data is method.Data]
    for other, choice in arms:
        theirs, again = start(other, 0, choice), start(other, 1, choice)
        for key in random & theirs.keys():
            if theirs[key].shape == mine[key].shape and not torch.equal(theirs[key], again[key]):
                assert torch.equal(theirs[key], mine[key]), f"{key} of {other} {choice}"


def switches(config: Any) -> list[dict[str, Any]]:
    """Every true-or-false option, turned."""
    return [{n: not field.default} for n, field in config.model_fields.items() if field.annotation is bool]


def test_arms_with_one_seed_see_equal_plans(name: str) -> None:
    data = sample_of(class_of(name)).made(ROWS, 0)

    def plans(other: str) -> dict[str, list[list[int]]]:
        made = class_of(other)(**small(other, allowed(class_of(other).Config, {"batch_size": 12})))
        made.prepare(made.measure(data))
        return {p.name: [rows.tolist() for rows in p.plan(rng(0, p.name, 0, "plan"))] for p in made.phases(data)}

    mine = plans(name)
    for other in METHODS:
        if class_of(other).Data is class_of(name).Data:
            theirs = plans(other)
            assert all(theirs[phase] == mine[phase] for phase in mine.keys() & theirs.keys()), other


def test_a_row_that_occurs_twice_is_not_its_own_negative(name: str) -> None:
    """With no other row there is nothing to repel; with others a copy weighs as one more positive would."""
    method = class_of(name)
    sample = sample_of(method)
    made = method(**small(name, allowed(method.Config, sample.alone)))
    data = sample.complete(ROWS, 0)
    made.prepare(made.measure(data))
    if (alone := fits.loss_on_rows(made, data, [5, 5, 5])) is None:
        return
    if not sample.repel:
        once = fits.loss_on_rows(made, data, [5])
        assert once is not None
        assert float(alone.detach()) == pytest.approx(float(once.detach()), rel=1e-5)
        return
    alone.backward()
    assert float(alone.detach()) == 0
    assert all(p.grad is None or not p.grad.any() for p in made.parameters())
    others = fits.loss_on_rows(made, data, [5, 6, 7])
    assert others is not None
    assert float(others.detach()) != 0  # a loss without a softmax may be negative


def test_the_users_random_state_is_untouched(name: str) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    again = fit(name, judged=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert state(again) == state(default_fit(name))


def test_it_is_documented(name: str) -> None:
    """Every public class and function of the method's module says what it is; the method shows an example."""
    method = class_of(name)
    tree = ast.parse(Path(inspect.getfile(method)).read_text())
    silent = [where for where, node in public_definitions(tree) if ast.get_docstring(node) is None]
    assert not silent, f"no docstring: {', '.join(silent)}"
    assert ast.get_docstring(tree)
    examples = doctest.DocTestFinder(recurse=False).find(method, module=sys.modules[method.__module__])
    assert sum(len(found.examples) for found in examples) > 0, "the method's docstring has no example"


def public_definitions(node: ast.AST, inside: str = "") -> list[tuple[str, Any]]:
    """Classes and functions whose names, and whose owners' names, do not begin with an underscore."""
    found: list[tuple[str, Any]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            found.append((inside + child.name, child))
            if isinstance(child, ast.ClassDef):
                found += public_definitions(child, f"{inside}{child.name}.")
    return found
