"""Run folders and their pages; the map is laid out by PCA, because UMAP compiles for ten seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoint import reports
from counterpoint.errors import UserError
from counterpoint.reports import project
from reports.fakes import write_run


def _no_umap() -> None:
    raise UserError("umap is not installed")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def page() -> Callable[[Path], str]:
    """Write the page of a run folder and read it."""

    def written(folder: Path) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(project, "_import_umap", _no_umap)
            return reports.write(folder).read_text(encoding="utf-8")

    return written
