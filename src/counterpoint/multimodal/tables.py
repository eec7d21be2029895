"""Real tables for claims: made by the recipes, whole or with views of some rows missing or taken from another row."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoint.errors import UserError
from counterpoint.multimodal.corrupt import hide, swap
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.recipes.alzheimer import write_alzheimer
from counterpoint.multimodal.recipes.clothing import write_clothing
from counterpoint.multimodal.recipes.digits import write_digits
from counterpoint.multimodal.recipes.eicu import write_eicu
from counterpoint.multimodal.recipes.mimic import write_mimic
from counterpoint.multimodal.table import Table
from counterpoint.rows import split_rows

Damage = Literal["clean", "missing", "swapped"]
HIT = 0.3
"""The share of rows in which one view, drawn at random, is damaged."""
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
EHR = Path("ehr") / "sunlabuiuc__PyHealth" / "test-resources" / "core"
"""The folder below COUNTERPOINT_DATA with the demos of MIMIC-III and eICU."""


@dataclass(frozen=True)
class Recipe:
    """How a table is made and read: what writes it, its views, its label, whose rows stay together, how many are used.

    `folder` names what the recipe reads below COUNTERPOINT_DATA; the others come with packages.
    """

    write: Callable[..., Any]
    views: Mapping[str, str]
    label: str
    group: str | None = None
    folder: Path | None = None
    rows: int | None = None


RECIPES = {
    "digits": Recipe(write_digits, {name: name for name in ("fou", "kar", "zer", "pix", "fac", "mor")}, "digit"),
    "alzheimer": Recipe(
        write_alzheimer, {"proteins": "protein_*", "markers": "marker_*", "person": "person_*"}, "impaired"
    ),
    "mimic": Recipe(
        write_mimic,
        {"diagnoses": "dx_*", "procedures": "px_*", "drugs": "rx_*", "person": "category_*"},
        "died",
        "patient",
        EHR / "mimic3demo",
    ),
    "eicu": Recipe(
        write_eicu,
        {"labs": "lab_*", "diagnoses": "dx_*", "treatments": "tx_*", "drugs": "rx_*", "person": "category_*"},
        "long",
        "patient",
        EHR / "eicudemo",
    ),
    "clothing": Recipe(
        write_clothing,
        {"review": "review", "opinion": "opinion_*", "item": "category_*"},
        "recommended",
        "item",
        rows=2000,
    ),
}


@cache
def real_table(name: str) -> Table:
    """A table by its recipe's name, with views and group; raises `UserError` saying what is to be installed or set."""
    recipe = RECIPES[name]
    sources = [] if recipe.folder is None else [_below(recipe.folder)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.parquet"
        recipe.write(*sources, path)
        table = read(path, view=recipe.views, id="id", group=recipe.group)
    if name == "eicu":  # the median is not quite two days
        table = replace(table, columns={**table.columns, "long": table.columns["days"] > 2})
    return replace(table, source=name)


def _below(folder: Path) -> Path:
    """A folder of the data that COUNTERPOINT_DATA names."""
    place = os.environ.get("COUNTERPOINT_DATA")
    if not place or not (Path(place) / folder).is_dir():
        raise UserError(f"{folder.name} is not here; set COUNTERPOINT_DATA to the folder that has {folder}")
    return Path(place) / folder


def damaged(name: str, seed: int, damage: Damage) -> tuple[Table, Table, Table]:
    """A table in three parts, 60/20/20, each with a view of 30 % of its rows hidden or swapped within the part.

    The column "corrupt" names the view that was hit, or "none". The test part holds the training rows too, whose labels
    a probe may see; its column "probed" says which are which.
    """
    table, recipe = real_table(name), RECIPES[name]
    generator = np.random.Generator(np.random.PCG64(seed))
    if recipe.rows is not None:
        table = table.rows(np.sort(generator.permutation(len(table))[: recipe.rows]))
    groups = None if table.group is None else table.columns[table.group]
    parts = split_rows(len(table), SHARES, seed, groups, name, table.group or "")
    values = {view.name: view.values.copy() for view in table.views.values()}
    corrupt, probed = (np.full(len(table), "none", dtype=object) for _ in range(2))
    for part, rows in parts.items():
        probed[rows] = part
        if damage != "clean":
            hit, _ = (hide if damage == "missing" else swap)(table.rows(rows), list(table.views), HIT, generator)
            corrupt[rows] = hit.columns["corrupt"]
            for view in hit.views.values():
                values[view.name][rows] = view.values
    whole = replace(
        table,
        views={view.name: replace(view, values=values[view.name]) for view in table.views.values()},
        columns={
            **table.columns,
            "corrupt": corrupt,
            "probed": probed,
            "label": table.columns[recipe.label].astype(str),
        },
    )
    test = whole.rows(np.flatnonzero(probed != "validation"))
    return whole.rows(parts["train"]), whole.rows(parts["validation"]), test
