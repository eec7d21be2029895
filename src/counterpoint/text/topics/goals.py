"""Which phrases of a document speak to a goal: asked of a language model, or found by their vectors.

A language model's answers are kept in a file of JSON lines, by document id, which `Corpus.read(goals=...)` takes. A
document whose answer is no list, or that gets none, has no phrases, is counted, and is asked about again the next time.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from counterpoint.errors import UserError, need
from counterpoint.files import write_text
from counterpoint.language import Ask, ChatModel, Prompt, Reply, fenced
from counterpoint.text.files import objects
from counterpoint.text.topics.corpus import Corpus, Phrases
from counterpoint.text.topics.vectors import vectors_of

TOKENS = 128
"""Longest answer of a language model."""
ATTEMPTS = 2
"""How often a model is asked for a list before its document is passed over."""
LONGEST = 4000
"""Letters of a document that a language model reads."""
AGAIN = ("junk", "no answer")
CUES = (
    "about because due for from with without over against called using cause caused problem problems issue issues "
    "trouble hate love like want wants need needs wish annoying bothering bothered worried afraid tired sick complain "
    "complained complaint question"
)
"""Words after which an answer often follows."""
REACH = 3
"""Words that may lie between a cue and the phrase it introduces."""
BOUND = re.compile(r"[.!?;:,()\[\]\"\n]+")
WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")


# Asked of a language model --------------------------------------------------------------------------------------------


def by_model(corpus: Corpus, model: ChatModel, path: str | Path, *, most: int = 3, block: int = 64) -> Counter[str]:
    """Ask a language model for each document's phrases that answer the goal, into a file; counts what became of them.

    What the file holds for this goal is not asked again, unless it was "junk" or "no answer"; it is written anew after
    every `block` documents, so whoever is stopped goes on. An answer that is no list is asked for again, `ATTEMPTS`
    times in all. Phrases that the document does not have are left out. Counts: "phrases", "off goal" (none), "junk",
    "no answer". Raises `UserError` for an empty goal and for a file of another goal.

    >>> import tempfile
    >>> class Echo:
    ...     name = "echo"
    ...     def answer(self, asked):
    ...         return [Reply('["my back", "a unicorn"]', None, 1, 1) for _ in asked]
    >>> corpus = Corpus.about("what hurts?", ["My back hurts", "sunny"])
    >>> path = Path(tempfile.mkdtemp()) / "goals.jsonl"
    >>> by_model(corpus, Echo(), path), read_goals(corpus, path).candidates.tolist()
    (Counter({'phrases': 1, 'off goal': 1}), [('my back',), ()])
    """
    check_goal(corpus)
    path = Path(path)
    done = _kept(path, corpus.goal) if path.exists() else {}
    texts = {str(key): text for key, text in zip(corpus.ids.tolist(), corpus.text.values, strict=True) if text}
    left = [key for key in texts if done.get(key, {}).get("how", AGAIN[0]) in AGAIN]
    for start in range(0, len(left), block):
        part = left[start : start + block]
        for attempt in range(ATTEMPTS):
            asked = [_question(texts[key], corpus.goal, most, attempt) for key in part]
            for key, reply in zip(part, model.answer(asked), strict=True):
                done[key] = {"id": key, "goal": corpus.goal, "model": model.name, **_taken(texts[key], reply, most)}
            part = [key for key in part if done[key]["how"] == "junk"]
            if not part:
                break
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done.values()))
    return Counter(done[key]["how"] for key in texts)


def read_goals(corpus: Corpus, path: str | Path) -> Corpus:
    """A corpus with the phrases of a file of JSON lines, {"id": .., "goal": .., "phrases": [..]} each.

    A document that the file does not have, or that got no list, has None. A corpus without a goal takes the file's.
    Raises `UserError` for a line that is no such object and for another goal.
    """
    place = next((found for found in (Path(path), Path(corpus.source).parent / path) if found.is_file()), None)
    if place is None:
        raise UserError(f"goals={path}: there is no such file")
    rows = _kept(place, corpus.goal)
    goal = corpus.goal or next((row["goal"] for row in rows.values()), "")
    how = [rows.get(str(key), {"phrases": None, "how": "absent"}) for key in corpus.ids.tolist()]
    found = [None if row.get("how") in (*AGAIN, "absent") else tuple(row["phrases"]) for row in how]
    counts = Counter(row.get("how") for row in how)
    notes = tuple(f"{counts[what]} of {len(corpus)} documents: {what}" for what in AGAIN if counts[what])
    made = corpus.towards(goal, found)
    return replace(made, notes=(*made.notes, *notes))


def _kept(path: Path, goal: str) -> dict[str, dict[str, Any]]:
    """The lines of a file by id; all of one goal."""
    with path.open(encoding="utf-8") as file:
        rows = objects(file, str(path))
    for number, row in enumerate(rows, start=1):
        phrases = row.get("phrases")
        whole = isinstance(phrases, list) and all(isinstance(one, str) for one in phrases)
        if not whole or "id" not in row or not isinstance(row.get("goal"), str):
            raise UserError(f'{path}: line {number} has no id, goal and "phrases", a list of texts; leave it out')
        goal = goal or row["goal"]
        if row["goal"] != goal:
            raise UserError(f'{path}: line {number} is of the goal "{row["goal"]}", not "{goal}"; name another file')
    return {str(row["id"]): row for row in rows}


def _question(text: str, goal: str, most: int, attempt: int) -> Ask:
    filled = Prompt.of("counterpoint.text", "goals").filled(goal=goal, most=str(most), text=fenced(text[:LONGEST]))
    return Ask.of(filled, max_tokens=TOKENS, temperature=0.0 if attempt == 0 else 0.7, seed=attempt)


def _taken(text: str, reply: Any, most: int) -> dict[str, Any]:
    """What a reply makes of a document: phrases that all stand in it, in small letters."""
    if not isinstance(reply, Reply):
        return {"phrases": [], "how": "no answer"}
    found = parsed(reply.text)
    if found is None:
        return {"phrases": [], "how": "junk"}
    plain = _plain(text)
    own = [phrase for phrase in dict.fromkeys(map(_plain, found)) if phrase and f" {phrase} " in f" {plain} "]
    return {"phrases": own[:most], "how": "phrases" if own else "off goal"}


def parsed(text: str) -> list[str] | None:
    """The list of texts in an answer, None when it holds none.

    >>> parsed('Sure! ["a b", "c"]'), parsed("[]"), parsed("I would say: a"), parsed("[1]")
    (['a b', 'c'], [], None, None)
    """
    start, end = text.find("["), text.rfind("]")
    try:
        found = json.loads(text[start : end + 1]) if start >= 0 else None
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _plain(text: str) -> str:
    """Words in small letters, one space apart."""
    return " ".join(WORD.findall(text.lower()))


# Found by their vectors -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finder:
    """Ranks a document's word runs by cosine to the goal, and keeps the best few that are well above the usual.

    A run has up to `words` words, none of them a stop word, within a stretch that no punctuation and no stop word
    interrupts (what a noun phrase is without its article). Its score is the cosine of its frozen vector with the
    goal's, plus `cue` where a word that introduces answers stands shortly before it (`CUES`). Of each document the
    `most` best are kept whose score is `threshold` standard deviations of all runs' cosines above their mean; no run of
    a kept run is kept beside it. A reconstruction: what the paper asks a language model for is not published.
    """

    most: int = 3
    words: int = 2
    threshold: float = 1.0
    cue: float = 0.05

    def find(self, corpus: Corpus, base: str) -> list[Phrases]:
        """Each document's phrases, the best first; raises `UserError` for an empty goal.

        >>> corpus = Corpus.about("which animal?", ["the old dog sleeps", "a green bicycle", None])
        >>> Finder(words=1, threshold=0.9).find(corpus, "static")
        [('dog',), (), ()]
        """
        check_goal(corpus)
        return [tuple(phrase for phrase, _ in kept) for kept in self.scored(corpus, base)]

    def scored(self, corpus: Corpus, base: str) -> list[list[tuple[str, float]]]:
        """The same with their scores."""
        stop = need("sklearn.feature_extraction.text", "eval").ENGLISH_STOP_WORDS
        runs = [_runs(text, self.words, stop) if text else {} for text in corpus.text.values]
        place = {phrase: row for row, phrase in enumerate(dict.fromkeys(p for found in runs for p in found))}
        if not place:
            return [[] for _ in runs]
        near = nearness(list(place), corpus.goal, base)
        least = float(near.mean() + self.threshold * near.std())
        scores = [{p: float(near[place[p]]) + self.cue * cued for p, cued in of.items()} for of in runs]
        return [self._best(of, least) for of in scores]

    def _best(self, scores: dict[str, float], least: float) -> list[tuple[str, float]]:
        kept: list[tuple[str, float]] = []
        for phrase, score in sorted(scores.items(), key=lambda pair: -pair[1]):
            if score < least or len(kept) == self.most:
                break
            if not any(f" {phrase} " in f" {other} " or f" {other} " in f" {phrase} " for other, _ in kept):
                kept.append((phrase, score))
        return kept


def nearness(texts: Sequence[str], goal: str, base: str) -> Float[np.ndarray, " n"]:
    """The cosine of each text with a goal."""
    return np.asarray(vectors_of(texts, base) @ vectors_of([goal], base)[0])


def check_goal(corpus: Corpus) -> None:
    """Raise `UserError` for a corpus without a goal."""
    if not corpus.goal:
        raise UserError(f'{corpus.source}: say what the topics shall answer: goal="what is bothering people?"')


def _runs(text: str, longest: int, stop: frozenset[str]) -> dict[str, bool]:
    """Runs of words without stop words, in small letters; whether a cue introduces one anywhere."""
    found: dict[str, bool] = {}
    cues = set(CUES.split())
    for stretch in BOUND.split(text.lower()):
        words = WORD.findall(stretch)
        breaks = [-1, *(i for i, word in enumerate(words) if word in stop or len(word) < 2), len(words)]
        for before, after in pairwise(breaks):
            for first in range(before + 1, after):
                cued = not cues.isdisjoint(words[max(0, first - REACH) : first])
                for last in range(first + 1, min(first + longest, after) + 1):
                    phrase = " ".join(words[first:last])
                    found[phrase] = found.get(phrase, False) or cued
    return found
