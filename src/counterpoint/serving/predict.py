"""What `predict` does, callable from Python; it prints nothing."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterpoint import jobs
from counterpoint.errors import UserError
from counterpoint.files import atomic_path
from counterpoint.serving.search import Say, require
from counterpoint.training import Predictions, Run, load

ROWS = 4096
"""Rows predicted at a time."""


def predict(run: Path, data: Path, output: Path | None = None, say: Say = jobs.silent) -> list[dict[str, Any]]:
    """What a run's method says of each row of a file: id, label, and what else it has to say.

    With `output` the same goes to a Parquet file, whole or not at all: `id`, `label`, a column for each
    `probability CLASS`, `weight VIEW` and `variance VIEW`, and the file's other columns. Raises `UserError` when the
    method does not predict, or the file cannot be read as the run's data were.
    """
    method: Any = require(load(run), "predict")
    if output is not None and output.is_dir():
        raise UserError(f"{output} is a folder; name a file to write, such as {output / 'predictions.parquet'}")
    table = jobs.read_for(Run(run), data)
    parts = [table.rows(slice(start, start + ROWS)) for start in range(0, len(table), ROWS)]
    said = [(part, method.predict(part)) for part in parts]
    silent = sum(label is None for _, found in said for label in found.labels)
    if silent:
        say(f"{data}: {silent} of {len(table)} rows have none of the run's views, so nothing is said of them")
    if output is not None:
        with atomic_path(output) as temporary:
            columns = [_columns(part, found) for part, found in said]
            pq.write_table(pa.concat_tables(columns, promote_options="default"), temporary)
    return [{"id": jobs.plain(key), **row} for part, found in said for key, row in zip(part.ids, found, strict=True)]


def _columns(table: Any, found: Predictions) -> pa.Table:
    """Predictions of some rows as columns, with the columns the rows came with."""
    columns: dict[str, Any] = {"id": pa.array(table.ids, from_pandas=True), "label": pa.array(list(found.labels))}
    if found.probabilities is not None:
        for name, values in zip(found.classes, found.probabilities.T, strict=True):
            columns[f"probability {name}"] = pa.array(values.numpy(), from_pandas=True)
    for part, of in (("weight", found.weights), ("variance", found.variances)):
        columns |= {f"{part} {name}": pa.array(values.numpy(), from_pandas=True) for name, values in of.items()}
    for name, values in table.columns.items():
        columns[f"{name} (table)" if name in columns else name] = pa.array(values, from_pandas=True)
    return pa.table(columns)
