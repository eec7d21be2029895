"""The exponential mechanism and what is built on it: bounds, budgets, placeholders, and who is shown what."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from agents.tiny_llama import tiny_llama
from counterpoint.errors import UserError
from counterpoint.language import Ask, Failure, Reply
from counterpoint.text.private.locating import Found
from counterpoint.text.private.privacy import PLACEHOLDER, Budget, Randomness, drawn, exponential, statement
from counterpoint.text.private.rewriting import Proposer, rewritten
from counterpoint.text.private.vocabulary import Asked, Words, metric_private, public_words, read_vocabulary
from counterpoint.text.private.writer import SpanWriter, Written

TEXT = "Ann Lee met Bob"
FOUND = [[Found(0, 7, 0.9, 0.9, "notes"), Found(12, 15, 0.8, 0.8, "notes")]]


@given(st.integers(0, 50), st.floats(0.01, 20), st.integers(2, 12))
def test_no_outcome_tells_two_inputs_apart_by_more_than_the_budget(seed: int, epsilon: float, outcomes: int) -> None:
    random = np.random.default_rng(seed)
    utility = random.normal(scale=3, size=(2, outcomes))
    prior = random.random(outcomes) + 0.01
    chances = exponential(utility, -1.0, 2.0, epsilon, prior)
    assert np.allclose(chances.sum(axis=1), 1)
    assert np.abs(np.log(chances[0] / chances[1])).max() <= epsilon + 1e-9


def test_it_is_sampling_at_the_cards_temperature_from_clipped_logits() -> None:
    logits = torch.tensor([[3.0, 9.0, 25.0]], dtype=torch.float64)
    low, high, epsilon = 7.3307, 22.7108, 50.0
    temperature = 2 * (high - low) / epsilon
    expected = (logits.clamp(low, high) / temperature).softmax(1)
    assert np.allclose(exponential(logits.numpy(), low, high, epsilon), expected.numpy())


def test_frequencies_are_the_chances_and_stay_within_e_to_the_epsilon() -> None:
    """The membership check: 40,000 draws from each of two inputs as far apart as two can be."""
    epsilon, n = 1.0, 40_000
    chances = exponential(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 0.0, 1.0, epsilon)
    counts = [
        np.bincount(drawn(one[None].repeat(n, axis=0), Randomness(seed)), minlength=3)
        for seed, one in enumerate(chances)
    ]
    for one, count in zip(chances, counts, strict=True):
        assert chisquare(count, one * n).pvalue > 1e-4
    error = 4 * math.sqrt(2 / min(min(count) for count in counts))
    assert np.abs(np.log(counts[0] / counts[1])).max() <= epsilon + error
    understated = exponential(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 0.0, 1.0, 4 * epsilon)
    assert np.abs(np.log(understated[0] / understated[1])).max() > epsilon  # the check can fail


def test_secret_numbers_are_uniform_and_never_the_same() -> None:
    one, other = Randomness().uniform(5000), Randomness().uniform(5000)
    assert not np.array_equal(one, other)
    assert (one >= 0).all()
    assert (one < 1).all()
    assert abs(one.mean() - 0.5) < 0.03


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_above_zero(epsilon: float) -> None:
    with pytest.raises(UserError, match="must be a number above 0"):
        rewritten([TEXT], FOUND, Words(("a", "b")), epsilon, {})


class Broken:
    """A proposer that fails in one way or another."""

    name, mechanism, draws, outcomes = "broken", "nothing works", 1, 2

    def __init__(self, said: Any) -> None:
        self.said = said

    def propose(self, spans: Sequence[str], domains: Any, epsilon: float, randomness: Any) -> list[str | None]:
        if isinstance(self.said, Exception):
            raise self.said
        found: list[str | None] = self.said
        return found


@pytest.mark.parametrize("said", [RuntimeError("no"), OSError("no"), [None, ""], [" ", None], [], ["x"]])
def test_what_fails_never_leaves_the_span(said: Any) -> None:
    proposer: Proposer = Broken(said)
    made = rewritten([TEXT], FOUND, proposer, 1.0, {})[0]
    assert made.text == f"{PLACEHOLDER} met {PLACEHOLDER}"
    assert made.budget.placeholders == 2
    assert "Ann" not in str(made.told())


def test_the_budget_is_counted_per_draw_span_and_text() -> None:
    made = rewritten([TEXT, "nothing"], [*FOUND, []], Words(("a", "b", "c"), length=2), 3.0, {}, seed=1)
    assert made[0].budget.told() == {
        "epsilon_per_span": 3.0,
        "draws_per_span": 2,
        "epsilon_per_draw": 1.5,
        "spans": 2,
        "drawn": 2,
        "placeholders": 0,
        "epsilon_total": 6.0,
    }
    assert made[1].budget.total == 0
    assert made[1].text == "nothing"
    assert all(len(one.replacement.split()) == 2 for one in made[0].replacements)


def test_the_statement_says_what_is_not_guaranteed() -> None:
    said = " ".join(statement([Budget(3.0, 2, 2, 0, 1)], "words are drawn", 40, {"notes": 0.75, "cases": None}, True))
    for part in (
        "over 40 fixed outcomes, 3 in all",
        "no replacement is more than e^3 times as likely",
        "the most for one text is epsilon 6",
        "outside the found spans is passed on as it was",
        "were found: notes 75 %.",
        "finding them is not private",
        "can equal the original",
        "without differential privacy",
        "knows the seed",
    ):
        assert part in said
    assert "How many are missed is not known" in " ".join(statement([], "x", 2, {}, False))


def test_words_follow_meaning_when_the_budget_is_large() -> None:
    words = Words(("doctor", "banana", "river"))
    near = words.propose(["physician"] * 200, ["d"] * 200, 60.0, Randomness(0))
    far = words.propose(["physician"] * 200, ["d"] * 200, 0.01, Randomness(0))
    assert near.count("doctor") > 190
    assert max(far.count(word) for word in words.words) < 110
    assert Words(("doctor", "banana"), uniform=True).utility(["x"]).tolist() == [[0.0, 0.0]]


def test_the_public_list_is_fixed_and_a_list_of_ones_own_is_read(tmp_path: Any) -> None:
    words = public_words()
    assert len(set(words)) == 4000
    assert all(word.isalpha() and word.islower() for word in words)
    path = tmp_path / "words.txt"
    path.write_text("\n".join(["Paris", " Rome ", "", "Rome"]))
    assert read_vocabulary(path) == ["Paris", "Rome"]
    path.write_text("one")
    with pytest.raises(UserError, match="holds 1 different words"):
        read_vocabulary(path)


class Endpoint:
    """A language model behind an address, that gives phrases, junk or nothing."""

    name = "http://localhost/v1#m"

    def __init__(self, say: Any) -> None:
        self.say, self.asked = say, list[Ask]()

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        self.asked += asked
        return [self.say for _ in asked]


def test_an_endpoint_never_sees_a_span_and_its_log_probabilities_are_a_prior() -> None:
    model = Endpoint(Reply("1. a friend\n- the old town\n* my cousin\n" + "x" * 99, (-0.5, -1.5), 9, 9))
    proposer = Asked(model)
    made = rewritten([TEXT], FOUND, proposer, 2.0, {}, seed=0)[0]
    assert all(one.replacement in ("a friend", "the old town", "my cousin") for one in made.replacements)
    told = " ".join(message.text for ask in model.asked for message in ask.messages)
    assert "Ann" not in told
    assert "Bob" not in told
    assert "without seeing the text" in made.statement[0]
    assert "3 fixed outcomes" in made.statement[0]


@pytest.mark.parametrize("said", [Failure("timed out"), Reply("", None, 1, 0), Reply("one line", None, 1, 1)])
def test_an_endpoint_that_gives_nothing_costs_placeholders(said: Any) -> None:
    made = rewritten([TEXT], FOUND, Asked(Endpoint(said)), 2.0, {})[0]
    assert made.text == f"{PLACEHOLDER} met {PLACEHOLDER}"


def test_metric_privacy_replaces_every_word() -> None:
    known = set(public_words())
    assert all(word in known for word in metric_private(["Ann Lee met Bob"], 5.0, Randomness(0))[0].split())
    near = metric_private(["doctor river house"], 1e6, Randomness(0))[0]
    assert near == "doctor river house"


@pytest.fixture(scope="module")
def writer() -> SpanWriter:
    return SpanWriter(SpanWriter.measure(tiny_llama()), 2, 0.0)


def test_a_language_models_tokens_are_drawn_by_the_mechanism(writer: SpanWriter) -> None:
    """One token for one span: its frequencies are those of the closed form, computed here from raw logits."""
    ids = torch.tensor([writer.encode("word1 word2", "notes")])
    with torch.no_grad():
        logits = writer.network(input_ids=ids).logits[0, -1].double()
    low, high = float(writer.low), float(writer.high)
    allowed = writer.allowed.nonzero()[:, 0]
    chances = (2.0 * logits[allowed].clamp(low, high) / (2 * (high - low))).softmax(0)
    n = 1500
    made = writer.privately(["word1 word2"] * n, ["notes"] * n, 2.0, 1, Randomness(3))
    texts = [writer.decode([number]) for number in allowed.tolist()]
    counts = [made.count(text) for text in texts]
    assert sum(counts) == n
    assert chisquare(counts, chances.numpy() * n).pvalue > 1e-4


def test_replacements_keep_to_the_vocabulary_and_the_number_of_tokens(writer: SpanWriter) -> None:
    proposer = Written(writer, 3, "tiny")
    made = rewritten([TEXT], FOUND, proposer, 4.0, {}, seed=5)[0]
    for one in made.replacements:
        words = one.replacement.split()
        assert not one.drawn or (1 <= len(words) <= 3 and set(words) <= {"Answer", "Do", "Avoid"})
    assert made.budget.draws == 3
    assert made.text == rewritten([TEXT], FOUND, proposer, 4.0, {}, seed=5)[0].text


def test_the_range_of_logits_depends_on_nothing_private(writer: SpanWriter) -> None:
    again = SpanWriter(SpanWriter.measure(tiny_llama()), 2, 0.0)
    assert float(again.low) == float(writer.low) < float(writer.high) == float(again.high)


def test_a_long_span_is_shown_by_its_beginning(writer: SpanWriter) -> None:
    assert len(writer.encode("word1 " * 500, "notes")) == len(writer.encode("word1 " * 48, "notes"))
