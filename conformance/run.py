"""Hold our objectives against the peers that are installed, and write conformance/results.json.

Three parts: value and gradient where both sides mean the same; both values where they do not; and the peers' own test
files, with the loss they test replaced by ours. Test files come from the peer's source package, fetched into a cache
outside the repository, or with `--checkout PEER=FOLDER` from a source tree: not every source package holds its tests.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from adapters import PEERS, cases, differences

RESULTS = Path(__file__).parent / "results.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "counterpoint" / "conformance"
FIXTURES = ("mocker",)
"""What a test file may ask of pytest that is not here; such tests are about flags, not about the loss."""
Row = dict[str, Any]


def agreement() -> Iterator[Row]:
    """A row per comparison: how far we are from the peer."""
    for case in cases():
        try:
            value, gradient = case.errors()
        except ImportError as error:
            print(f"skipped: {case}: {error}")
        else:
            yield {"peer": case.peer, "what": case.what, "value": value, "gradient": gradient}


def disagreement() -> Iterator[Row]:
    """A row per comparison of what does not mean the same: both values and why."""
    for found in differences():
        try:
            ours, theirs = found.values()
        except ImportError as error:
            print(f"skipped: {found}: {error}")
        else:
            yield {"peer": found.peer, "what": found.what, "ours": ours, "theirs": theirs, "why": found.why}


def suites(checkouts: Mapping[str, Path]) -> Iterator[Row]:
    """A row per test file of a peer: how many of its tests pass on our objective."""
    for name in PEERS:
        peer = import_module(f"adapters.{name}")
        for file in getattr(peer, "SUITES", {}):
            row: Row = {"peer": peer.PEER, "file": file}
            try:
                folder = checkouts.get(peer.PEER) or source(peer.PEER)
            except PackageNotFoundError as error:
                print(f"skipped: {peer.PEER}: {error}")
                continue
            if (folder / file).exists():
                done = run_apart(name, folder, file)
                known = getattr(peer, "EXPECTED", {}).get(file, {})
                yield row | at_commit(folder) | done | told_apart(done["failed"], known)
            else:
                yield row | {"note": "not in its source package"}


def told_apart(failed: list[str], known: Mapping[str, str]) -> Row:
    """What failed without a reason, and what an adapter says may fail, with its reason.

    >>> told_apart(["test_a", "test_b"], {"test_b": "bits"})
    {'failed': ['test_a'], 'expected': {'test_b': 'bits'}}
    """
    return {
        "failed": [test for test in failed if test not in known],
        "expected": {test: known[test] for test in failed if test in known},
    }


def at_commit(folder: Path) -> Row:
    """The commit of a source tree that is the root of a git repository."""
    if not (folder / ".git").exists():
        return {}
    asked = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True)
    return {"commit": asked.stdout.strip()} if asked.returncode == 0 else {}


def source(peer: str) -> Path:
    """The unpacked source package of the installed version; fetched once."""
    at = f"{peer}-{version(peer)}"
    folder = CACHE / at
    if not folder.exists():
        folder.mkdir(parents=True)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
        done = subprocess.run([*fetch, "--dest", folder, at.replace(f"-{version(peer)}", f"=={version(peer)}")])
        if done.returncode == 0:
            with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
    return next((path for path in folder.iterdir() if path.is_dir()), folder)


def run_apart(name: str, folder: Path, file: str) -> Row:
    """One test file in a process of its own, where the peer's attributes are replaced before it is imported."""
    command = [sys.executable, __file__, "--suite", name, str(folder), file]
    settings = {"TEST_DEVICE": "cpu", "TEST_DTYPES": "float32,float64", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1:]
    if not last or not last[0].startswith("{"):
        raise RuntimeError(f"{file} of {name} could not be run:\n{done.stdout}{done.stderr}")
    row: Row = json.loads(last[0])
    return row


class Count:
    """A pytest plugin that leaves out what asks for missing fixtures, and counts the rest."""

    def __init__(self) -> None:
        self.passed, self.left_out = 0, 0
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave tests out by the fixtures they name."""
        known = config.pluginmanager.has_plugin("pytest_mock")
        kept = [item for item in items if known or not set(getattr(item, "fixturenames", ())) & set(FIXTURES)]
        self.left_out = len(items) - len(kept)
        items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passes once, in its call; it fails wherever it does."""
        if report.failed:
            self.failed.append(report.nodeid.partition("::")[2])
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported has failed."""
        if report.failed:
            self.failed.append(str(report.longrepr).strip().splitlines()[-1])


def run_suite(name: str, folder: Path, file: str) -> Row:
    """Replace what the file tests and run it, here and now."""
    for target, make in import_module(f"adapters.{name}").SUITES[file].items():
        module, _, attribute = target.rpartition(".")
        replacement = make()  # first: it may load the module without its package
        setattr(import_module(module), attribute, replacement)
    count = Count()
    quiet = ["-q", "-p", "no:cacheprovider", "--noconftest", "--rootdir", str(folder), "-c", os.devnull, "-W", "ignore"]
    pytest.main([str(folder / file), *quiet], plugins=[count])
    return {"passed": count.passed, "left_out": count.left_out, "failed": sorted(set(count.failed))}


def installed() -> dict[str, str]:
    """The versions of the peers that are here, and of torch."""
    names = ["torch", *(import_module(f"adapters.{name}").PEER for name in PEERS)]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            print(f"skipped: {name} is not installed")
    return found


def main() -> int:
    """Everything, or with `--suite` the one file of a process of its own; 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkout", action="append", default=[], metavar="PEER=FOLDER")
    parser.add_argument("--suite", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.suite:
        name, folder, file = asked.suite
        print(json.dumps(run_suite(name, Path(folder), file)))
        return 0
    checkouts = {peer: Path(folder).resolve() for peer, _, folder in (text.partition("=") for text in asked.checkout)}
    head: Row = {"versions": installed(), "date": time.strftime("%Y-%m-%d")}
    parts = {"same": list(agreement()), "differs": list(disagreement()), "suites": list(suites(checkouts))}
    RESULTS.write_text(json.dumps(head | parts, indent=2) + "\n")
    for rows in parts.values():
        print(*map(json.dumps, rows), sep="\n")
    apart = any(max(row["value"], row["gradient"]) > 1e-9 for row in parts["same"])
    return int(apart or any(row.get("failed") for row in parts["suites"]))


if __name__ == "__main__":
    sys.exit(main())
