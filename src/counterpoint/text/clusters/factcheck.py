"""Claims and debates of fact-checkers, and one document in many languages, from the folder COUNTERPOINT_DATA names.

Debates: CLEF-2018 CheckThat!, the same lines in English and Arabic. Snopes: claims with titles and the tweets that make
them (arXiv 2005.06058). Articles: the Universal Declaration of Human Rights. None is part of the package.
"""

import csv
import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.text.clusters.claim2vec import DEVELOPMENT
from counterpoint.text.clusters.statements import COLLECTION, shared_texts
from counterpoint.text.pairs import Pairs, next_of_cluster, picked

DEBATES = Path("factcheck") / "clef2018-factchecking__clef2018-factchecking" / "data" / "task2"
SNOPES = Path("factcheck") / "sshaar__That-is-a-Known-Lie" / "data" / "snopes"
ARTICLES = Path("multilingual") / "nltk__nltk_data" / "packages" / "corpora" / "udhr2.zip"
SPOKEN = ("1st-Presidential", "2nd-Presidential", "Vice-Presidential")
LANGUAGES = ("eng", "spa", "fra", "rus", "arb", "heb", "hin", "ell_monotonic", "cmn_hans", "kor", "tur", "swh")
"""Of the articles: twelve languages in eight scripts."""
SPEAKING = 6
"""Most languages of a paragraph."""
LEAST, MOST = 5, 60
"""Words of an English line of a debate that is taken."""
TRAIN = {"debates": 100, "snopes": 50, "alone": 40}
TEST = {"debates": 110, "snopes": 50, "alone": 60}
"""Clusters of each kind; texts of `alone` have nobody who says the same."""
HELD = 0.2
"""Share of the training clusters that knobs are chosen on."""


class Said(NamedTuple):
    """A text and its language."""

    text: str
    language: str


Cluster = Sequence[Said]


def claims(seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """Training clusters; a few to watch; held-out clusters of the same two sources, and the articles, unseen."""
    return _drawn(seed, TRAIN, TEST, articles=True)


def claims_quick(seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """A fifth of it."""
    train, test = ({name: number // 5 for name, number in part.items()} for part in (TRAIN, TEST))
    return _drawn(seed, train, test, articles=False)


def shuffled_clusters(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The same training texts in clusters of the same sizes, put together at random; development rows stay."""
    train = np.flatnonzero(pairs.columns[DEVELOPMENT] == 0)
    order = train[torch.randperm(len(train), generator=generator).numpy()]
    values = pairs.views["claim"].values.copy()
    values[train] = values[order]
    return _in_rings(pairs.with_texts("claim", values))


def translated_only(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The training clusters of several languages alone, as many steps as there are; development rows stay."""
    spoken: dict[int, set[str]] = {}
    for cluster, language in zip(pairs.columns["cluster"].tolist(), pairs.columns["language"].tolist(), strict=True):
        spoken.setdefault(cluster, set()).add(language)
    mixed = np.array([len(spoken[cluster]) > 1 for cluster in pairs.columns["cluster"].tolist()])
    return pairs.rows(mixed | (pairs.columns[DEVELOPMENT] == 1))


def real_claims() -> list[str]:
    """Claims of Snopes, each once."""
    return [said.text for clusters in _snopes() for cluster in clusters for said in cluster[:1]]


def _drawn(seed: int, train: dict[str, int], test: dict[str, int], articles: bool) -> tuple[Pairs, Pairs, Pairs]:
    random = np.random.Generator(np.random.PCG64(seed))
    kinds = {"debates": _debates(), "snopes": _snopes()[0], "alone": _snopes()[1]}
    parts: tuple[list[Cluster], ...] = ([], [], [])
    for name, clusters in kinds.items():
        order = random.permutation(len(clusters)).tolist()
        sizes = (train[name], test[name] // 5, test[name])
        if sum(sizes) > len(order):
            raise UserError(f"{name}: {len(order)} clusters are fewer than the {sum(sizes)} that are needed")
        for part, size in zip(parts, sizes, strict=True):
            part += [clusters[number] for number in order[:size]]
            del order[:size]
    kept = random.random(len(parts[0])) < HELD
    learned = _pairs([(parts[0], "held-out")])
    learned = replace(
        learned, columns={**learned.columns, DEVELOPMENT: kept[learned.columns["cluster"]].astype(np.int64)}
    )
    watched = _pairs([(parts[1], "held-out")])
    judged = _pairs([(parts[2], "held-out"), *([(_articles(random), "unseen")] if articles else [])])
    if leaked := shared_texts(learned, judged):
        raise ValueError(f"{len(leaked)} texts are trained on and judged, such as {leaked[0]!r}")
    return learned, watched, judged


def _pairs(groups: Iterable[tuple[Sequence[Cluster], str]]) -> Pairs:
    """A row per text: the text, the next one of its cluster, the language, the cluster and the collection."""
    rows = [
        (said.text, said.language, cluster, name)
        for name, clusters in ((name, clusters) for clusters, name in groups)
        for cluster in clusters
        for said in cluster
    ]
    number: dict[int, int] = {}
    texts, languages, clusters, names = zip(*rows, strict=True)
    columns = {
        "cluster": np.array([number.setdefault(id(cluster), len(number)) for cluster in clusters]),
        "language": np.array(languages),
        COLLECTION: np.array(names),
    }
    made = Pairs.of({"claim": texts, "other": texts}, columns, source="claims")
    return _in_rings(replace(made, group="cluster"))


def _in_rings(pairs: Pairs) -> Pairs:
    """With the next text of the cluster as each row's second text."""
    texts = pairs.views["claim"].values
    rows = next_of_cluster(texts, pairs.columns["cluster"])
    made = pairs.with_texts("other", picked(texts, rows))
    return replace(made, columns={**made.columns, "language_other": picked(pairs.columns["language"], rows)})


def _folder() -> Path:
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / DEBATES).is_dir():
        raise UserError(f"the debates are not here; set COUNTERPOINT_DATA to the folder that has {DEBATES}")
    return Path(folder)


@cache
def _debates() -> list[Cluster]:
    """A line in both languages; lines that make one claim are a cluster, with the claim as it was written up."""
    found: dict[tuple[str, str], dict[Said, None]] = {}
    seen: set[str] = set()
    for debate in SPOKEN:
        sides = [
            _lines(_folder() / DEBATES / language / f"Task2-{language}-{debate}.txt")
            for language in ("English", "Arabic")
        ]
        for english, arabic in zip(*sides, strict=True):
            texts = [english[2].strip(), arabic[2].strip()]
            if not LEAST <= len(texts[0].split()) <= MOST or not texts[1] or seen & set(texts):
                continue
            seen |= set(texts)
            claim = english[3] if english[3] != "N/A" else ""
            said = [Said(texts[0], "en"), Said(texts[1], "ar")]
            for side, language in ((english, "en"), (arabic, "ar")):
                if claim and len(side) > 4 and side[4].strip() not in ("", "-") and side[4].strip() not in seen:
                    seen.add(side[4].strip())
                    said.append(Said(side[4].strip(), language))
            found.setdefault((debate, f"claim {claim}" if claim else english[0]), {}).update(dict.fromkeys(said))
    return [tuple(cluster) for cluster in found.values()]


@cache
def _snopes() -> tuple[list[Cluster], list[Cluster]]:
    """Claims with their titles and tweets, and claims alone, for which no tweet is known."""
    tweets: dict[str, list[str]] = {}
    for row in _lines(_folder() / SNOPES / "fact-checking" / "tweet-veclaim-pairs.tsv")[1:]:
        tweets.setdefault(row[1].strip(), []).append(row[0].strip())
    made: list[Cluster] = []
    alone: list[Cluster] = []
    seen: set[str] = set()
    for title, fact, *_ in _lines(_folder() / SNOPES / "verified-claims.tsv")[1:]:
        key = fact.strip()
        texts = [text for text in dict.fromkeys([key, title.strip(), *tweets.get(key, [])]) if text not in seen]
        seen |= set(texts)
        if key in tweets and len(texts) > 1:
            made.append(tuple(Said(text, "en") for text in texts))
        elif key not in tweets and texts:
            alone.append((Said(texts[0], "en"),))
    return made, alone


def _articles(random: np.random.Generator) -> list[Cluster]:
    """Each paragraph of the articles in 2 to 6 languages, drawn."""
    every = _paragraphs()
    clusters: list[Cluster] = []
    for number in range(len(every[LANGUAGES[0]])):
        spoken = random.permutation(len(LANGUAGES))[: int(random.integers(2, SPEAKING + 1))]
        said = {every[name][number]: name for name in (LANGUAGES[place] for place in spoken.tolist())}
        clusters.append(tuple(Said(text, name) for text, name in said.items()))
    return clusters


@cache
def _paragraphs() -> dict[str, list[str]]:
    """The paragraphs of the thirty articles in every language; only the first of an article that is divided otherwise.

    A block of lines is an article: a heading, then paragraphs, some with a number in a line of its own before them.
    """
    found: dict[str, list[list[str]]] = {}
    with zipfile.ZipFile(_folder() / ARTICLES) as archive:
        for name in LANGUAGES:
            blocks = re.split(
                r"\n {0,3}\n", archive.read(f"udhr2/{name}.txt").decode("utf-8").replace("\r", "").rstrip()
            )
            lines = [[line.strip() for line in block.strip().splitlines()] for block in blocks[-30:]]
            found[name] = [[line for line in article[1:] if sum(map(str.isalpha, line)) > 4] for article in lines]
    taken: dict[str, list[str]] = {name: [] for name in LANGUAGES}
    for number in range(30):
        sizes = [len(found[name][number]) for name in LANGUAGES]
        if not min(sizes):
            raise UserError(f"{ARTICLES}: article {number + 1} is missing in a language; get the file again")
        for name in LANGUAGES:
            taken[name] += found[name][number][: sizes[0] if len(set(sizes)) == 1 else 1]
    return taken


def _lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) > 1]
