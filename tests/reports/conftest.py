"""Run folders and their pages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoint import reports
from reports.fakes import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def page() -> Callable[[Path], str]:
    """Write the page of a run folder and read it."""

    def written(folder: Path) -> str:
        return reports.write(folder).read_text(encoding="utf-8")

    return written
