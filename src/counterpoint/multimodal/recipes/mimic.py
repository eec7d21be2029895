"""Admissions of a MIMIC-III database (the whole one or its demo) as a table of views."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from counterpoint.errors import UserError
from counterpoint.multimodal.recipes import recipe

CATEGORIES = ("admission_type", "admission_location", "insurance", "religion", "marital_status", "ethnicity")
OLDEST = 90.0
"""Ages above 89 are shifted in the database, so that they cannot be told; they are all written as this."""
HOUR = 3600.0


def write_mimic(folder: str | Path, path: str | Path) -> str:
    """Write one row per admission as Parquet, from the CSV files of a MIMIC-III folder, and say what was written.

    Columns: `stay_*` (age in years, at most 90; hours in the emergency department), `category_*` (gender, type and
    place of the admission, insurance, religion, marital status, ethnicity), `dx_*` and `px_*` (diagnoses and
    procedures: the first three and two places of the ICD-9 code), `rx_*` (drugs), each as ln(1 + how often) for what at
    least 5 admissions have; `lab_*` (mean of each laboratory value) and `event_values`, `event_times` (hours since
    admission), `event_types`, where the folder has LABEVENTS. Kept beside: `patient` (the group) and `died`, in
    hospital.
    Needs PATIENTS, ADMISSIONS, DIAGNOSES_ICD, PROCEDURES_ICD and PRESCRIPTIONS; plain or gzipped.
    Raises `UserError` naming the file or column that is missing, or the row whose time cannot be read.
    Source: Johnson et al. 2016, Scientific Data 3, 160035 (the database's tables and columns).
    """
    asked = ("hadm_id", "subject_id", "admittime", "edregtime", "edouttime", "hospital_expire_flag", *CATEGORIES)
    admissions = recipe.database(folder, "ADMISSIONS", asked)
    patients = recipe.database(folder, "PATIENTS", ("subject_id", "gender", "dob"))
    rows = [str(key) for key in recipe.texts(admissions, "hadm_id")]
    who = recipe.texts(admissions, "subject_id")
    born = dict(zip(recipe.texts(patients, "subject_id"), _times(folder, "PATIENTS", patients, "dob"), strict=True))
    gender = dict(zip(recipe.texts(patients, "subject_id"), recipe.texts(patients, "gender"), strict=True))
    came, registered, left = (
        _times(folder, "ADMISSIONS", admissions, name) for name in ("admittime", "edregtime", "edouttime")
    )
    years = (came - np.array([born.get(person, np.nan) for person in who])) / (365.25 * 24 * HOUR)
    columns: dict[str, Any] = {"id": rows, "patient": who}
    columns["died"] = [flag == "1" for flag in recipe.texts(admissions, "hospital_expire_flag")]
    columns["stay_age"] = np.minimum(years, OLDEST).astype(np.float32)
    columns["stay_emergency_hours"] = ((left - registered) / HOUR).astype(np.float32)
    columns["category_gender"] = pa.array([gender.get(person) for person in who], pa.string()).dictionary_encode()
    columns |= {f"category_{name}": admissions[name].dictionary_encode() for name in CATEGORIES}
    for prefix, name, column, places in (
        ("dx_", "DIAGNOSES_ICD", "icd9_code", 3),
        ("px_", "PROCEDURES_ICD", "icd9_code", 2),
        ("rx_", "PRESCRIPTIONS", "drug", None),
    ):
        records = recipe.database(folder, name, ("hadm_id", column))
        codes = (code and code[:places].strip().lower() for code in recipe.texts(records, column))
        columns |= recipe.code_columns(rows, zip(recipe.texts(records, "hadm_id"), codes, strict=True), prefix)
    columns |= _labs(folder, rows, came)
    recipe.write(path, columns)
    return f"{path}: {len(rows)} admissions of {len(set(who))} patients, {len(columns)} columns"


def _labs(folder: str | Path, rows: list[str], came: np.ndarray) -> dict[str, Any]:
    """Laboratory values, in the mean and one by one, named as D_LABITEMS names them where it is there."""
    labs = recipe.database_if_there(folder, "LABEVENTS", ("hadm_id", "itemid", "charttime", "valuenum"))
    if labs is None:
        return {}
    items = recipe.database_if_there(folder, "D_LABITEMS", ("itemid", "label"))
    names = {} if items is None else dict(zip(recipe.texts(items, "itemid"), recipe.texts(items, "label"), strict=True))
    kinds = [names.get(item) or item for item in recipe.texts(labs, "itemid")]
    who, values = recipe.texts(labs, "hadm_id"), recipe.numbers(labs, "valuenum").tolist()
    start = dict(zip(rows, came.tolist(), strict=True))
    when = _times(folder, "LABEVENTS", labs, "charttime").tolist()
    hours = [(time - start.get(row or "", np.nan)) / HOUR for row, time in zip(who, when, strict=True)]
    means = recipe.mean_columns(rows, zip(who, kinds, values, strict=True), "lab_")
    return means | recipe.event_columns(rows, zip(who, values, hours, kinds, strict=True), "event_")


def _times(folder: str | Path, name: str, table: pa.Table, column: str) -> np.ndarray:
    """Seconds since 1970 of times such as 2164-10-23 21:09:00, NaN where there is none."""
    found = []
    for row, text in enumerate(recipe.texts(table, column), start=1):
        try:
            # Dates of the database lie centuries ahead, which nanoseconds could not hold.
            found.append(np.nan if not text else (datetime.fromisoformat(text) - datetime(1970, 1, 1)).total_seconds())
        except ValueError:
            raise UserError(
                f'{folder}: {name}, row {row}, column "{column}": "{text}" is not a time such as 2164-10-23 21:09:00'
            ) from None
    return np.array(found, dtype=np.float64)


if __name__ == "__main__":
    sys.exit(recipe.command("mimic", sys.argv[1:], ["FOLDER", "OUT.parquet"], write_mimic))
