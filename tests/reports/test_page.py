"""The page says what the folder holds, says what it lacks, loads nothing and runs nothing that data brings."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from counterpoint import reports
from counterpoint.errors import UserError
from reports.fakes import change, write_run

EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\"'<b>$title&amp;"
Page = Callable[[Path], str]


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def evaluation(run: Path, **parts: Any) -> None:
    """Replace parts of evaluation.json."""
    path = run / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def test_sections_stand_in_order_with_the_verdict_first(run: Path, page: Page) -> None:
    elements = Elements(page(run))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    keys = [attributes["id"] for tag, attributes in elements.found if tag == "section"]
    order = ["verdict", "curves", "map", "finder", "matrix", "reliability", "geometry", "probes", "made"]
    assert keys == order
    assert (
        "gated-symile was fitted on digits.parquet and finds the right row first in 45.6 % (95 % interval 43.5 to "
        "47.7 %) of searches among 400 candidates; chance would give 0.25 %. ▲ It is better than ridge-cca (38.5 %): "
        "paired difference +7.1 points, 95 % interval +5.4 to +8.8." in elements.text
    )
    assert "holds no" not in elements.text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.02, "It is better than"), (-0.02, -0.01, "It is worse than"), (-0.01, 0.02, "cannot be told")],
)
def test_the_verdict_follows_the_interval(run: Path, page: Page, low: float, high: float, said: str) -> None:
    against = json.loads((run / "evaluation.json").read_text())["against"]
    against["difference"]["top1"] = {"value": (low + high) / 2, "low": low, "high": high}
    evaluation(run, against=against)
    assert said in Elements(page(run)).text


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("tasks", "no retrieval tasks"),
        ("geometry", "Clusters against labels"),
        ("probes", "no label column was named"),
        ("reliability", "no reliability values"),
        ("examples", "no examples"),
        ("clustering", "Shape of the space"),
    ],
)
def test_an_absent_part_is_said_in_a_sentence(run: Path, page: Page, part: str, said: str) -> None:
    change(run, **{part: None})
    assert said in Elements(page(run)).text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("metrics.jsonl", "metrics.jsonl holds no training events"),
        ("evaluation.json", "It has not been judged"),
        ("embeddings.parquet", "holds no embeddings.parquet"),
        ("display.parquet", "holds no pictures"),
    ],
)
def test_an_absent_file_is_said_in_a_sentence(run: Path, page: Page, name: str, said: str) -> None:
    (run / name).unlink()
    assert said in Elements(page(run)).text


def test_a_config_alone_gives_a_page(tmp_path: Path, page: Page) -> None:
    (tmp_path / "config.yaml").write_text("method: clip\n")
    assert "clip was fitted on its data" in Elements(page(tmp_path)).text


def test_nothing_is_loaded(run: Path, page: Page) -> None:
    text = page(run)
    elements = Elements(text)
    targets = [attributes[key] for _, attributes in elements.found for key in ("src", "href") if key in attributes]
    assert targets
    assert all(target and target.startswith("#") for target in targets)
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:")
    own = [
        part for part in re.findall(r"<(?:style|script)[^>]*>(.*?)</(?:style|script)>", text, re.S) if len(part) < 1e6
    ]
    assert len(own) == 3
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|innerHTML", "".join(own))


def hostile(run: Path) -> Path:
    """Put markup wherever a run folder holds text."""
    write_run(run, n=40)
    table = pq.read_table(run / "embeddings.parquet")
    names = [f"{name}{EVIL}" if name in ("digit", "writer") else name for name in table.column_names]
    ids = [f"{key}{EVIL}" for key in table["id"].to_pylist()]
    table = table.rename_columns(names).set_column(0, "id", pa.array(ids))
    table = table.append_column(f"note{EVIL}", pa.array([EVIL] * len(ids)))
    pq.write_table(table, run / "embeddings.parquet")
    shown = pq.read_table(run / "display.parquet")
    pq.write_table(shown.set_column(0, "id", pa.array(ids)), run / "display.parquet")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["method"] += EVIL
    config["options"][EVIL] = EVIL
    config["data"] |= {"source": EVIL, "display": {"label": f"digit{EVIL}"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["phase"] += EVIL
        line |= {"terms": {EVIL: 1.0, "b": 2.0}, "metrics": {EVIL: 0.5}}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluation(run, **json.loads(json.dumps(_marked(json.loads((run / "evaluation.json").read_text())))))
    return run


def _marked(value: Any, key: str = "") -> Any:
    """Append markup to the texts and view names of an evaluation."""
    if isinstance(value, dict):
        named = key in ("clean", "swapped", "clustering")
        return {f"{name}{EVIL}" if named else name: _marked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_marked(item, key) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) and key not in ("space", "labels") else value


def test_text_from_data_never_becomes_markup(tmp_path: Path, page: Page) -> None:
    elements = Elements(page(hostile(tmp_path)))
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert "b" not in tags
    assert not [key for _, attributes in elements.found for key in attributes if key.startswith("on")]
    assert "<img src=x onerror='window.hacked=1'>" in elements.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("evaluation.json", b"{", r"evaluation\.json: damaged"),
        ("evaluation.json", b"[1]", "a mapping was expected"),
        ("config.yaml", b"a: [", r"config\.yaml: damaged"),
        ("metrics.jsonl", b'{"loss": 1}\nnonsense\n{}\n', "line 2 is damaged"),
        ("embeddings.parquet", b"PAR1", r"embeddings\.parquet: damaged"),
    ],
)
def test_a_damaged_file_is_named_and_no_page_written(run: Path, name: str, content: bytes, said: str) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        reports.write(run)
    assert not (run / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        reports.write(tmp_path)


def test_a_line_cut_short_by_a_kill_is_passed_over(run: Path, page: Page) -> None:
    before = page(run)
    with (run / "metrics.jsonl").open("a") as events:
        events.write('{"phase": "train", "st')
    assert page(run) == before


def test_examples_look_for_the_picture_unless_no_view_is_one(run: Path, page: Page) -> None:
    route = 'data-given="pix"'
    assert route not in page(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["display"]["picture"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert route in page(run)


def test_a_collapse_is_warned_of(run: Path, page: Page) -> None:
    assert "Warning" not in Elements(page(run)).text
    change(run, geometry={"effective_rank": 1.1, "collapse": "complete", "sentences": ["Warning: it collapsed.", "x"]})
    assert "Warning: it collapsed." in Elements(page(run)).text


def test_the_command_to_run_again_is_whole(run: Path, page: Page) -> None:
    text = Elements(page(run)).text
    assert "counterpoint fit gated-symile build/digits.parquet 'view.fou=fou_*' view.kar=kar_a,kar_b" in text
    assert "'view.pix=pix_*' dim=64 epochs=30 gate=true hidden=256,256 optim.lr=0.003" in text
    assert f"--split train=.6,test=.4 --label digit --picture pix:16x15 --seed 7 --out {run}" in text
