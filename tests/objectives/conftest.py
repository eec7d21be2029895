"""The same small inputs on every path through the engine."""

from collections.abc import Iterator

import pytest

from counterpoint.objectives import Relation, select, streamed


@pytest.fixture(params=["whole", "tiles", "tiles kept", "tiles, ids compared"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One tile that is kept, tiny tiles made twice or kept, and these without lists of pairs."""
    if request.param != "whole":
        monkeypatch.setattr(streamed, "TILE", 3)
        monkeypatch.setattr(streamed, "WHOLE", 0)
        monkeypatch.setattr(streamed, "SMALL", 0)
    if request.param not in ("whole", "tiles kept"):
        monkeypatch.setattr(streamed, "KEPT", 0)
    if "compared" in request.param:
        monkeypatch.setattr(select, "FEW", -1)
        monkeypatch.setattr(select, "FEW_POSITIVES", -1)
        monkeypatch.setattr(Relation, "diagonal", False)
    return request.param
