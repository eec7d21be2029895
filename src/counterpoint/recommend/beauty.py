"""Amazon Beauty, 22,363 people and what they reviewed in order: read from the folder that COUNTERPOINT_DATA names.

Source: McAuley et al. 2015, in the copy beside arXiv 2202.02519. It is not part of the package.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np

from counterpoint.errors import UserError
from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.interactions import Interactions

PLACE = Path("seqrec") / "salesforce__ICLRec" / "data" / "Beauty.txt"
CORE = 5
"""Events that each person and each item has at least, in the whole and in every part of it."""
Parts = tuple[Interactions, Interactions, Interactions]


@cache
def beauty(share: float = 1.0) -> Interactions:
    """A share of the people, always the same ones, with the items that are left when all have 5 events again.

    Raises `UserError` when the file is not there.
    """
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PLACE).is_file():
        raise UserError(f"Amazon Beauty is not here; set COUNTERPOINT_DATA to the folder that has {PLACE}")
    whole = Interactions.read(Path(folder) / PLACE, seen="removed")
    if share >= 1:
        return whole
    order = np.random.default_rng(0).permutation(len(whole))
    return k_core(whole.rows(np.sort(order[: round(share * len(whole))])), CORE)


def next_purchase(seed: int, share: float = 1.0) -> Parts:
    """The last event of everybody tests, the one before validates; the same parts for every seed."""
    parts = beauty(share).divide("leave-one-out")
    return parts["train"], parts["validation"], parts["test"]
