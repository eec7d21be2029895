"""Stays of an eICU database (the whole one or its demo) as a table of views."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from counterpoint.multimodal.recipes import recipe

CATEGORIES = ("gender", "ethnicity", "unittype", "unitadmitsource", "hospitaladmitsource", "unitstaytype")
SIZES = {"admissionheight": "height", "admissionweight": "weight"}
VITALS = ("temperature", "sao2", "heartrate", "respiration", "systemicsystolic", "systemicdiastolic", "systemicmean")
MINUTES = 60.0
LEVELS = 2
"""Levels of a diagnosis or treatment ("cardiovascular|shock|...") that are told apart."""


def write_eicu(folder: str | Path, path: str | Path) -> str:
    """Write one row per unit stay as Parquet, from the CSV files of an eICU folder, and say what was written.

    Columns: `stay_*` (age in years, above 89 written as 90; height in cm and weight in kg at admission), `category_*`
    (gender, ethnicity, unit type, where the patient came from, kind of stay), `lab_*` (mean of each laboratory value),
    `event_values`, `event_times` (hours since admission to the unit), `event_types` (the same values one by one),
    `dx_*` and `tx_*` (diagnoses and treatments, their first two levels), `rx_*` (drugs, by their code), each as
    ln(1 + how often) for what at least 5 stays have; `vital_*` (means) where the folder has vitalPeriodic. Kept beside:
    `patient` (the group), `died` (in hospital) and `days` in the unit.
    Needs patient, lab, diagnosis, treatment and medication; plain or gzipped. Raises `UserError` naming the file or
    column that is missing. Source: Pollard et al. 2018, Scientific Data 5, 180178 (the database's tables and columns).
    """
    asked = (
        "patientunitstayid",
        "uniquepid",
        "age",
        "hospitaldischargestatus",
        "unitdischargeoffset",
        *SIZES,
        *CATEGORIES,
    )
    stays = recipe.database(folder, "patient", asked)
    rows = [str(key) for key in recipe.texts(stays, "patientunitstayid")]
    columns: dict[str, Any] = {"id": rows, "patient": recipe.texts(stays, "uniquepid")}
    columns["died"] = [status == "Expired" for status in recipe.texts(stays, "hospitaldischargestatus")]
    columns["days"] = recipe.numbers(stays, "unitdischargeoffset") / (24 * MINUTES)
    oldest = [text is not None and text.replace(" ", "") == ">89" for text in recipe.texts(stays, "age")]
    columns["stay_age"] = np.where(oldest, np.float32(90), recipe.numbers(stays, "age"))
    columns |= {f"stay_{name}": recipe.numbers(stays, source) for source, name in SIZES.items()}
    columns |= {f"category_{name}": _filled(stays, name) for name in CATEGORIES}
    labs = recipe.database(folder, "lab", ("patientunitstayid", "labname", "labresult", "labresultoffset"))
    who, what = recipe.texts(labs, "patientunitstayid"), recipe.texts(labs, "labname")
    values = recipe.numbers(labs, "labresult").tolist()
    hours = (recipe.numbers(labs, "labresultoffset") / MINUTES).tolist()
    columns |= recipe.mean_columns(rows, zip(who, what, values, strict=True), "lab_")
    columns |= recipe.event_columns(rows, zip(who, values, hours, what, strict=True), "event_")
    for prefix, name, column in (
        ("dx_", "diagnosis", "diagnosisstring"),
        ("tx_", "treatment", "treatmentstring"),
        ("rx_", "medication", "drughiclseqno"),
    ):
        records = recipe.database(folder, name, ("patientunitstayid", column))
        codes = (code and "|".join(code.split("|")[:LEVELS]) for code in recipe.texts(records, column))
        columns |= recipe.code_columns(
            rows, zip(recipe.texts(records, "patientunitstayid"), codes, strict=True), prefix
        )
    columns |= _vitals(folder, rows)
    recipe.write(path, columns)
    return f"{path}: {len(rows)} stays of {len(set(columns['patient']))} patients, {len(columns)} columns"


def _vitals(folder: str | Path, rows: list[str]) -> dict[str, Any]:
    """The mean of each vital sign of each stay."""
    vitals = recipe.database_if_there(folder, "vitalPeriodic", ("patientunitstayid", *VITALS))
    if vitals is None:
        return {}
    who = recipe.texts(vitals, "patientunitstayid")
    records = (
        (row, name, value) for name in VITALS for row, value in zip(who, recipe.numbers(vitals, name), strict=True)
    )
    return recipe.mean_columns(rows, records, "vital_")


def _filled(table: pa.Table, column: str) -> pa.Array:
    """Levels, null for what is empty."""
    return pa.array([text or None for text in recipe.texts(table, column)], pa.string()).dictionary_encode()


if __name__ == "__main__":
    sys.exit(recipe.command("eicu", sys.argv[1:], ["FOLDER", "OUT.parquet"], write_eicu))
