"""Seven algorithms under one knob, what is measured of their clusters, and how test texts are dealt out."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from counterpoint.errors import UserError
from counterpoint.evaluation import errors, silhouette
from counterpoint.text.clusters.clusterers import (
    ALGORITHMS,
    COUNTED,
    SHARES,
    clustered,
    clustered_into,
    cosine_distances,
    dealt,
    grid,
    medoids,
    tuned,
)
from counterpoint.text.clusters.clustering import every_algorithm, grouping
from counterpoint.text.clusters.statements import Statements, shared_texts
from counterpoint.text.pairs import Pairs
from counterpoint.text.scripts import script_of

labellings = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=25)


def bunches(clusters: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around random directions, and which direction each is around."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, 12))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    number = np.repeat(np.arange(clusters), each)
    vectors = centres[number] + spread * random.normal(size=(len(number), 12))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), number


class Known:
    """Texts with vectors that are known: the judge's oracle."""

    def __init__(self, vectors: dict[str, np.ndarray], development: Statements) -> None:
        self.vectors, self.development = vectors, development

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.vectors[text] for text in texts]))


def known(spread: float) -> tuple[Known, Pairs]:
    """Development texts and test texts around directions of their own, in two languages."""
    vectors, number = bunches(40, 4, spread)
    texts = [f"text {row}" for row in range(len(vectors))]
    table = {"claim": texts, "other": [None] * len(texts)}
    language = np.where((number % 2 == 0) | (np.arange(len(texts)) % 4 < 2), "en", "ar")
    pairs = Pairs.of(table, {"cluster": number, "language": language})
    pairs = Pairs(pairs.views, pairs.columns, pairs.ids, "memory", group="cluster")
    return Known(dict(zip(texts, vectors, strict=True)), Statements.of(pairs.rows(number < 10))), pairs.rows(
        number >= 10
    )


@given(labellings)
@settings(max_examples=60, deadline=None)
def test_errors_are_those_of_counting_by_hand(rows: list[tuple[int, int]]) -> None:
    gold, found = (np.array(column) for column in zip(*rows, strict=True))
    same_gold = {(i, j) for i in range(len(gold)) for j in range(i) if gold[i] == gold[j]}
    same_found = {(i, j) for i in range(len(gold)) for j in range(i) if found[i] == found[j]}
    both = len(same_gold & same_found)
    split = [len(set(found[gold == one])) > 1 for one in set(gold)]
    merged = [len(set(gold[found == one])) > 1 for one in set(found)]
    expected = {
        "split": np.mean(split),
        "merged": np.mean(merged),
        "precision": both / len(same_found) if same_found else 1.0,
        "recall": both / len(same_gold) if same_gold else 1.0,
    }
    assert errors(gold, found) == pytest.approx(expected)


def test_silhouette_is_scikit_learns_and_0_where_it_has_no_meaning() -> None:
    vectors, number = bunches(4, 5, 0.3)
    expected = metrics.silhouette_score(vectors, number, metric="cosine")
    assert silhouette(cosine_distances(vectors), number) == pytest.approx(expected, abs=1e-6)
    assert silhouette(cosine_distances(vectors), np.zeros(20)) == 0
    assert silhouette(cosine_distances(vectors), np.arange(20)) == 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_finds_clear_clusters(name: str) -> None:
    vectors, number = bunches(12, 4, 0.05)
    found = clustered(vectors, name, 12 / len(vectors) if name == "kmeans" else 0.1)
    assert metrics.adjusted_rand_score(number, found) == 1
    assert list(dict.fromkeys(found.tolist())) == list(range(12))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_few_or_equal_texts_are_no_trouble(name: str, rows: int) -> None:
    assert len(clustered(np.eye(3, dtype=np.float32)[:rows], name, 0.2)) == rows
    assert len(clustered(np.tile(np.eye(3, dtype=np.float32)[:1], (rows, 1)), name, 0.2)) == rows


def test_dbscan_of_two_is_the_connected_parts_of_the_graph() -> None:
    vectors, _ = bunches(8, 5, 0.25)
    apart = cosine_distances(vectors)
    group = np.arange(len(vectors))
    for _ in group:
        for i in range(len(vectors)):
            near = apart[i] <= 0.15
            group[near] = group[near].min()
    assert metrics.adjusted_rand_score(group, clustered(vectors, "dbscan", 0.15)) == 1


@pytest.mark.parametrize("name", COUNTED)
def test_a_number_of_clusters_can_be_given(name: str) -> None:
    vectors, number = bunches(6, 4, 0.05)
    assert metrics.adjusted_rand_score(number, clustered_into(vectors, name, 6)) == 1
    with pytest.raises(UserError, match="-k 25: there are 24 different texts; ask for 1 to 24"):
        clustered_into(vectors, name, 25)


def test_what_cannot_be_asked_for() -> None:
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(UserError, match="dbscan finds the number of clusters itself; with -k take kmeans"):
        clustered_into(vectors, "dbscan", 2)
    with pytest.raises(UserError, match='unknown algorithm "averge"; did you mean "average"'):
        clustered(vectors, "averge", 0.2)


def test_grids_are_of_one_size_and_follow_the_encoders_scale() -> None:
    wide, narrow = (cosine_distances(bunches(10, 3, spread)[0]) for spread in (0.4, 0.04))
    assert {len(grid(name, [wide])) for name in ALGORITHMS} == {len(SHARES)}
    assert max(grid("average", [narrow])) < min(grid("average", [wide]))


def test_knobs_are_the_best_of_the_grid() -> None:
    method, _ = known(0.15)
    said = method.development
    vectors = method.embed_texts(said.texts).numpy()
    for name, knob in tuned(vectors, said).items():
        values = grid(name, [cosine_distances(vectors)])
        scores = [metrics.adjusted_rand_score(said.clusters, clustered(vectors, name, value)) for value in values]
        assert (knob.ari, knob.value) == (pytest.approx(max(scores)), values[int(np.argmax(scores))])


def test_medoids_are_the_nearest_to_the_mean() -> None:
    vectors, number = bunches(5, 4, 0.3)
    found = medoids(vectors, number)
    for row, medoid in enumerate(found):
        inside = np.flatnonzero(number == number[row])
        assert medoid == inside[np.argmax(vectors[inside] @ vectors[inside].mean(0))]


def test_collections_hold_whole_clusters_of_every_kind() -> None:
    _, pairs = known(0.1)
    said = Statements.of(pairs)
    parts = dealt(said, together=30)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(said)))
    assert len(parts) == 4
    for part in parts:
        assert not set(said.clusters[part]) & set(np.delete(said.clusters, part))
        assert said.mixed[part].any()
        assert not said.mixed[part].all()


def test_the_judge_gives_scikit_learns_numbers() -> None:
    method, pairs = known(0.2)
    outcome = every_algorithm(method, pairs)
    said = Statements.of(pairs)
    knobs = tuned(method.embed_texts(method.development.texts).numpy(), method.development)
    (part,) = dealt(said)
    vectors, gold = method.embed_texts(said.texts).numpy()[part], said.clusters[part]
    measures = outcome.summary()
    for name, knob in knobs.items():
        found = clustered(vectors, name, knob.value)
        assert measures[f"ari_{name}"] == pytest.approx(metrics.adjusted_rand_score(gold, found))
        assert measures[f"ami_{name}"] == pytest.approx(metrics.adjusted_mutual_info_score(gold, found))
    assert measures["ari"] == pytest.approx(np.mean([measures[f"ari_{name}"] for name in ALGORITHMS]))
    assert measures["ari_mixed_lead"] == pytest.approx(measures["ari_mixed"] - measures["ari_mono"])
    only = grouping(method, pairs).summary()
    assert only["ari"] == measures["ari_average"]
    rows = said.mixed[part]
    found = clustered(vectors, "average", knobs["average"].value)
    assert only["ari_mixed"] == pytest.approx(metrics.adjusted_rand_score(gold[rows], found[rows]))


def test_collections_apart_are_judged_apart_and_nothing_mixed_is_no_measure() -> None:
    method, pairs = known(0.1)
    names = np.where(pairs.columns["cluster"] % 3 == 0, "unseen", "home")
    columns = {**pairs.columns, "collection": names, "language": np.full(len(pairs), "en")}
    found = every_algorithm(method, Pairs(pairs.views, columns, pairs.ids, "memory", group="cluster")).summary()
    assert {"ari", "ari@unseen", "ari_average", "ari_mono"} <= found.keys()
    assert not {"ari_mixed", "ari_mixed_lead", "ari_average@unseen"} & found.keys()


def test_what_cannot_be_judged() -> None:
    method, pairs = known(0.1)
    with pytest.raises(UserError, match="two different texts or more"):
        grouping(method, pairs.rows(slice(0, 1)))
    with pytest.raises(UserError, match="keeps no development texts"):
        grouping(object(), pairs)


def test_statements_take_language_from_columns_or_script() -> None:
    views = {"a": ["one", "zwei", None], "b": ["uno", "два", "три"]}
    columns: dict[str, Any] = {"language": np.array(["en", "de", ""], dtype=object)}
    said = Statements.of(Pairs.of(views, columns))
    assert dict(zip(said.texts, said.languages, strict=True)) == {
        "one": "en", "zwei": "de", "uno": "en", "два": "de", "три": "cyrillic"
    }  # fmt: skip
    columns["language_b"] = np.array(["es", None, "ru"], dtype=object)
    said = Statements.of(Pairs.of(views, columns))
    assert said.languages.tolist() == ["en", "de", "es", "cyrillic", "ru"]
    assert said.mixed.tolist() == [True, True, True, True, False]
    assert (script_of("العربية"), script_of("हिन्दी"), script_of("😀")) == ("arabic", "devanagari", "none")


def test_a_text_on_both_sides_is_found() -> None:
    one, other = Pairs.of({"a": ["x", "y"], "b": ["z", None]}), Pairs.of({"a": ["u"], "b": ["z"]})
    assert shared_texts(one, other) == ["z"]
