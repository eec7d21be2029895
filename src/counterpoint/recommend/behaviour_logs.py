"""Real logs with several behaviours, for claims: RetailRocket's shop, and MovieLens' ratings as behaviours."""

import os
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool

from counterpoint.errors import UserError
from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.interactions import Interactions, Protocol

RETAIL_ROCKET = Path("multibehavior")
"""The folder below COUNTERPOINT_DATA with `retail_rocket_train.parquet` and `retail_rocket_test.parquet`."""
CORE = 5
"""Events that each visitor and each item has at least."""
SHOP = ("view", "cart", "buy")
RATINGS = {"dislike": "1,2", "neutral": "3", "like": "4,5"}
"""Behaviours of a film by its stars."""
ASKED = "last-10"
"""Likes of each user that are asked for: with one each, the standard error would be 0.013."""


@cache
def retail_rocket(published: bool = True) -> dict[str, Interactions]:
    """Visitors who viewed, put into the cart and bought: the held-out purchase tests, the one before validates.

    The published test purchases have no time: they come last, though some of what is then before them may have happened
    after. Without `published` they are left out, and the last purchase that has a time tests, from what happened
    earlier. Of an item that is asked for in the published test, the file has no earlier event of that user; so that all
    parts ask the same kind of question, earlier events of what a user buys later are left out everywhere. Of the rest
    the 5-core is kept. Seen items are no candidates, since none is ever right. Raises `UserError` when the files are
    not there.
    """
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / RETAIL_ROCKET).is_dir():
        raise UserError(f"RetailRocket is not here; set COUNTERPOINT_DATA to the folder that has {RETAIL_ROCKET}")
    train, test = (
        pq.read_table(Path(folder) / RETAIL_ROCKET / f"retail_rocket_{part}.parquet") for part in ("train", "test")
    )
    both = pa.concat_tables([train, test], promote_options="default") if published else train
    data = Interactions.of(
        both["user"].to_numpy(),
        both["item"].to_numpy(),
        times=both["timestamp"].to_pylist(),
        behaviours=both["behavior"].to_pylist(),
        labels=SHOP,
        protocol=Protocol(target="buy", seen="removed"),
        source="retail rocket",
    )
    return k_core(data.where(~bought_later(data)), CORE).divide("leave-last-target-out")


def bought_later(data: Interactions) -> Bool[np.ndarray, " n"]:
    """Which events have a later target event of the same user and item.

    >>> data = Interactions.of([1, 1, 1], ["a", "b", "a"], behaviours=["see", "see", "buy"], protocol=Protocol("buy"))
    >>> bought_later(data).tolist()
    [True, False, False]
    """
    keys = data.users * np.int64(data.catalogue.num_rows) + data.items
    wanted = np.flatnonzero(data.wanted)
    order = np.lexsort((wanted, keys[wanted]))
    sorted_keys, places = keys[wanted][order], wanted[order]
    end = np.searchsorted(sorted_keys, keys, side="right") - 1
    there = (end >= 0) & (np.append(sorted_keys, -1)[end] == keys)
    later: Bool[np.ndarray, " n"] = there & (np.append(places, -1)[end] > np.arange(len(keys)))
    return later


@cache
def movielens(users: int | None = None) -> dict[str, Interactions]:
    """MovieLens-100K as the package recbole 1.2.1 brings it, stars as behaviours; the last ten likes of each user test.

    Up to ten likes before validate. Nothing is rated twice, so seen items are no candidates. With `users` the 5-core of
    what so many of them did, always the same ones. Raises `UserError` when the package is not installed.
    """
    try:
        found = [file for file in files("recbole") or [] if file.name == "ml-100k.inter"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UserError("MovieLens-100K is not here; run: pip install --no-deps recbole==1.2.1")
    data = Interactions.read(
        str(found[0].locate()), behaviour="rating", behaviours=RATINGS, target="like", seen="removed"
    )
    if users is not None:
        data = k_core(data.rows(np.sort(np.random.default_rng(0).permutation(len(data))[:users])), CORE)
    return replace(data, source="movielens").divide(ASKED)
