"""Our objectives beside the libraries that have them too: equal where both mean the same, as documented where not."""

import doctest
import json
from pathlib import Path

import adapters
import pytest
import torch
from adapters import case as case_module
from adapters.case import Case, Difference

RESULTS = Path(__file__).resolve().parent.parent.parent / "conformance" / "results.json"
SLOW = ("sentence-transformers",)
"""Peers whose import alone takes many seconds."""


def marked(found: Case | Difference) -> object:
    return pytest.param(found, id=str(found), marks=[pytest.mark.slow] if found.peer in SLOW else [])


@pytest.mark.parametrize("case", [marked(case) for case in adapters.cases()])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_gradient_are_the_peers(case: Case, dtype: torch.dtype, most: float) -> None:
    try:
        errors = case.errors(dtype)
    except ImportError as absent:
        pytest.skip(f"{case.peer}: {absent}")
    assert max(errors) < most


@pytest.mark.parametrize("difference", [marked(found) for found in adapters.differences()])
def test_a_difference_is_there_and_is_the_one_in_the_documentation(difference: Difference) -> None:
    try:
        ours, theirs = difference.values()
    except ImportError as absent:
        pytest.skip(f"{difference.peer}: {absent}")
    assert ours != theirs
    rows = {(row["peer"], row["what"]): row for row in json.loads(RESULTS.read_text())["differs"]}
    row = rows[difference.peer, difference.what]
    assert (row["ours"], row["theirs"], row["why"]) == (ours, theirs, difference.why)


def test_the_documentation_holds_every_comparison() -> None:
    record = json.loads(RESULTS.read_text())
    for kind, known in (("same", adapters.cases()), ("differs", adapters.differences())):
        assert [(row["peer"], row["what"]) for row in record[kind]] == [(one.peer, one.what) for one in known]


def test_a_wrong_loss_is_noticed() -> None:
    inexact = Case("ours", "twice", lambda a, b: (a * b).sum(), lambda a, b: (a * b).sum() + 1e-6 * a.sum() * b.sum())
    assert min(inexact.errors()) > 1e-9


def test_the_examples_of_the_adapters() -> None:
    assert doctest.testmod(case_module).failed == 0
