"""The formats of MMSD and MMSD2.0: joined by picture, and every mistake with its file and line."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.recipes import sarcasm
from counterpoint.multimodal.recipes.sarcasm import posts

DATA = Path(os.environ.get("COUNTERPOINT_DATA", "nowhere")) / "sarcasm"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="COUNTERPOINT_DATA names no folder with sarcasm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both versions, as their repositories lay them out."""
    newer, older = tmp_path / "MMSD2.0" / "data" / "text_json_final", tmp_path / "mmsd"
    newer.mkdir(parents=True)
    for name in ("text", "extract"):
        (older / name).mkdir(parents=True)
    train = [{"image_id": 1, "text": "great", "label": 1}, {"image_id": 2, "text": "fine", "label": 0}]
    (newer / "train.json").write_text(json.dumps(train))
    (newer / "valid.json").write_text(json.dumps([{"image_id": 4, "text": "so nice", "label": 1}]))
    (older / "text" / "train.txt").write_text("['1', 'great # monday', 1]\r\n['2', 'fine', 0]\r\n['3', 'other', 0]\r\n")
    (older / "text" / "valid2.txt").write_text("['4', \"so 'nice'\", 1, 0]\n\n")
    (older / "extract" / "extract_all").write_text("['1', 'cat', 'mat']\n['4', 'dog', 'log']\n")
    return tmp_path


def test_the_newer_version(folder: Path) -> None:
    assert posts(folder).to_pylist() == [
        {"id": 1, "text": "great", "attributes": "cat mat", "label": 1, "split": "train"},
        {"id": 2, "text": "fine", "attributes": None, "label": 0, "split": "train"},
        {"id": 4, "text": "so nice", "attributes": "dog log", "label": 1, "split": "validation"},
    ]


def test_the_older_version_keeps_the_same_tweets_and_the_human_label(folder: Path) -> None:
    found = posts(folder, "mmsd")
    assert found["id"].to_pylist() == [1, 2, 4]
    assert found["text"].to_pylist() == ["great # monday", "fine", "so 'nice'"]
    assert found["label"].to_pylist() == [1, 0, 0]
    (folder / "MMSD2.0" / "data" / "text_json_final" / "train.json").unlink()
    assert posts(folder, "mmsd")["id"].to_pylist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("file", "content", "version", "words"),
    [
        ("mmsd/text/train.txt", "['1', 'a', 1]\n[1, 'a'", "mmsd", r"train.txt: line 2 is not a Python list: \[1, 'a'"),
        ("mmsd/text/train.txt", "['1', 'a', 2]", "mmsd", "line 1: the label is 2, not 0 or 1"),
        ("mmsd/text/train.txt", "['1', 'a']", "mmsd", "line 1 has 2 values"),
        ("mmsd/text/train.txt", "__import__('os')", "mmsd", "line 1 is not a Python list"),
        ("mmsd/extract/extract_all", "['1', 3]", "mmsd2", r"extract_all: line 1 is not \[id, word"),
        ("MMSD2.0/data/text_json_final/train.json", "[{}]", "mmsd2", "item 1 is not an object with image_id"),
        ("MMSD2.0/data/text_json_final/train.json", "{", "mmsd2", "train.json: is not JSON"),
        ("MMSD2.0/data/text_json_final/train.json", "{}", "mmsd2", "holds dict, not a list"),
        (
            "MMSD2.0/data/text_json_final/train.json",
            '[{"image_id": "x", "text": "a", "label": 1}]',
            "mmsd2",
            "item 1: the id is 'x', not a number",
        ),
    ],
)
def test_mistakes_are_named(folder: Path, file: str, content: str, version: str, words: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=words):
        posts(folder, version)  # type: ignore[arg-type]


def test_a_folder_without_the_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no extract/extract_all"):
        posts(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        posts(tmp_path / "nowhere")


def test_as_a_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.parquet"
    assert sarcasm._main([str(folder), str(out)]) == 0
    assert "3 tweets" in capsys.readouterr().out
    assert pq.read_table(out)["label"].to_pylist() == [1, 0, 1]
    assert sarcasm._main([str(tmp_path / "nowhere"), str(out)]) == 2
    assert sarcasm._main([]) == 2


@needs_data
def test_the_published_files() -> None:
    """Counts as in the repository of MMSD2.0."""
    newer, older = posts(DATA), posts(DATA, "mmsd")
    for found, sarcastic in ((newer, 9576), (older, None)):
        splits, labels = (found[name].to_numpy() for name in ("split", "label"))
        assert (splits == "train").sum() == 19816
        assert (splits == "validation").sum() == 2410
        if sarcastic is not None:
            assert labels[splits == "train"].sum() == sarcastic
            assert labels[splits == "validation"].sum() == 1042
        assert found["attributes"].null_count == 0
