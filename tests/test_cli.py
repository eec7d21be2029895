"""The command line as a user meets it: what it prints, where, and with which exit code."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint import catalog, jobs
from counterpoint.cli import main
from small import QUICK, write_rows

COMMANDS = ("list", "fit", "plan", "evaluate", "embed", "retrieve", "verify", "report", "index", "search", "recommend")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.csv")


@pytest.fixture(scope="module")
def run(rows: Path) -> Path:
    folder = rows.parent / "run"
    jobs.fit(jobs.Fit("clip", rows, folder, QUICK))
    return folder


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as from a shell."""
    return subprocess.run([sys.executable, "-m", "counterpoint", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [("--help",), ("list",)])
def test_help_and_list_are_quick_and_import_no_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; from counterpoint.cli import main; "
        f"main({list(arguments)!r}); print('torch' in sys.modules, 'pyarrow' in sys.modules, file=sys.stderr)"
    )
    assert min(_processor_seconds(code, tmp_path) for _ in range(8)) <= 0.3


def _processor_seconds(code: str, cache: Path) -> float:
    """What a process of its own costs, compiled as an installed program is; not the wall's time, which others share."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.strip() == "False False"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: counterpoint {name}" in capsys.readouterr().out


def test_no_arguments_show_the_help() -> None:
    done = command()
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_list_shows_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(row.name in shown and row.paper in shown for row in catalog.rows().values())
    assert main(["list", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["clip"]["data"] == "Table"
    assert {"wing", "paper", "status", "claim", "verdict"} <= found["gated-symile"].keys()


def test_list_shows_the_options_of_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "clip"]) == 0
    assert "optim.lr" in capsys.readouterr().out
    assert main(["list", "clip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "view" in [option["name"] for option in found["reader"]]
    assert "epochs" in [option["name"] for option in found["method"]]


def test_fit_prints_measures_and_the_report(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["fit", "clip", str(rows), *QUICK, "--group", "visit", "--out", str(tmp_path / "run")]
    assert main([*given, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["against"]["name"] == "ridge-cca"
    assert "view labs" in printed.err
    assert main([*given, "--resume", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "top1" in printed.out
    assert f"report: {tmp_path / 'run' / 'report.html'}" in printed.out


def test_plan_says_what_a_fit_needs_and_writes_nothing(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(rows.parent.iterdir())
    given = ["plan", "clip", str(rows), *QUICK, "--device", "cpu"]
    assert main(given) == 0
    printed = capsys.readouterr()
    assert "clip: 36 training rows in batches of 16 on cpu" in printed.out
    assert "a step; 6 steps take about" in printed.out
    assert "view labs" in printed.err
    assert main([*given, "--split", "train=1", "--json", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert (found["rows"], found["steps"], found["fits"]) == (60, 8, True)
    assert found["bytes"]["network"] > 0 < found["bytes"]["loss"]
    assert sorted(rows.parent.iterdir()) == before
    assert main(["plan", "mcca", str(rows), *QUICK[:4]]) == 2
    assert "MCCA takes no gradient steps" in capsys.readouterr().err


def test_evaluate_retrieve_embed_and_report(
    run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), str(rows), "--json"]) == 0
    assert "top1" in json.loads(capsys.readouterr().out)["measures"]
    asked = ["retrieve", str(run), "--target", "ecg", "--given", "labs,vitals", "--rows", str(rows), "-k", "2"]
    assert main(asked) == 0
    assert "ecg of" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 60
    assert [len(query["found"]) for query in found] == [2] * 60
    output = tmp_path / "vectors.parquet"
    assert main(["embed", str(run), str(rows), "-o", str(output), "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert output.is_file()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["fot"], "No such command 'fot'. Did you mean 'fit'?"),
        (["fit"], "Missing argument 'METHOD'."),
        (["fit", "clip", "x.csv"], "Missing option '--out'."),
        (["fit", "clip", "x.csv", "--out", "r", "--sed", "1"], "No such option: --sed"),
        (["fit", "clip", "x.csv", "--out", "r", "--seed", "one"], "'--seed'"),
        (["fit", "clip", "x.csv", "--out", "r", "--precision", "8-bit"], "'--precision'"),
        (["fit", "clip", "x.csv", "--out", "r", "--ranks", "0"], "'--ranks'"),
        (["fit", "clap", "x.csv", "--out", "r"], 'unknown method "clap"; did you mean "clip"?'),
        (["fit", "clip", "x.csv", "--out", "r"], "x.csv: no such file"),
        (["fit", "clip", "x.csv", "--out", "r", "epoch=3"], 'unknown option "epoch"; did you mean "epochs"?'),
        (["fit", "clip", "x.csv", "--out", "r", "batch_size=0"], 'option batch_size: "0" is not a whole number >= 2'),
        (["fit", "clip", "x.csv", "--out", "r", "epochs"], '"epochs" is not an option; write key=value'),
        (["list", "clop"], 'unknown method "clop"'),
        (["evaluate", "nowhere", "x.csv"], "nowhere is not a run folder"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["plan", "clip", "x.csv"], "x.csv: no such file"),
        (["plan", "clap", "x.csv"], 'unknown method "clap"; did you mean "clip"?'),
        (["verify", "gram"], "gram has no claim to verify"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("counterpoint: ")
    assert line in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_how_to_resume(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "fit", stopped)
    out = str(tmp_path / "a run")
    assert main(["fit", "clip", str(rows), "view.labs=lab_*", "--out", out]) == 130
    said = capsys.readouterr().err
    assert (
        said
        == f"counterpoint: stopped; go on with: counterpoint fit clip {rows} 'view.labs=lab_*' --out '{out}' --resume\n"
    )


def test_a_closed_pipe_is_quiet() -> None:
    script = f"{sys.executable} -m counterpoint list --json | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    rows, out = write_rows(tmp_path / "rows.csv", rows=28), tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    given = ["fit", "clip", str(rows), *QUICK, "--out", str(out), "--ranks", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "counterpoint", *given], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["measures"]
    alone = jobs.fit(jobs.Fit("clip", rows, tmp_path / "alone", QUICK))["measures"]
    assert measures["mrr"]["value"] == pytest.approx(alone["mrr"]["value"], abs=0.02)


def test_a_mistake_in_several_ranks_is_said_once(tmp_path: Path) -> None:
    done = command("fit", "clip", str(tmp_path / "x.csv"), "--out", str(tmp_path / "r"), "--ranks", "2")
    assert done.returncode == 2
    assert done.stderr.count("no such file") == 1
