"""Coherence against gensim on documents without repeated words, and C_P against loops over its definition."""

from itertools import combinations

import numpy as np
import pytest

from counterpoint.text.topics.coherence import coherence, unique_words, windows

WORDS = [f"w{number}" for number in range(170)]


def documents(number: int, seed: int, least: int = 1) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [random.permutation(WORDS)[: int(random.integers(least, 160))].tolist() for _ in range(number)]


@pytest.mark.parametrize(("ours", "theirs"), [("npmi", "c_npmi"), ("c_v", "c_v")])
def test_npmi_and_c_v_are_gensims(ours: str, theirs: str) -> None:
    models = pytest.importorskip("gensim.models")
    corpora = pytest.importorskip("gensim.corpora")
    texts = documents(60, 0)
    topics = [WORDS[5 * k : 5 * k + 5] for k in range(4)]
    options = {"texts": texts, "dictionary": corpora.Dictionary(texts), "coherence": theirs, "processes": 1}
    expected = models.CoherenceModel(topics=topics, topn=5, **options).get_coherence_per_topic()
    np.testing.assert_allclose(coherence(topics, texts)[ours], expected, rtol=1e-9)


def test_a_word_that_comes_again_counts_once_in_a_window() -> None:
    """gensim forgets a word whose first occurrence leaves the window, though another is still inside."""
    texts = [["a", "b", "a", "c", "a"], ["b", "b"]]
    held = [set(texts[0][i : i + 3]) for i in range(3)] + [{"b"}]
    seen = windows(texts, ["a", "b", "c", "z"], 3)
    for one in "abc":
        for other in "abc":
            assert seen.of([one, other])[0, 1] == sum({one, other} <= part for part in held) / 4
    assert not seen.of(["z", "a"])[0].any()


def test_c_p_is_the_mean_fitelson_confirmation_by_preceding_words() -> None:
    texts, topic = documents(12, 1, least=40), WORDS[:4]
    held = [set(text[i : i + 70]) for text in texts for i in range(max(1, len(text) - 69))]

    def share(words: set[str]) -> float:
        return sum(words <= part for part in held) / len(held)

    confirmed = []
    for before, after in combinations(topic, 2):
        given = share({before, after}) / share({before})
        without = (share({after}) - share({before, after})) / (1 - share({before}))
        confirmed.append((given - without) / (given + without))
    assert coherence([topic], texts)["c_p"][0] == pytest.approx(np.mean(confirmed), rel=1e-9)


def test_words_that_no_document_has_are_no_error() -> None:
    found = coherence([["nowhere", "w1"], ["alone"]], documents(5, 2))
    assert all(np.isfinite(values).all() for values in found.values())
    assert unique_words([]) == 0
