"""What is shared by which views, as JSON: each structure's share of each view, and the columns that carry it."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from counterpoint.multimodal.hcl.structures import Structures
from counterpoint.multimodal.table import Table

LISTED = 5  # columns named per structure and view


def column_names(table: Table, facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the numbers that each view's scaler gives: its columns, then those that say what is missing.

    Views that are not made of numbers have none.
    """
    names = {}
    for name, view in table.views.items():
        if view.kind in ("numbers", "vector"):
            labels = [view.label(j) for j in range(view.width)]
            names[name] = labels + [f"{labels[j]} missing" for j in facts[name]["gaps"]]
    return names


def explained(
    structures: Structures,
    share: Mapping[str, Float[Tensor, " k"]],
    noise: Mapping[str, float],
    columns: Mapping[str, tuple[Sequence[str], Float[Tensor, "d k"]]],
    agreement: Mapping[int, float] | None = None,
    about: str = "",
) -> dict[str, Any]:
    """The explanation of a fitted method.

    `share` has for each view what part of it each structure explains, `noise` what none does, `columns` the names of
    its numbers and the part of each that each structure explains. `agreement` says of structures of several views how
    much nearer those of one row are than those of two, as a difference of cosines.
    """
    found = []
    for k, members in enumerate(structures.members):
        loaded = []
        for name in members:
            if name in columns:
                labels, parts = columns[name]
                order = parts[:, k].argsort(descending=True, stable=True)[:LISTED].tolist()
                loaded += [{"view": name, "column": labels[j], "share": round(float(parts[j, k]), 6)} for j in order]
        part = {
            "name": structures.name(k),
            "views": list(members),
            "rank": structures.ranks[k],
            "share": {name: round(float(share[name][k]), 6) for name in members},
            "columns": [one for one in loaded if one["share"] > 0],
        }
        if agreement is not None:
            part["agreement"] = round(agreement[k], 6) if k in agreement else None
        found.append(part)
    rest = {name: round(value, 6) for name, value in noise.items()}
    return {"views": list(structures.views), "structures": found, "unexplained": rest, "about": about}
