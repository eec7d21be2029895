"""What the commands do, callable from Python: they read, train, judge and write; they print nothing.

`say` is called with each remark for a person (what was recognised in the data, warnings).
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint import catalog, launch, options, reports, vectors
from counterpoint.card import model_card
from counterpoint.errors import UserError, nearest, need
from counterpoint.evaluation.outcome import Key, Outcome
from counterpoint.evaluation.predictions import Better
from counterpoint.evaluation.significance import Interval, bootstrap, summary_with_intervals
from counterpoint.files import atomic_path, write_json, write_text
from counterpoint.training import Method, Run, Trainer, budget, doubt, load
from counterpoint.training.budget import Budget
from counterpoint.training.progress import Progress

Say = Callable[[str], None]
PARTS = ("train", "validation", "test")
SHARES = "train=.6,validation=.2,test=.2"
"""How rows are divided, unless a user or the data (events in time) say otherwise."""


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Fit:
    """One fit: a method of the catalog, a data file, `key=value` options for both, and where the run folder goes.

    `split` gives shares, "train=.6,validation=.2,test=.2", or how events are divided in time; None: the data's usual
    way. A part with a file of its own (`validation`, `test`) is not split off. `label` names a column of classes to
    probe the vectors with, or that a supervised method learns; `picture` a view to show, "pix:16x15"; `track`
    experiment trackers ("tensorboard", "mlflow").
    """

    method: str
    data: Path
    out: Path
    options: Sequence[str] = ()
    seed: int = 0
    resume: bool = False
    split: str | None = None
    validation: Path | None = None
    test: Path | None = None
    label: str | None = None
    picture: str | None = None
    device: str = "auto"
    precision: Any = "32-true"
    chunk: int = 0
    save_every: int = 0
    progress: bool = False
    track: Sequence[str] = ()


def fit(request: Fit, say: Say = silent) -> dict[str, Any]:
    """Train, judge on the test rows beside the row's baseline, and fill the run folder; returns evaluation.json.

    Within several ranks all train, the first judges and writes, and the others return an empty dictionary.
    Raises `UserError` for anything about the data, the options or the folder that the user can mend.
    """
    row = catalog.row(request.method)
    baseline = catalog.row(row.against).load()() if row.against is not None else None
    if request.label is not None:
        need("sklearn", "eval")
    reading, given = options.divide(request.options, row.reader(), row.load().Config)
    request, given = _supervised(request, given, row.load().Config)
    method = row.load()(**given)
    table = row.reader().read(request.data, **reading)
    _introduce(table, say, method)
    if slow := doubt(request.precision, request.device):
        say(slow)
    stored = _reader_options(table, reading)
    parts = _parts(request, table, lambda path: row.reader().read(path, **stored), say)
    picture = _picture(request.picture, table)
    _known_column(request.label, table)
    description = {
        "source": str(request.data),
        "reader": stored,
        "split": request.split or usual_split(table),
        "files": {name: str(path) for name in PARTS[1:] if (path := getattr(request, name)) is not None},
        "rows": {name: len(part) for name, part in parts.items()},
        "display": {"label": request.label, "picture": request.picture or _own_picture(table)},
    }
    run = Run(request.out, data=description, resume=request.resume)
    if hasattr(method, "calls"):
        method.calls = run.folder / "calls.sqlite"
    with launch.group():
        method.fit(parts["train"], parts.get("validation"), _trainer(request, run))
    if not launch.is_first():
        return {}
    evaluation = _judge(row, method, baseline, parts, request)
    write_json(run.folder / "evaluation.json", evaluation)
    if hasattr(method, "embed"):
        vectors.write_vectors(run.folder / "embeddings.parquet", method, embedded(method, parts).items(), about(run))
    if hasattr(table, "keep"):
        table.keep(run.folder)
    _write_display(run.folder / "display.parquet", parts.values(), evaluation, picture)
    write_text(run.folder / "README.md", model_card(row, run.config(), evaluation))
    return evaluation | {"run": str(run.folder), "report": report_of(run.folder, say)}


def plan(
    method: str,
    data: Path,
    given: Sequence[str] = (),
    split: str | None = None,
    device: str = "auto",
    precision: Any = "32-true",
    say: Say = silent,
) -> Budget:
    """Measure what a fit with the same arguments will need in memory and time; trains nothing and writes nothing."""
    row = catalog.row(method)
    reading, chosen = options.divide(given, row.reader(), row.load().Config)
    table, made = row.reader().read(data, **reading), row.load()(**chosen)
    _introduce(table, say, made)
    train = _divided(table, split or usual_split(table), {}, 0)["train"]
    return replace(budget.plan(made, train, device, precision), method=row.name)


def evaluate(run: Path, data: Path, say: Say = silent) -> dict[str, Any]:
    """Judge a fitted run on a file of other rows, with the views it was fitted on."""
    method = load(run)
    table = read_for(Run(run), data, judged=True)
    _introduce(table, say)
    outcome = type(method).judge(method, table)
    return {"method": method.name, "rows": len(outcome.ids), "measures": _measures(outcome)}


def embed(
    run: Path,
    data: Path,
    output: Path,
    given: Sequence[str] | None = None,
    progress: bool = False,
    say: Say = silent,
) -> Path:
    """Write the vectors of other rows to a Parquet file; `given` names the views to use, default all of the run.

    A process that was stopped is taken up where it was, while run, data and views are the same.
    """
    method = load(run)
    if not hasattr(method, "embed"):
        raise UserError(f"{method.name} makes no vectors")
    table = read_for(Run(run), data, given)
    _introduce(table, say)
    origin = about(Run(run)) | {"data": table.fingerprint(), "given": json.dumps(given)}
    with Progress("embed", len(table), on=progress) as bar:
        vectors.resume_vectors(output, method, table, origin, bar.update)
    return output


def retrieve(
    run: Path,
    target: str,
    given: Sequence[str],
    rows: Path,
    candidates: Path | None = None,
    k: int = 10,
    say: Say = silent,
) -> list[dict[str, Any]]:
    """For each row, the k candidates whose `target` view fits its `given` views best.

    Candidates are the run's own rows unless a file is given. Rows need only the given views, candidates only the
    target.
    """
    from counterpoint.multimodal.use import check_views

    method: Any = load(run)
    if not hasattr(method, "retrieve"):
        raise UserError(f"{method.name} finds no views from others; use: counterpoint embed, index and search")
    check_views(method, target, given)
    queries = read_for(Run(run), rows, given)
    if candidates is not None:
        found = method.retrieve(queries, target, given, read_for(Run(run), candidates, [target]), k)
    else:
        ids, encoded = _own_rows(run, target)
        found = method.retrieve(queries, target, given, encoded, k, ids=ids)
    return [
        {
            "id": plain(query),
            "found": [{"id": plain(i), "score": s} for i, s in zip(ids, scores.tolist(), strict=True)],
        }
        for query, ids, scores in zip(queries.ids, found.ids, found.scores, strict=True)
    ]


def verify(
    method: str, quick: bool = False, workers: int = 2, out: Path | None = None, progress: bool = False
) -> list[dict[str, Any]]:
    """Run the claims of a method, or the one of that name, and return what their result files say.

    `out` defaults to runs/claims. The quick form is that of the first claim alone.
    """
    from counterpoint import claims
    from counterpoint.claims.units import load_claim

    folder = out or Path("runs/claims")
    one = quick or ":" in method or method not in catalog.rows()
    further = () if one else catalog.row(method).further_claims
    results = []
    for target in (method, *further):
        path = claims.result_path(folder, load_claim(target).name, quick)
        claims.verify(target, folder=folder, quick=quick, workers=workers, progress=progress)
        results.append(json.loads(path.read_text(encoding="utf-8")))
    return results


def explain(run: Path) -> dict[str, Any]:
    """What a fitted method says of its structures; writes it into the run folder as a page, too.

    Raises `UserError` when the method has none.
    """
    method: Any = load(run)
    if not hasattr(method, "explain"):
        able = ", ".join(row.name for row in catalog.rows().values() if callable(getattr(row.load(), "explain", None)))
        raise UserError(f"{method.name} does not say which views share what; these methods do: {able}")
    found: dict[str, Any] = method.explain()
    page = reports.write_structures(run, found)
    return found | {"page": str(page)}


def report(run: Path) -> Path:
    """Write a run's report page again."""
    Run(run).config()
    return reports.write(run)


def report_of(folder: Path, say: Say) -> str | None:
    """Write a run's page and give its path; a fit is not lost because the report's own packages are absent."""
    try:
        return str(reports.write(folder))
    except UserError as reason:
        say(f"no report page: {reason}")
        return None


def _introduce(table: Any, say: Say, method: Method | None = None) -> None:
    """Say what was recognised in a table, what looks wrong with it, and what a method to be fitted makes of it."""
    say(f"{table.source}: {len(table)} rows")
    for view in table.schema():
        holes = f", {100 * view['missing']:.1f} % missing" if view["missing"] else ""
        shape = f"{view['kind']}, {view['width']} {view.get('unit', 'wide')}, {view['rows']} rows{holes}"
        say(f"  view {view['view']}: {shape} ({view['columns']})")
    for text in table.warnings():
        say(text if text in table.notes else f"warning: {text}")
    for text in () if method is None else method.remarks(table):
        say(text)


def _reader_options(table: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What reads another file the same way: columns and kind of each view, and what the user gave."""
    views = {name: list(view.columns) for name, view in table.views.items()}
    kinds = {name: view.kind for name, view in table.views.items() if hasattr(view, "kind")}
    return {**given, **({"view": views} if views else {}), **({"kind": kinds} if kinds else {})}


def about(run: Run) -> dict[str, str]:
    """What a file of vectors says about where they come from."""
    return {"run": str(run.folder), "weights": run.fingerprint()}


def read_for(run: Run, path: Path, views: Sequence[str] | None = None, judged: bool = False) -> Any:
    """Read a file as the run's data were read, some views only when named; only what is judged needs its groups."""
    config = run.config()
    stored = (config.get("data") or {}).get("reader")
    if stored is None:
        raise UserError(
            f"{run.folder}/config.yaml does not say how to read a file; only `counterpoint fit` writes that"
        )
    stored = {name: value for name, value in stored.items() if judged or name != "group"}
    if views is not None:
        for name in views:
            if name not in stored["view"]:
                raise UserError(f'unknown view "{name}"; {nearest(name, stored["view"])}')
        kept = {part: {name: stored[part][name] for name in views} for part in ("view", "kind") if part in stored}
        stored |= {**kept, "least_views": 1}
    return catalog.row(config["method"]).reader().read(path, **stored)


def usual_split(table: Any) -> str:
    """How data are divided unless a user says so."""
    return str(getattr(table, "usual_split", SHARES))


def _parts(request: Fit, table: Any, read: Callable[[Path], Any], say: Say) -> dict[str, Any]:
    """The rows of each part: from files of their own, or divided; says what dividing left out."""
    files = {name: read(path) for name in PARTS[1:] if (path := getattr(request, name)) is not None}
    parts = _divided(table, request.split or usual_split(table), files, request.seed)
    for text in dict.fromkeys(note for part in parts.values() for note in part.notes if note not in table.notes):
        say(text)
    return parts


def _divided(table: Any, split: str, files: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Parts by share of the rows, or as data that happened in time divide themselves."""
    if hasattr(table, "divide"):
        found: dict[str, Any] = table.divide(split, files)
        return found
    shares = {name: share for name, share in _shares(split).items() if name not in files}
    total = sum(shares.values())
    scaled = {name: share / total for name, share in shares.items()}
    parts = {"train": table} if len(scaled) == 1 else table.split(scaled, seed=seed)
    return {**parts, **files}


def embedded(method: Method, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What embeddings.parquet holds: the rows of all parts, or what a method says of itself (its items)."""
    own: Callable[[], Mapping[str, Any]] | None = getattr(method, "embedded", None)
    return parts if own is None else own()


def _shares(text: str) -> dict[str, float]:
    """Shares by name from "train=.6,validation=.2,test=.2".

    >>> _shares("train=.8,test=.2")
    {'train': 0.8, 'test': 0.2}
    """
    example = f"write {SHARES}"
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if name not in PARTS or name in shares:
            raise UserError(f'--split {text}: "{name}" is not a part or given twice; {example}')
        try:
            shares[name] = float(value)
        except ValueError:
            raise UserError(f'--split {text}: "{value}" is not a number; {example}') from None
    if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6 or "train" not in shares:
        raise UserError(f"--split {text}: shares must be above 0, add up to 1 and include train; {example}")
    return shares


def _picture(text: str | None, table: Any) -> tuple[str, tuple[int, int]] | None:
    """The view and shape of "pix:16x15"."""
    if text is None:
        return None
    view, _, shape = text.rpartition(":")
    sides = shape.split("x")
    if not view or len(sides) != 2 or not all(side.isdigit() for side in sides):
        raise UserError(f"--picture {text}: write VIEW:ROWSxCOLUMNS, such as pix:16x15")
    if view not in table.views:
        raise UserError(f'--picture {text}: unknown view "{view}"; {nearest(view, table.views)}')
    height, width = map(int, sides)
    width_of_view = table.views[view].width
    if height * width != width_of_view:
        raise UserError(f"--picture {text}: {height} x {width} is not the {width_of_view} numbers of the view")
    return view, (height, width)


def _supervised(request: Fit, given: dict[str, Any], config: Any) -> tuple[Fit, dict[str, Any]]:
    """A method with the option `label` learns the column that the report shows: --label and label= say the same."""
    if "label" not in config.model_fields:
        return request, given
    given = ({} if request.label is None else {"label": request.label}) | given
    return replace(request, label=given.get("label")), given


def _own_picture(table: Any) -> str | None:
    """The first view of pictures, as the report knows it."""
    found = (name for name, view in table.views.items() if getattr(view, "kind", None) == "pictures")
    return next((f"{name}:pictures" for name in found), None)


def _known_column(name: str | None, table: Any) -> None:
    if name is not None and name not in table.columns:
        known = nearest(name, table.columns)
        raise UserError(f"--label {name}: {table.source} has no such column beside its views; {known}")


def _trainer(request: Fit, run: Run | None = None) -> Trainer:
    return Trainer(
        seed=request.seed,
        run=run,
        device=request.device,
        precision=request.precision,
        chunk=request.chunk,
        save_every=request.save_every if run is not None else 0,
        progress=request.progress,
        trackers=_trackers(request, run) if run is not None and request.track else (),
    )


def _trackers(request: Fit, run: Run) -> list[Any]:
    from counterpoint.training.trackers import tracker  # slow to import

    return [tracker(name, run.folder) for name in request.track]


def _judge(
    row: catalog.Row, method: Method, baseline: Method | None, parts: Mapping[str, Any], request: Fit
) -> dict[str, Any]:
    """What evaluation.json holds: measures with intervals, the paired difference to the baseline, the assessment."""
    if "test" not in parts:
        return {"method": row.name, "rows": 0, "measures": {}, "against": None, "assessment": {}}
    started = time.perf_counter()
    outcome = type(method).judge(method, parts["test"])
    assess = getattr(type(method), "assess", None)
    return {
        "method": row.name,
        "rows": len(outcome.ids),
        "measures": _measures(outcome),
        "against": _against(baseline, outcome, parts, request) if baseline is not None else None,
        "assessment": assess(method, parts["train"], parts["test"], label=request.label) if assess else {},
        "seconds": round(time.perf_counter() - started, 2),
    }


def _against(baseline: Method, outcome: Outcome, parts: Mapping[str, Any], request: Fit) -> dict[str, Any]:
    """Fit the baseline on the same rows and pair its outcome with ours."""
    baseline.fit(parts["train"], parts.get("validation"), _trainer(request))
    theirs = type(baseline).judge(baseline, parts["test"])
    against: dict[str, Any] = compared(baseline.name, outcome, theirs)["against"]
    return against


def compared(name: str, ours: Outcome, theirs: Outcome) -> dict[str, Any]:
    """The measures of an outcome, and against those of another one on the same rows, which has a name."""
    shared = [measure for measure in ours.measures if measure in theirs.measures]
    against = {"name": name, "measures": _measures(theirs), "difference": _differences(ours, theirs, shared)}
    return {"measures": _measures(ours), "against": against}


def _differences(ours: Outcome, theirs: Outcome, measures: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Ours minus theirs, paired over the rows."""
    outcomes = {Key("ours", 0): ours, Key("theirs", 0): theirs}
    gaps = [partial(Better(measure, "ours", "theirs"), outcomes) for measure in measures]
    return {name: _cell(value) for name, value in zip(measures, bootstrap(gaps, outcomes), strict=True)}


def _measures(outcome: Outcome) -> dict[str, dict[str, float | None]]:
    return {name: _cell(value) for name, value in summary_with_intervals(outcome).items()}


def _cell(value: Interval) -> dict[str, float | None]:
    """An interval as JSON, which has no NaN."""
    numbers = {"value": value.estimate, "low": value.low, "high": value.high}
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


def _own_rows(run: Path, target: str) -> tuple[np.ndarray, Any]:
    """The run's own rows as candidates, from the vectors it kept."""
    import torch

    from counterpoint.training import Encoded

    ids, values, present = vectors.read_view(run / "embeddings.parquet", target)
    return ids, Encoded({target: torch.from_numpy(values)}, {target: torch.from_numpy(present)})


def _write_display(
    path: Path, tables: Any, evaluation: Mapping[str, Any], picture: tuple[str, tuple[int, int]] | None
) -> None:
    """What the report shows of rows beside their ids: a view of numbers drawn as asked, else pictures and words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    examples = evaluation["assessment"].get("examples") or []
    needed = {key for one in examples for key in (one["query"], *one["found"])}
    blocks = []
    for table in tables:
        shown = table.display(needed, pictures=picture is None) if hasattr(table, "display") else None
        if picture is not None:
            view, shape = picture
            drawn = {
                "id": pa.array(table.ids),
                "picture": [reports.png(row, shape) for row in table.views[view].values],
            }
            shown = pa.table(drawn) if shown is None else pa.table(drawn).join(shown.drop_columns("picture"), "id")
        if shown is not None:
            blocks.append(shown)
    if blocks:
        with atomic_path(path) as temporary:
            pq.write_table(pa.concat_tables(blocks), temporary)


def plain(value: Any) -> Any:
    """A number or text of numpy as Python's own, for JSON."""
    return value.item() if isinstance(value, np.generic) else value
