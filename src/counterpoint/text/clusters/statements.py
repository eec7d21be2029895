"""The different texts of pairs, with the cluster and the language of each: what clustering is judged on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from counterpoint.text.pairs import Pairs
from counterpoint.text.readers import LANGUAGE
from counterpoint.text.scripts import script_of as script_of

COLLECTION = "collection"
"""A column so named keeps rows of different collections apart when clustering is judged."""


@dataclass(frozen=True, eq=False)
class Statements:
    """n different texts; `clusters` are numbers, equal for texts that say the same.

    >>> said = Statements.of(Pairs.of({"a": ["one", "two"], "b": ["eins", "два"]}))
    >>> said.texts, said.clusters.tolist(), said.languages.tolist(), said.mixed.tolist()
    (['one', 'two', 'eins', 'два'], [0, 1, 0, 1], ['latin', 'latin', 'latin', 'cyrillic'], [False, True, False, True])
    """

    texts: list[str]
    clusters: Int[np.ndarray, " n"]
    languages: Shaped[np.ndarray, " n"]
    collections: Shaped[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, pairs: Pairs) -> "Statements":
        """The different texts of all views but hard negatives; a text counts where it stands first.

        The language is that of the column `language_VIEW` or `language`, else the script of most of its letters.
        """
        found: dict[str, tuple[int, str, str]] = {}
        collection = pairs.columns.get(COLLECTION)
        for name in pairs.positives:
            spoken = pairs.columns.get(f"{LANGUAGE}_{name}", pairs.columns.get(LANGUAGE))
            view = pairs.views[name]
            for row in np.flatnonzero(view.present).tolist():
                text = view.values[row]
                if text not in found:
                    language = None if spoken is None else spoken[row]
                    where = "" if collection is None else str(collection[row])
                    found[text] = (int(pairs.clusters[row]), str(language) if language else script_of(text), where)
        return cls.from_rows([(text, *facts) for text, facts in found.items()])

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]]) -> "Statements":
        """From (text, cluster, language, collection) of each."""
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
        texts, clusters, languages, collections = columns
        numbers = np.array(clusters, dtype=np.int64)
        return cls(texts, numbers, np.array(languages, dtype=str), np.array(collections, dtype=str))

    def rows(self, index: Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]) -> "Statements":
        """Some of the texts."""
        texts = np.array(self.texts, dtype=object)[index].tolist()
        return Statements(texts, self.clusters[index], self.languages[index], self.collections[index])

    def at_most(self, number: int) -> "Statements":
        """Whole clusters drawn at random, always the same, until they have so many texts; at least one."""
        clusters, counts = np.unique(self.clusters, return_counts=True)
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(clusters))
        taken = max(1, int((counts[order].cumsum() <= number).sum()))
        return self.rows(np.isin(self.clusters, clusters[order[:taken]]))

    @cached_property
    def sizes(self) -> Int[np.ndarray, " n"]:
        """How many texts the cluster of each has."""
        _, number, counts = np.unique(self.clusters, return_inverse=True, return_counts=True)
        return np.asarray(counts[number])

    @cached_property
    def mixed(self) -> Bool[np.ndarray, " n"]:
        """Which texts are in a cluster of more than one language."""
        _, number = np.unique(self.clusters, return_inverse=True)
        _, spoken = np.unique(self.languages, return_inverse=True)
        kinds = np.unique(np.stack([number, spoken], axis=1), axis=0)[:, 0]
        return np.asarray(np.bincount(kinds)[number] > 1)

    def json(self) -> list[dict[str, Any]]:
        """One object per text, for a run folder."""
        lists = [self.clusters.tolist(), self.languages.tolist(), self.collections.tolist()]
        keys = ("text", "cluster", "language", "collection")
        return [dict(zip(keys, row, strict=True)) for row in zip(self.texts, *lists, strict=True)]


def shared_texts(one: Pairs, other: Pairs) -> list[str]:
    """Texts that both have, in any view: what leaks when one is trained on and the other judged.

    >>> shared_texts(Pairs.of({"a": ["x"], "b": ["y"]}), Pairs.of({"a": ["z"], "b": ["x"]}))
    ['x']
    """
    left, right = (
        {text for view in p.views.values() for text in view.values if text is not None} for p in (one, other)
    )
    return sorted(left & right)
