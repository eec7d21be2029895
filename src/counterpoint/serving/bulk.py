"""Embedding more rows than one machine should: the same vectors, made by Ray Data's workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from counterpoint import jobs, vectors
from counterpoint.errors import UserError, need
from counterpoint.training import Run, load


class Embedder:
    """Embeds batches of records with a run; each worker loads the run once.

    A batch is an Arrow table with a column `id` and, for each view, a column of lists of numbers (or, for a run on
    texts, one column `text`); the result has `id` and `joint`.
    """

    def __init__(self, run: str | Path) -> None:
        self.method: Any = load(run)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Vectors of one batch; raises `UserError` when it has no ids or a record is wrong."""
        if "id" not in batch.column_names:
            raise UserError(f"the rows have no column id (columns: {', '.join(batch.column_names)})")
        records = batch.drop_columns(["id"]).to_pylist()
        given = [row["text"] for row in records] if batch.column_names == ["id", "text"] else records
        data = type(self.method).Data.of_records(given, self.method.facts, source="batch")
        values = np.ascontiguousarray(self.method.embed(data).detach().float().numpy())
        joint = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        return pa.table({"id": batch["id"], "joint": joint})


def embed(run: Path, rows: str, output: str, workers: int = 1, batch: int = 4096) -> None:
    """Embed the Parquet files of a folder into Parquet files of another; both may be anywhere that Ray Data reads.

    `workers` processes load the run once each. Raises `UserError` when Ray is not installed or `run` is no run.
    """
    Run(run).fingerprint()
    data = need("ray.data", "ray")
    made = data.read_parquet(rows).map_batches(
        Embedder,
        fn_constructor_args=(str(Path(run).resolve()),),
        batch_format="pyarrow",
        batch_size=batch,
        concurrency=workers,
    )
    made.write_parquet(output)


def collect(folder: Path, output: Path, run: Path) -> Path:
    """Put the files that `embed` wrote into one, as `counterpoint index` takes it."""
    import pyarrow.dataset as ds

    vectors.write_tables(output, (pa.table(batch) for batch in ds.dataset(folder).to_batches()), jobs.about(Run(run)))
    return output
