"""One fitted run and its index, for all tests of the server."""

from pathlib import Path

import pytest

from serving.served_run import fit_run, index_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def index(run: Path) -> Path:
    return index_run(run, run.parent / "index")
