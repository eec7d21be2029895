"""Best, worst and prediction, case by case, and against the sets that the paper writes down."""

import math

from hypothesis import given
from hypothesis import strategies as st

from counterpoint.agents.answers import canonical
from counterpoint.agents.choose import Candidate, Choice, closed, open_ended


def said(*answers: tuple[str | None, float]) -> list[Candidate]:
    return [Candidate("student" if n else "teacher", str(a), a, p) for n, (a, p) in enumerate(answers)]


def test_all_equal_gives_a_best_and_no_worst() -> None:
    assert closed(said(("7", 3.0), ("7.0", 1.5), ("7", 2.0))) == Choice("equal", 1, 1)


def test_all_different_gives_the_teacher_and_nothing_to_learn() -> None:
    assert closed(said(("7", 9.0), ("8", 1.0), ("9", 2.0))) == Choice("different", 0, agreement=1 / 3)
    assert closed(said((None, 9.0), (None, 1.0))).case == "different"
    assert closed(said(("7", 1.0))).best is None


def test_the_worst_is_the_surest_outside_the_consensus_or_the_least_sure() -> None:
    candidates = said(("7", 3.0), ("7", 2.0), ("8", 1.1), ("9", 5.0), (None, 4.0))
    assert closed(candidates) == Choice("mixed", 1, 1, 2, 0.4)
    assert closed(candidates, unsure=True) == Choice("mixed", 1, 1, 3, 0.4)


def test_of_equal_groups_that_with_the_least_perplexity_wins() -> None:
    assert closed(said(("7", 3.0), ("7", 2.0), ("8", 1.9), ("8", 9.0), ("9", 1.0))).prediction == 2


def test_answers_that_cannot_be_read_never_form_a_consensus() -> None:
    assert closed(said((None, 1.0), (None, 1.1), (None, 1.2), ("8", 5.0), ("8", 6.0))).prediction == 3


def test_an_answer_without_log_probabilities_is_never_the_best_of_its_group() -> None:
    assert closed(said(("7", math.inf), ("7", 2.0), ("8", 3.0))).best == 1


LISTS = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", None]), st.floats(1, 50, allow_nan=False)), min_size=2, max_size=6
)


@given(LISTS)
def test_closed_against_the_sets_of_the_paper(answers: list[tuple[str | None, float]]) -> None:
    candidates = said(*answers)
    found = closed(candidates)
    keys = [f"none {n}" if a is None else canonical(a) for n, (a, _) in enumerate(answers)]
    counts = [keys.count(key) for key in keys]
    if max(counts) == 1:
        assert found == Choice("different", 0, agreement=1 / len(keys))
        return
    consensus = min((n for n in range(len(keys)) if counts[n] == max(counts)), key=lambda n: answers[n][1])
    assert found.prediction == found.best
    assert answers[found.prediction][1] == answers[consensus][1]
    outside = [n for n in range(len(keys)) if keys[n] != keys[found.prediction]]
    assert (found.worst is None) == (not outside)
    if outside:
        assert found.worst in outside
        assert answers[found.worst][1] == min(answers[n][1] for n in outside)


def test_free_texts_by_likeness_to_the_teacher() -> None:
    candidates = said(("t", 2.0), ("a", 1.5), ("b", 1.2), ("c", 1.1), ("d", 3.0))
    found = open_ended(candidates, [1.0, 0.9, 0.2, 0.8, 0.1])
    assert (found.best, found.worst, found.case) == (3, 2, "open")
    assert open_ended(candidates, [1.0, 0.9, 0.2, 0.8, 0.1], unsure=True).worst == 4


def test_free_texts_by_perplexity() -> None:
    found = open_ended(said(("t", 2.0), ("a", 2.2), ("b", 2.21), ("c", 1.5)), None)
    assert (found.best, found.worst) == (3, 2)
    assert open_ended(said(("t", 2.0), ("a", 1.0)), None).worst is None


def test_free_texts_without_the_teacher_teach_nothing() -> None:
    assert open_ended([Candidate("student", "a", "a", 2.0), Candidate("student", "b", "b", 1.0)], None) == Choice(
        "open", 1
    )
