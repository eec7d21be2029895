"""The wing's second protocol: do clusters of the texts agree with the known ones?

The knob of every algorithm is chosen on the method's development texts, whose clusters are neither trained on nor
judged. Test clusters are dealt into collections of about 120 texts, which are clustered one by one: a collection is a
row of the outcome, so that intervals speak of other collections of the kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.errors import UserError
from counterpoint.evaluation.clustering import agreement, errors, silhouette
from counterpoint.evaluation.outcome import Mean, Outcome
from counterpoint.text.clusters.clusterers import ALGORITHMS, clustered, cosine_distances, dealt, tuned
from counterpoint.text.clusters.statements import Statements
from counterpoint.text.pairs import Pairs

DEFAULT = "average"
"""The algorithm whose clusters a fit is judged by."""
MEANS = ("ari", "ami", "ari_mono", "ari_mixed", "precision", "recall", "split", "merged", "silhouette")
"""What is measured of each algorithm's clusters."""


def grouping(method: Any, pairs: Pairs) -> Outcome:
    """How well average linkage of the vectors finds the clusters; one row per collection.

    `ari` and `ami` are the adjusted Rand index and mutual information; `ari_mono` and `ari_mixed` the Rand index over
    the texts of clusters (of two texts or more) of one and of several languages; `precision` and `recall` count pairs
    of texts; `split` and `merged` are the shares of true clusters torn apart and of found clusters that mix;
    `silhouette` is that of the found clusters, `silhouette_gold` that of the true ones, both on cosine distances.
    Measures that no collection has (mixed clusters where there are none) are left out. Raises `UserError` for a method
    without development texts, or test texts that are fewer than two.
    """
    return _outcome(method, pairs, (DEFAULT,))


def every_algorithm(method: Any, pairs: Pairs) -> Outcome:
    """The same with all seven algorithms: `ari_kmeans`, `ami_kmeans` and so on; what has no such ending is their mean.

    `ari_mixed_lead` is `ari_mixed` less `ari_mono`. Measures ending in `@NAME` are of the collection NAME of the
    column `collection`, all others of the rest: of the first collection by name, where there are several.
    """
    return _outcome(method, pairs, tuple(ALGORITHMS))


def _outcome(method: Any, pairs: Pairs, algorithms: Sequence[str]) -> Outcome:
    said = Statements.of(pairs)
    if len(said) < 2:
        raise UserError(f"{pairs.source}: clustering is judged on two different texts or more")
    development: Statements | None = getattr(method, "development", None)
    if development is None:
        raise UserError(
            f"{type(method).__name__} keeps no development texts to choose knobs on; judge claim2vec instead"
        )
    knobs = tuned(_vectors(method, development.texts), development, algorithms)
    vectors = _vectors(method, said.texts)
    parts = dealt(said)
    rows = [_row(vectors[part], said.rows(part), {name: knobs[name].value for name in algorithms}) for part in parts]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    places = np.array([said.collections[part[0]] for part in parts])
    ids = np.array([f"{place} {number}".strip() for number, place in enumerate(places)])
    return Outcome(ids, {**columns, "place": places}, _measures(columns, places), strata="place")


def _measures(columns: Mapping[str, Float[np.ndarray, " p"]], places: Any) -> dict[str, Mean]:
    """A mean per column, over the collections of the first name; of further names those over all algorithms."""
    found: dict[str, Mean] = {}
    names = np.unique(places).tolist()
    for name, values in columns.items():
        for number, place in enumerate(names):
            if name.rpartition("_")[2] in ALGORITHMS and number:
                continue
            if np.isfinite(values[places == place]).all():
                found[name + (f"@{place}" if number else "")] = Mean(name, where=("place", place))
    return found


def _vectors(method: Any, texts: list[str]) -> Float[np.ndarray, "n d"]:
    return np.asarray(method.embed_texts(texts).cpu().numpy(), dtype=np.float32)


def _row(vectors: Any, said: Statements, knobs: Mapping[str, float]) -> dict[str, float]:
    """All measures of one collection: those of each algorithm, and their mean."""
    apart = cosine_distances(vectors)
    each = {name: _of_one(said, clustered(vectors, name, knob, apart), apart) for name, knob in knobs.items()}
    row = {name: float(np.mean([one[name] for one in each.values()])) for name in MEANS}
    row["silhouette_gold"] = silhouette(apart, said.clusters)
    if len(each) > 1:
        row["ari_mixed_lead"] = row["ari_mixed"] - row["ari_mono"]
        row |= {f"{kind}_{name}": one[kind] for name, one in each.items() for kind in ("ari", "ami")}
    return row


def _of_one(said: Statements, assigned: Int[np.ndarray, " n"], apart: Any) -> dict[str, float]:
    whole = agreement(said.clusters, assigned)
    several = said.sizes > 1
    return {
        "ari": whole["ari"],
        "ami": whole["ami"],
        "ari_mono": _rand(said, assigned, several & ~said.mixed),
        "ari_mixed": _rand(said, assigned, several & said.mixed),
        **errors(said.clusters, assigned),
        "silhouette": silhouette(apart, assigned),
    }


def _rand(said: Statements, assigned: Int[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]) -> float:
    """The adjusted Rand index over some texts, as they were clustered among all; NaN where there are too few."""
    if len(np.unique(said.clusters[rows])) < 2:
        return float("nan")
    return agreement(said.clusters[rows], assigned[rows])["ari"]
