"""What `cluster` does, callable from Python; it prints nothing."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Int, Shaped

from counterpoint import jobs
from counterpoint.errors import UserError, nearest
from counterpoint.files import atomic_path
from counterpoint.serving.cluster_many import Many, TooManyError, cluster_many
from counterpoint.serving.duplicates import near_duplicates
from counterpoint.serving.search import Say, require
from counterpoint.text.clusters.clusterers import check_algorithm, medoids
from counterpoint.text.clusters.clustering import DEFAULT
from counterpoint.text.files import is_text, plain, read_file, texts_of
from counterpoint.text.readers import GROUPS, IDS
from counterpoint.text.scripts import scripts_of
from counterpoint.training import Run, load
from counterpoint.training.progress import Progress

GRAPH = "near-duplicates"
LARGE = 5_000
"""Different texts above which distances are no longer held for all pairs: algorithms go by parts, or from vectors."""
BLOCK = 4096
"""Texts embedded at a time."""
SHOWN = 20
"""Largest clusters that are told."""
USUAL = ("claim", "text", "statement", "title")
"""Columns of texts that need not be named."""


@dataclass(frozen=True)
class Wish:
    """How to cluster: an algorithm or "auto"; the least cosine of texts that belong together, or how many clusters."""

    algorithm: str = "auto"
    threshold: float | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        if self.algorithm not in ("auto", GRAPH):
            check_algorithm(self.algorithm)
        if self.threshold is not None and not -1 < self.threshold < 1:
            raise UserError(f"--threshold {self.threshold}: a cosine between -1 and 1, such as 0.9")
        if self.threshold is not None and self.number is not None:
            raise UserError("--threshold and -k are two ways to say how many clusters there are; give one")
        if self.threshold is not None and self.algorithm == "kmeans":
            raise UserError("kmeans has no threshold; give -k")
        if self.number is not None and self.algorithm == GRAPH:
            raise UserError("near-duplicates finds the number of clusters itself; give --threshold")


def cluster(
    run: Path,
    data: Path,
    output: Path | None = None,
    wish: Wish = Wish(),
    column: str | None = None,
    progress: bool = False,
    say: Say = jobs.silent,
) -> dict[str, Any]:
    """Group the texts of a file that say the same; returns what was done, and the cluster and medoid of every row.

    `column` names the texts. Equal texts are one; blank ones are in no cluster and counted, as are texts longer than
    the encoder reads. With `output` (.csv, .tsv or .parquet) the rows go to that file: id, cluster, size, medoid. The
    vectors are in a temporary file. Above `LARGE` different texts "auto" takes the best algorithm on the development
    texts that there is room for. Raises `UserError` for a run whose method does not cluster, a file without texts, or
    an algorithm for which the texts are too many.
    """
    method: Any = require(load(run), "cluster")
    _check_output(output)
    table = read_file(data)
    name = _text_column(table, column, Run(run), data)
    texts = texts_of(table[name].cast(pa.large_string()))
    different = {text: row for row, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    place = np.array([-1 if text is None else different[text] for text in texts], dtype=np.int64)
    if not different:
        raise UserError(f'{data}: column "{name}" has no text')
    say(f"{data}: {len(texts)} rows, {len(different)} different texts; {scripts_of(different)}")
    if blank := int((place < 0).sum()):
        say(f"{data}: {blank} of {len(texts)} rows have no text in column {name} and are in no cluster")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "vectors.npy"
        vectors, cut = embedded(method, list(different), store, Progress("embed", len(different), on=progress))
        if cut:
            longest = method.facts["base"]["max_length"]
            say(f"{cut} of {len(different)} texts are longer than {longest} tokens and cut there")
        found = _found(method, vectors, wish, progress, say)
        stands = medoids(vectors, found["assigned"])
        del vectors
    known, rows = list(different), place >= 0
    assigned = np.where(rows, found.pop("assigned")[place], -1)
    told = np.array([known[stands[at]] if at >= 0 else None for at in place.tolist()], dtype=object)
    result = {"rows": len(texts), "texts": len(different), "blank": blank, "cut": cut, **found}
    result |= _sizes(assigned[rows], told[rows])
    if output is None:
        ids = _ids(table)
        return result | {"assigned": [
            {"id": jobs.plain(key), "cluster": number if number >= 0 else None, "medoid": text}
            for key, number, text in zip(ids, assigned.tolist(), told.tolist(), strict=True)
        ]}  # fmt: skip
    _write(output, _ids(table), assigned, told)
    return result | {"file": str(output)}


def embedded(method: Any, texts: list[str], store: Path, watched: Progress) -> tuple[Float32[np.ndarray, "n d"], int]:
    """Unit vectors of texts in a file, made a block at a time, and how many texts were cut."""
    vectors = np.lib.format.open_memmap(store, mode="w+", dtype=np.float32, shape=(len(texts), method.encoder.width))
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    cut = 0
    with watched as bar, torch.no_grad():
        for start in range(0, len(order), BLOCK):
            rows = order[start : start + BLOCK]
            tokens = method.encoder.tokenise([texts[row] for row in rows], method.prompt(""))
            vectors[rows] = method.encoder(tokens).cpu().numpy()
            cut += int(tokens.truncated.sum())
            bar.update(start + len(rows))
    return vectors, cut


def _found(method: Any, vectors: Float32[np.ndarray, "n d"], wish: Wish, progress: bool, say: Say) -> dict[str, Any]:
    """The cluster of each vector as `assigned`, and how it was found."""
    if wish.algorithm == GRAPH:
        return _graph(method, vectors, wish.threshold, progress, say)
    knob = None if wish.threshold is None else 1 - wish.threshold
    if len(vectors) > LARGE:
        return _many(method, vectors, wish, knob, progress, say)
    made = method.cluster_vectors(vectors, wish.algorithm, knob, wish.number)
    chosen = {} if made.knob is None else {"knob": made.knob.value, "development_ari": made.knob.ari}
    return {"assigned": made.assigned, "algorithm": made.algorithm, **chosen}


def _graph(
    method: Any, vectors: Float32[np.ndarray, "n d"], threshold: float | None, progress: bool, say: Say
) -> dict[str, Any]:
    """The connected parts of the graph of near-duplicates."""
    if threshold is None:
        threshold = 1 - method.knobs(("dbscan",))["dbscan"].value
        say(f"texts belong together from a cosine of {threshold:.3f}: what does best on the development texts")
    with Progress(GRAPH, len(vectors), on=progress) as bar:
        graph = near_duplicates(vectors, threshold, bar.update)
    _say_recall(graph.recall, say)
    search = {"search": graph.kind, "recall": graph.recall}
    return {"assigned": graph.assigned, "algorithm": GRAPH, "threshold": threshold, **search}


def _many(
    method: Any, vectors: Float32[np.ndarray, "n d"], wish: Wish, knob: float | None, progress: bool, say: Say
) -> dict[str, Any]:
    """The clusters of many texts by the algorithm that is wished for, or by the best one that there is room for."""
    given = knob is not None or wish.number is not None
    name = DEFAULT if wish.algorithm == "auto" and given else wish.algorithm
    knobs = {} if given else method.knobs() if name == "auto" else method.knobs((name,))
    ranked = sorted(knobs, key=lambda one: -knobs[one].ari) or [name]

    def tried(name: str, *others: str) -> tuple[str, Many]:
        try:
            with Progress(name, len(vectors), on=progress) as bar:
                at = knobs[name].value if knobs else knob
                return name, cluster_many(vectors, name, at, wish.number, bar.update)
        except TooManyError as error:
            if not others:
                raise
            say(f"{str(error).partition(';')[0]}: the next best algorithm on the development texts is taken")
            return tried(*others)

    name, found = tried(*ranked)
    _say_recall(found.recall, say)
    chosen = {"knob": knobs[name].value, "development_ari": knobs[name].ari} if knobs else {}
    search = {} if found.search is None else {"search": found.search, "recall": found.recall}
    return {"assigned": found.assigned, "algorithm": name, **chosen, **search}


def _say_recall(recall: float, say: Say) -> None:
    if recall < 1:
        say(f"the search is approximate: it finds {100 * recall:.1f} % of the pairs of sampled texts")


def _sizes(assigned: Int[np.ndarray, " n"], told: Shaped[np.ndarray, " n"]) -> dict[str, Any]:
    """How many clusters there are, and the largest."""
    numbers, first, counts = np.unique(assigned, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    largest = [{"cluster": int(numbers[i]), "rows": int(counts[i]), "medoid": told[first[i]]} for i in order]
    return {"clusters": len(numbers), "alone": int((counts == 1).sum()), "largest": largest}


def _text_column(table: pa.Table, given: str | None, run: Run, data: Path) -> str:
    """The column of texts: the one named, one that the run was fitted on, a usual one, or the only one."""
    names: list[str] = [field.name for field in table.schema if is_text(field.type)]
    if given is not None:
        if given not in names:
            raise UserError(f"{data}: --text {given}: no column of texts; {nearest(given, names)}")
        return given
    views: dict[str, list[str]] = ((run.config().get("data") or {}).get("reader") or {}).get("view") or {}
    fitted = [column for columns in views.values() for column in columns]
    for name in (*fitted, *USUAL):
        if name in names:
            return name
    left = [name for name in names if name not in (*IDS, *GROUPS)]
    if len(left) != 1:
        raise UserError(f"{data}: which column has the texts? name it: --text COLUMN {nearest('', names)}")
    return left[0]


def _ids(table: pa.Table) -> Shaped[np.ndarray, " n"]:
    key = next((name for name in IDS if name in table.column_names), None)
    values = None if key is None else plain(table[key])
    return np.arange(len(table)) if values is None else values


def _check_output(output: Path | None) -> None:
    if output is not None and (output.is_dir() or output.suffix not in (".csv", ".tsv", ".parquet")):
        raise UserError(f"{output}: name a file to write that ends in .csv, .tsv or .parquet")


def _write(path: Path, ids: Any, assigned: Int[np.ndarray, " n"], told: Any) -> None:
    """One row per row of the file that was read."""
    _, number, counts = np.unique(assigned, return_inverse=True, return_counts=True)
    missing = assigned < 0
    made = pa.table({
        "id": pa.array(ids, from_pandas=True),
        "cluster": pa.array(assigned, mask=missing),
        "size": pa.array(counts[number], mask=missing),
        "medoid": pa.array(told, pa.large_string(), from_pandas=True),
    })  # fmt: skip
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(made, temporary)
        else:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            pa.csv.write_csv(made, temporary, pa.csv.WriteOptions(delimiter=delimiter))
