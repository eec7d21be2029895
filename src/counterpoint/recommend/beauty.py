"""Amazon Beauty, 22,363 people and what they reviewed in order: read from the folder that COUNTERPOINT_DATA names.

Source: McAuley et al. 2015, in the copy beside arXiv 2202.02519; the items' brands and categories in the one beside
arXiv 2008.07873. It is not part of the package.
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from counterpoint.errors import UserError
from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.items import beside, read_items

PLACE = Path("seqrec") / "salesforce__ICLRec" / "data" / "Beauty.txt"
ITEMS = Path("seqrec") / "RUCAIBox__CIKM2020-S3Rec" / "data" / "Beauty_item2attributes.json"
CORE = 5
"""Events that each person and each item has at least, in the whole and in every part of it."""
Parts = tuple[Interactions, Interactions, Interactions]


@cache
def beauty(share: float = 1.0) -> Interactions:
    """A share of the people, always the same ones, with the items that are left when all have 5 events again.

    Raises `UserError` when the file is not there.
    """
    whole = Interactions.read(_here(PLACE), seen="removed")
    if share >= 1:
        return whole
    order = np.random.default_rng(0).permutation(len(whole))
    return k_core(whole.rows(np.sort(order[: round(share * len(whole))])), CORE)


@cache
def described() -> Interactions:
    """All people, the items with their attributes; raises `UserError` when a file is not there."""
    data = beauty()
    said = read_items(_here(ITEMS))
    return replace(data, catalogue=beside(data.catalogue["id"].combine_chunks(), said)[0])


def next_purchase(seed: int, share: float = 1.0) -> Parts:
    """The last event of everybody tests, the one before validates; the same parts for every seed."""
    parts = beauty(share).divide("leave-one-out")
    return parts["train"], parts["validation"], parts["test"]


def _here(place: Path) -> Path:
    """A file below the folder that COUNTERPOINT_DATA names."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / place).is_file():
        raise UserError(f"Amazon Beauty is not here; set COUNTERPOINT_DATA to the folder that has {place}")
    return Path(folder) / place
