"""The tables about other libraries show what was lost as well as what was won."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
import docs as tool

WON = {"what": "fast", "ratio": 3.0, "goal": ">= 2", "aim": "4", "met": True, "ms": {"of_peer": 3.0, "ours": 1.0}}
LOST = {"what": "lean", "ratio": 1.5, "goal": ">= 2", "aim": "", "met": False, "mib": {"of_peer": 3.0, "ours": 2.0}}
RECORD = {
    "name": "engine",
    "rows": [WON, LOST],
    "versions": {"torch": "1"},
    "date": "today",
    "machine": {"cores": 2, "processor": "x"},
}


def test_a_benchmark_of_the_engine_is_shown_whole_and_summed_up_in_the_readme(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    assert tool.engine_timings(path) == "Not measured yet."
    path.write_text(json.dumps(RECORD))
    shown = tool.engine_timings(path)
    assert "| fast | 3 (ratio) | >= 2 | 4 | yes | peer 3 ms, ours 1 ms |" in shown
    assert "| lean | 1.5 (ratio) | >= 2 |  | **no** | peer 3 mib, ours 2 mib |" in shown
    summed = tool.status([], tmp_path)
    assert "| [engine](docs/engine.md) | 1 of 2 goals | all | no |" in summed
    assert "lean" not in summed


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"note": "not in its source package"}, "not in its source package"),
        ({"passed": 4, "left_out": 0, "failed": []}, "4 pass, none fails"),
        ({"passed": 4, "left_out": 2, "failed": ["test_x"]}, "4 pass, 1 fail: test_x, 2 left out"),
        (
            {"passed": 4, "left_out": 0, "failed": [], "expected": {"test_y": "bits"}, "commit": "0123456789abcdef"},
            "4 pass, none fails, test_y as expected: bits (012345678)",
        ),
    ],
)
def test_the_outcome_of_a_test_file_names_what_fails(row: dict[str, object], said: str) -> None:
    record = {"same": [], "differs": [], "suites": [{"peer": "p", "file": "f"} | row], "versions": {}, "date": "today"}
    assert f"| p | `f` | {said} |" in tool.compared(record)["suites"]
