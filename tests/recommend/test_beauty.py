"""Amazon Beauty as MVCrec's claims cut it; the numbers that the claims state are those of the data."""

import os
from pathlib import Path

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.recommend import mvcrec_claims as claims
from counterpoint.recommend.beauty import PLACE, beauty, described, next_purchase
from counterpoint.recommend.item_graph import item_graph

FILE = Path(os.environ.get("COUNTERPOINT_DATA", "nowhere")) / PLACE
here = pytest.mark.skipif(not FILE.is_file(), reason=f"COUNTERPOINT_DATA names no folder with {PLACE}")


@here
def test_the_whole_is_what_the_card_counts() -> None:
    whole = beauty()
    assert (len(whole), len(whole.items), whole.catalogue.num_rows) == (22_363, 198_502, 12_101)
    assert whole.protocol.seen == "removed"
    train, validation, test = next_purchase(0)
    assert int((train.lengths - 1).sum()) == 131_413, "prefixes"
    assert int(validation.asked.sum()) == int(test.asked.sum()) == len(whole)
    entries = len(item_graph(train, 3).value) - (12_101 + 1)
    assert entries == pytest.approx(530_000, rel=0.02), "directed edges"


@here
@pytest.mark.parametrize("claim", [claims.MVCREC, claims.MVCREC.at(True)])
def test_the_cut_is_the_one_stated(claim: claims.Claim) -> None:
    share = claims.SHARE
    part = beauty(share)
    assert f"{len(part):,} " in claim.cut
    assert f"{part.catalogue.num_rows:,} " in claim.cut
    assert part.lengths.min() >= 5
    assert np.bincount(part.items).min() >= 5
    first, second = next_purchase(0, share), next_purchase(1, share)
    assert [one.fingerprint() for one in first] == [one.fingerprint() for one in second]


@here
def test_items_are_described() -> None:
    catalogue = described().catalogue
    assert catalogue.num_rows == 12_101
    assert set(catalogue.column_names) > {"id"}


def test_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    beauty.cache_clear()
    monkeypatch.setenv("COUNTERPOINT_DATA", "nowhere")
    with pytest.raises(UserError, match="Amazon Beauty is not here; set COUNTERPOINT_DATA"):
        beauty(0.3)


def test_each_arm_differs_from_the_method_by_what_its_name_says() -> None:
    arms = {arm.name: arm.options for arm in claims.ARMS}
    whole = arms[claims.WHOLE]
    assert whole == {"fusion": "aff", "contrast_weight": 0.01, "similarity": "dot", "temperature": 1.0}
    assert arms["AFF, 0"] == whole | {"contrast_weight": 0.0}
    assert arms["no fusion, 0.1"] == whole | {"fusion": "none", "contrast_weight": 0.1}
    assert arms["graph view, 128"] == {"views": "graph", "dim": 128, "contrast_weight": 0.0}
    assert claims.SEARCH.follows["shuffled graph"] == claims.SEARCH.follows[claims.WHOLE] == "AFF, 0"
    assert {len(trials) for trials in claims.SEARCH.trials.values()} == {2}
