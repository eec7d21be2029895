"""What `impute` does, callable from Python; it prints nothing."""

from pathlib import Path
from typing import Any

from counterpoint import jobs
from counterpoint.errors import UserError
from counterpoint.serving.search import Say, require
from counterpoint.training import Run, load


def impute(
    run: Path,
    data: Path,
    target: str,
    output: Path,
    known: Path | None = None,
    k: int = 10,
    say: Say = jobs.silent,
) -> dict[str, Any]:
    """Fill in the `target` view of the rows of a file that lack it, and write the rows as Parquet.

    The values come from the k rows of `known` (default: the run's own data file) that fit a row's other views best.
    The file written has the rows' own columns, the views and `imputed`, true where the view was filled in. Returns how
    many rows there are, how many were filled in and how many still lack the view. Raises `UserError` when a file
    cannot be read as the run's data were, or for a target that cannot be filled in.
    """
    from counterpoint.multimodal.reading.written import write_table

    method: Any = require(load(run), "impute")
    opened = Run(run)
    if output.is_dir():
        raise UserError(f"{output} is a folder; name a file to write, such as {output / 'filled.parquet'}")
    views = list(method.facts["views"])
    source = known or _own_file(opened)
    candidates = jobs.read_for(opened, source, [target])
    rows = jobs.read_for(opened, data, _views_in(opened, data, views))
    filled = method.impute(rows, target, candidates, k)
    write_table(output, filled)
    made = filled.columns["imputed"]
    left = int((~filled.views[target].present).sum())
    say(f"{data}: view {target} of {int(made.sum())} of {len(rows)} rows filled in from {source}")
    if left:
        say(f"{left} rows lack {target} and every other view of the run, and stay as they are")
    return {"file": str(output), "rows": len(rows), "imputed": int(made.sum()), "missing": left}


def _own_file(run: Run) -> Path:
    """The file that the run was fitted on."""
    named = (run.config().get("data") or {}).get("source", "its data file")
    if not Path(named).exists():
        raise UserError(
            f"{named}: no such file, which {run.folder} was fitted on; name rows to take values from: --known"
        )
    return Path(named)


def _views_in(run: Run, path: Path, views: list[str]) -> list[str]:
    """The run's views of which a file has any column."""
    from counterpoint.multimodal.reading.sources import open_source

    columns = run.config()["data"]["reader"]["view"]
    names = set(open_source(path).schema.names)
    return [view for view in views if names & set(columns[view])]
