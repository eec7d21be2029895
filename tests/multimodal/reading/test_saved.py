"""Folders that Hugging Face's `datasets` saved are read as a file of the same rows is."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read
from pretrained.tiny_vision import png

datasets: Any = pytest.importorskip("datasets")
VIEWS = {"labs": "lab_*", "note": "note", "scan": "scan"}


def rows(count: int = 20) -> dict[str, list[Any]]:
    random = np.random.default_rng(0)
    return {
        "lab_a": random.normal(size=count).tolist(),
        "lab_b": [None if row % 5 == 0 else float(row) for row in range(count)],
        "note": [None if row % 7 == 0 else f"some words about row {row}" for row in range(count)],
        "scan": [{"bytes": png((row, 0, 0)), "path": None} for row in range(count)],
        "sick": [row % 2 for row in range(count)],
    }


def test_a_saved_data_set_is_a_table(tmp_path: Path) -> None:
    features = datasets.Features({
        "lab_a": datasets.Value("float64"), "lab_b": datasets.Value("float64"), "note": datasets.Value("string"),
        "scan": datasets.Image(), "sick": datasets.ClassLabel(names=["no", "yes"]),
    })  # fmt: skip
    whole = datasets.Dataset.from_dict(rows(), features=features)
    whole.save_to_disk(str(tmp_path / "saved"), num_shards=3)
    pq.write_table(whole.data.table, tmp_path / "t.parquet")
    found, expected = (read(tmp_path / name, view=VIEWS) for name in ("saved", "t.parquet"))
    assert found.fingerprint() == expected.fingerprint()
    assert [view.kind for view in found.views.values()] == ["numbers", "text", "pictures"]
    assert found.columns["sick"].tolist() == [row % 2 for row in range(20)]
    assert found.source == str(tmp_path / "saved")


def test_chosen_rows_are_those_that_are_read(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_dict({"x": [1.0, 2.0, 3.0], "y": [[1.0, 2.0]] * 3}).select([2, 0])
    whole.save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved", view={"x": "x", "y": "y"}).views["x"].values[:, 0].tolist() == [3.0, 1.0]


def test_parts_are_named_one_at_a_time(tmp_path: Path) -> None:
    part = datasets.Dataset.from_dict({"x": [1.0], "y": [2.0]})
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match=r"holds the parts train, test; name one, such as .*saved/train"):
        read(tmp_path / "saved")
    assert len(read(tmp_path / "saved" / "train", view={"x": "x", "y": "y"})) == 1


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_dict({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    whole.save_to_disk(str(tmp_path / "saved"))
    (data,) = (tmp_path / "saved").glob("*.arrow")
    kept = data.read_bytes()
    data.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(UserError, match="cannot be read as Arrow"):
        read(tmp_path / "saved", view={"x": "x", "y": "y"})
    data.unlink()
    with pytest.raises(UserError, match="cannot be read as Arrow"):
        read(tmp_path / "saved", view={"x": "x", "y": "y"})
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as a data set"):
        read(tmp_path / "saved")
