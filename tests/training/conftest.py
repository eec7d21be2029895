"""The toy method in the catalog."""

import pytest

from counterpoint import catalog
from training import toys


@pytest.fixture(autouse=True)
def _toy_in_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "OWN", (*catalog.OWN, toys.ROW))
