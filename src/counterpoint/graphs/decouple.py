"""The text of a node as signal and noise: by a language model, by words near to the task, or at random.

A language model's splits are kept in a file of JSON lines, by node id, which `AttributedGraph.read(decoupled=...)`
takes. A node whose answer is no split keeps its text as signal, and is counted.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.files import write_text
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.inputs import WORD, text_vectors
from counterpoint.language import Ask, ChatModel, Prompt, Reply, fenced
from counterpoint.training import rng

MARKS = 40
"""Tokens of a language model's answer beside the text itself, of which a token has three characters or more."""
TOKENS_A_WORD = 6
Split = tuple[str | None, str | None]
Form = Literal["json", "words"]


def by_model(
    graph: AttributedGraph,
    model: ChatModel,
    task: str,
    path: str | Path,
    longest: int = 2000,
    block: int = 64,
    form: Form = "json",
) -> Counter[str]:
    """Let a language model split the texts of all nodes into a file; counts what became of them.

    `task` says the domain and what is to be told apart, never a node's class. Texts are cut at `longest` letters. What
    the file holds is not asked again, unless it says "no answer"; it is written anew after every `block` nodes, so
    whoever is stopped goes on. `form` is what is asked for: a JSON object of signal and noise, or the third of the
    words that matter most, which a small model can give too; the others are the noise. Counts: "split"; "kept raw" (the
    answer was no split); "no answer". Raises `UserError` for a graph without texts.

    >>> import tempfile
    >>> class Echo:
    ...     name = "echo"
    ...     def answer(self, asked):
    ...         return [Reply('{"signal": "a", "noise": "b"}', None, 1, 1) for _ in asked]
    >>> graph = AttributedGraph.of([[0], [1]], texts=["a b", "b a"])
    >>> by_model(graph, Echo(), "which letter", Path(tempfile.mkdtemp()) / "split.jsonl")
    Counter({'split': 2})
    """
    if graph.texts is None:
        raise UserError(f"{graph.source}: nodes have no texts to split")
    path = Path(path)
    done = {row["id"]: row for row in _read_lines(path)} if path.exists() else {}
    left = [row for row in _asked(graph) if done.get(row[0], {}).get("how") in (None, "no answer")]
    for start in range(0, len(left), block):
        part = left[start : start + block]
        asked = [_ask(text[:longest], task, form) for _, text in part]
        for (key, text), reply in zip(part, model.answer(asked), strict=True):
            done[key] = {"id": key, "prompt": _prompt(form).name, "model": model.name, **_taken(text, reply, form)}
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done.values()))
    return Counter(row["how"] for row in done.values())


def _asked(graph: AttributedGraph) -> list[tuple[str, str]]:
    """The id and the text of each node that has one."""
    assert graph.texts is not None
    pairs = zip(graph.node_ids.tolist(), graph.texts.tolist(), strict=True)
    return [(str(key), text) for key, text in pairs if text is not None]


def _prompt(form: Form) -> Prompt:
    return Prompt.of("counterpoint.graphs", "decouple" if form == "json" else "decouple_words")


def _ask(text: str, task: str, form: Form) -> Ask:
    """What is asked of one text, with room for an answer as long as it may be."""
    if form == "json":
        return Ask.of(_prompt(form).filled(task=task, text=fenced(text)), max_tokens=MARKS + len(text) // 3)
    count = max(1, len(WORD.findall(text)) // 3)
    asked = _prompt(form).filled(task=task, text=fenced(text), count=str(count))
    return Ask.of(asked, max_tokens=TOKENS_A_WORD * count)


def _taken(text: str, reply: Any, form: Form) -> dict[str, str]:
    """What a reply makes of a text; words that the text does not have are left out of its parts."""
    if not isinstance(reply, Reply):
        return {"signal": text, "noise": "", "how": "no answer"}
    found = parsed(reply.text) if form == "json" else told_apart(text, reply.text, _prompt(form).text)
    own = set(WORD.findall(text.lower()))
    signal, noise = ("", "") if found is None else (kept(part, own) for part in found)
    if not signal:
        return {"signal": text, "noise": "", "how": "kept raw"}
    return {"signal": signal, "noise": noise, "how": "split"}


def parsed(text: str) -> tuple[str, str] | None:
    """Signal and noise of an answer, None when it holds no JSON object with both.

    >>> parsed('Sure: {"signal": "a", "noise": "b"}'), parsed("no")
    (('a', 'b'), None)
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]) if start >= 0 else None
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(part), str) for part in ("signal", "noise")):
        return None
    return found["signal"], found["noise"]


def told_apart(text: str, said: str, prompt: str = "") -> tuple[str, str] | None:
    """The words of a text that an answer names, and the others; None when it names none or all.

    Words of the prompt do not count: a model that repeats what it was told names nothing.

    >>> told_apart("neural nets in a box", "Neural, nets"), told_apart("a b", "b a")
    (('neural nets', 'in a box'), None)
    """
    named = set(WORD.findall(said.lower())) - set(WORD.findall(prompt.lower()))
    parts = [" ".join(w for w in WORD.findall(text) if (w.lower() in named) is signal) for signal in (True, False)]
    return (parts[0], parts[1]) if all(parts) else None


def kept(part: str, own: set[str]) -> str:
    """The words of a part that are among the text's own: a model's inventions are left out.

    >>> kept("neural network theory", {"neural", "network"})
    'neural network'
    """
    return " ".join(word for word in WORD.findall(part) if word.lower() in own)


def read_decoupled(graph: AttributedGraph, path: str | Path) -> AttributedGraph:
    """A graph with columns `signal` and `noise` from a file that `by_model` wrote.

    A node that the file does not have keeps its text as signal; the column `how` says what became of each, the notes
    count. Raises `UserError` for a line that is no split.
    """
    place = next((found for found in (Path(graph.source).parent / path, Path(path)) if found.is_file()), None)
    if place is None:
        raise UserError(f"decoupled={path}: there is no such file")
    rows = {str(row["id"]): row for row in _read_lines(place)}
    texts = graph.texts if graph.texts is not None else np.full(graph.nodes, None, dtype=object)
    found = [
        rows.get(str(key), {"signal": text, "noise": None, "how": "absent" if text else "no text"})
        for key, text in zip(graph.node_ids, texts, strict=True)
    ]
    how = Counter(row["how"] for row in found)
    notes = tuple(
        f"{how[what]} of {graph.nodes} nodes: {what}" for what in ("kept raw", "no answer", "absent") if how[what]
    )
    made = graph.with_columns(**{part: [row[part] for row in found] for part in ("signal", "noise", "how")})
    return replace(made, notes=(*made.notes, *notes))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append({part: row[part] for part in ("id", "signal", "noise", "how")} | row)
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: line {number} has no id, signal, noise and how; leave it out") from None
    return rows


# Without a language model ---------------------------------------------------------------------------------------------


def lexical(texts: Sequence[str | None] | Shaped[np.ndarray, " n"], task: str, share: float, base: str) -> list[Split]:
    """The words of each text nearest to the task are its signal, this share of them; the others its noise.

    Words are compared by their vectors in `base`, in the text's own order. With an empty task the yardstick is what all
    texts have in common: words far from it are the signal.

    >>> lexical(["red apples grow", None], "apples", 0.5, "hashed")
    [('red apples', 'grow'), (None, None)]
    """
    words = [WORD.findall(text) if text else [] for text in texts]
    place = {word: number for number, word in enumerate(dict.fromkeys(word for row in words for word in row))}
    if not place:
        return [(None, None)] * len(words)
    vectors = text_vectors(list(place), base)
    if task:
        near = vectors @ text_vectors([task], base)[0]
    else:
        counts = torch.tensor([place[word] for row in words for word in row]).bincount(minlength=len(place))
        near = -(vectors @ (counts.float() @ vectors))
    return [_divided(row, near[[place[word] for word in row]], share) for row in words]


def at_random(texts: Sequence[str | None] | Shaped[np.ndarray, " n"], share: float) -> list[Split]:
    """A share of each text's words at random as its signal: a split that knows nothing."""
    generator = rng(0, "split at random")
    words = [WORD.findall(text) if text else [] for text in texts]
    return [_divided(row, torch.rand(len(row), generator=generator), share) for row in words]


def _divided(words: Sequence[str], score: Tensor, share: float) -> Split:
    """The best words and the others, at least one of each where there are two."""
    if not words:
        return None, None
    count = min(max(1, round(share * len(words))), max(1, len(words) - 1))
    best = set(torch.sort(score, descending=True, stable=True).indices[:count].tolist())
    parts = ([word for i, word in enumerate(words) if (i in best) is signal] for signal in (True, False))
    signal, noise = (" ".join(part) or None for part in parts)
    return signal, noise


def stripped(
    texts: Sequence[str | None] | Shaped[np.ndarray, " n"], names: Sequence[str]
) -> tuple[list[str | None], int]:
    """Texts without the words of class names, and how many had one: a split may have written the class down.

    >>> stripped(["theory of nets", "graphs"], ["Theory"])
    (['of nets', 'graphs'], 1)
    """
    words = {word.lower() for name in names for word in WORD.findall(name)}
    found, changed = [], 0
    for text in texts:
        own = WORD.findall(text) if text else []
        left = [word for word in own if word.lower() not in words]
        changed += len(left) < len(own)
        found.append(text if len(left) == len(own) else " ".join(left) or None)
    return found, changed
