"""What `topics` does, callable from Python; it prints nothing."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from counterpoint import catalog, jobs, options
from counterpoint.card import model_card
from counterpoint.errors import UserError
from counterpoint.files import atomic_path, write_json, write_text
from counterpoint.reports.topics import write_topics
from counterpoint.serving.search import Say
from counterpoint.training import Run, Trainer

ROW = "gctm-ot"
GOALS = "goals.jsonl"
EXAMPLES = 20
"""Documents of a topic that are told."""
MOST_STEPS = 2500
"""Steps of a fit whose epochs nobody chose."""
STEPS = 100
"""Places of the page's slider."""
USE = """`topics.json` has the topics with their words and documents, `documents.parquet` every document with its topic,
`topics.html` both as a page. New documents: `counterpoint.load(RUN).shares(Corpus.read(FILE))`."""


@dataclass(frozen=True)
class Topics:
    """One question to a corpus: a file of documents, a goal, and where the answer goes.

    `given` are `key=value` options of the reader and of gctm-ot; `model` names a language model that looks for what
    speaks to the goal, None: it is found by vectors. `documents` is a .parquet or .jsonl file for the documents with
    their topics, by default `documents.parquet` in the run folder.
    """

    corpus: Path
    goal: str
    out: Path
    given: Sequence[str] = ()
    model: str | None = None
    documents: Path | None = None
    timeout: float = 60.0
    seed: int = 0
    device: str = "auto"
    precision: Any = "32-true"
    resume: bool = False
    progress: bool = False


def topics(request: Topics, say: Say = jobs.silent) -> dict[str, Any]:
    """Find the topics that answer a goal, write them as data and as a page; returns what topics.json holds.

    All documents are learned from and told, and the measures are of these documents. Beside them stand those of the
    phrases for the goal, clustered: what is gained over them is the method's own. Raises `UserError` for an empty goal,
    for a file, an option or a folder that the user can mend, and when no document speaks to the goal.
    """
    from counterpoint.text.topics.corpus import Corpus
    from counterpoint.text.topics.judge import topic_quality
    from counterpoint.text.topics.model import GCTMOT

    if not request.goal.strip():
        raise UserError('--goal is empty; say what the topics shall answer: --goal "what is bothering people?"')
    _check_output(request.documents)
    reading, fitting = options.divide([*request.given, f"goal={request.goal}"], Corpus, GCTMOT.Config)
    corpus = Corpus.read(request.corpus, **reading)
    say(f"{corpus.source}: {len(corpus)} documents")
    method = _of_many(GCTMOT(**fitting), int(corpus.present.sum()), say)
    asked = None
    if request.model is not None:
        corpus, asked = _asked(request, corpus, say)
    for text in corpus.warnings():
        say(text if text in corpus.notes else f"warning: {text}")
    for text in method.remarks(corpus):
        say(text)
    described = {"source": str(request.corpus), "reader": reading, "command": _command(request)}
    run = Run(request.out, data=described, resume=request.resume)
    trainer = Trainer(
        seed=request.seed, run=run, device=request.device, precision=request.precision, progress=request.progress
    )
    method.fit(corpus, trainer=trainer)
    if method.facts["cut"]:
        say(f"{100 * method.facts['cut']:.1f} % of the documents are longer than the encoder reads; the rest is unread")
    ours = topic_quality(method, corpus)
    result = _beside(method, corpus, ours, request.seed, say)
    evaluation = {"method": ROW, "rows": len(ours.ids), **result, "assessment": {}}
    write_json(run.folder / "evaluation.json", evaluation)
    write_text(run.folder / "README.md", model_card(catalog.row(ROW), run.config(), evaluation, USE))
    found = told(method, corpus) | {"asked": asked, "measures": result["measures"], "against": result["against"]}
    vectors, rows = found.pop("vectors"), found.pop("rows")
    write_json(run.folder / "topics.json", found)
    path = request.documents or run.folder / "documents.parquet"
    _write(path, rows)
    page = write_topics(run.folder, {**found, "vectors": vectors})
    return found | {"run": str(run.folder), "documents_file": str(path), "page": str(page)}


def _of_many(method: Any, documents: int, say: Say) -> Any:
    """The method, with fewer epochs where there are many documents and the user chose none."""
    chosen = method.options
    epochs = max(1, min(chosen.epochs, round(MOST_STEPS * chosen.batch_size / max(1, documents))))
    if "epochs" in method.given or epochs == chosen.epochs:
        return method
    say(f"{documents} documents: {epochs} epochs are about {MOST_STEPS} steps; epochs=N decides otherwise")
    return method.set_params(epochs=epochs)


def told(method: Any, corpus: Any) -> dict[str, Any]:
    """What there is to tell of a fitted model on documents: topics, the best first, and every document's own."""
    from counterpoint.text.topics.goals import nearness
    from counterpoint.text.topics.judge import judged
    from counterpoint.text.topics.views import phrases_of

    there = np.flatnonzero(corpus.present)
    seen = corpus.rows(there)
    shares = np.asarray(method.shares(seen).numpy(), dtype=np.float64)
    best = shares.argmax(1)
    said = [list(row) for row in phrases_of(corpus, method.options.base, method.finder)]
    near = nearness(seen.text.values.tolist(), corpus.goal, method.options.base)
    place = (100 * near.argsort().argsort() // len(near)).astype(int)
    measured, weights = judged(method, seen, shares), method.word_shares().numpy()
    number = {word: column for column, word in enumerate(method.vocabulary)}
    listed: list[dict[str, Any]] = []
    for k, words in enumerate(method.top_words()):
        own = np.flatnonzero(best == k)
        examples = own[np.argsort(-shares[own, k], kind="stable")[:EXAMPLES]]
        listed.append({
            "topic": k,
            "words": [[word, float(weights[k, number[word]])] for word in words],
            "documents": len(own),
            "relevance": float(method.relevance()[k]),
            **{name: values[k] for name, values in measured.items() if name != "unique"},
            "above": [int((place[own] >= step).sum()) for step in range(STEPS)],
            "examples": [
                {
                    "id": jobs.plain(seen.ids[row]),
                    "text": seen.text.values[row],
                    "share": float(shares[row, k]),
                    "near": int(place[row]),
                    "phrases": said[there[row]],
                }
                for row in examples.tolist()
            ],
        })  # fmt: skip
    order = sorted(range(len(listed)), key=lambda k: -listed[k]["goal_alignment"])
    rows = _rows(corpus, there, best, shares, near, said)
    return {
        "source": str(corpus.source).rpartition("/")[2],
        "goal": corpus.goal,
        "documents": len(there),
        "without_text": int(len(corpus) - len(there)),
        "off_goal": int(sum(not said[row] for row in there.tolist())),
        "topics": [listed[k] for k in order],
        "vectors": method.topic_vectors()[order].numpy(),
        "rows": rows,
    }


def _rows(
    corpus: Any,
    there: Any,
    best: Any,
    shares: Float[np.ndarray, "n k"],
    near: Float[np.ndarray, " n"],
    said: list[list[str]],
) -> pa.Table:
    """A row per document of the file; one without a text has no topic."""
    place = np.full(len(corpus), -1)
    place[there] = np.arange(len(there))
    missing = place < 0
    at = np.maximum(place, 0)
    return pa.table({
        "id": pa.array(corpus.ids, from_pandas=True),
        "topic": pa.array(best[at], mask=missing),
        "share": pa.array(shares.max(1)[at], mask=missing),
        "near_goal": pa.array(near[at].astype(np.float64), mask=missing),
        "phrases": pa.array(said, pa.list_(pa.string())),
        "shares": pa.array(
            [None if gone else row for gone, row in zip(missing, shares[at].tolist(), strict=True)],
            pa.list_(pa.float32()),
        ),
    })  # fmt: skip


def _asked(request: Topics, corpus: Any, say: Say) -> tuple[Any, dict[str, Any]]:
    """Let a language model look for phrases, in a file of the run folder, or go on with what stands there."""
    from counterpoint.language import open_model
    from counterpoint.text.topics.goals import LONGEST, by_model, read_goals

    if corpus.candidates is not None:
        raise UserError("goals=FILE and --model are two ways to say what speaks to the goal; give one")
    assert request.model is not None
    path = request.out / GOALS
    model, accounts = open_model(request.model, request.out / "calls.sqlite", timeout=request.timeout)
    if cut := sum(len(text) > LONGEST for text in corpus.text.values if text is not None):
        say(f"{cut} documents are longer than {LONGEST} letters; {request.model} reads their beginning alone")
    counts = by_model(corpus, model, path)
    listed = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    say(f"{request.model}: {listed}; {accounts.calls} calls, {accounts.failures} failed ({path})")
    if not counts["phrases"]:
        raise UserError(
            f"{request.model} found nothing that speaks to the goal ({listed}); reword the goal, or leave out --model"
        )
    return read_goals(corpus, path), {"model": request.model, "counts": dict(counts), **accounts.told()}


def _beside(method: Any, corpus: Any, ours: Any, seed: int, say: Say) -> Mapping[str, Any]:
    """The measures, beside those of k-means of the goal's phrases where there are enough of them."""
    from counterpoint.text.topics.baselines import Clusters
    from counterpoint.text.topics.judge import topic_quality

    chosen = method.options
    names = ("topics", "vocabulary", "least", "stop_words", "base", "most", "words", "threshold", "cue")
    try:
        theirs = Clusters("goal", **{name: getattr(chosen, name) for name in names}).fit(corpus, None, Trainer(seed))
    except UserError as reason:
        say(f"no comparison with clusters of the phrases: {reason}")
        return {"measures": jobs.compared("", ours, ours)["measures"], "against": None}
    return jobs.compared("clusters of the phrases", ours, topic_quality(theirs, corpus))


def _check_output(path: Path | None) -> None:
    if path is not None and (path.is_dir() or path.suffix not in (".parquet", ".jsonl")):
        raise UserError(f"{path}: name a file to write that ends in .parquet or .jsonl")


def _write(path: Path, rows: pa.Table) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(rows, temporary)
        else:
            lines = (json.dumps(row, ensure_ascii=False, default=str) for row in rows.to_pylist())
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _command(request: Topics) -> str:
    words = ["counterpoint", "topics", str(request.corpus), "--goal", request.goal, *request.given]
    more = ["--model", request.model] if request.model else []
    return shlex.join([*words, *more, "--seed", str(request.seed), "--out", str(request.out)])
