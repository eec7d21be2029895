"""Every format gives the same events; whatever is wrong with a file or its options, one line says where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import counterpoint.recommend.sources as sources
from counterpoint.errors import UserError
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.items import chosen

ROWS = [("7", "b", 30, "view"), ("7", "a", 10, "view"), ("07", "c", 5, "buy"), ("7", "c", 20, "buy")]
Make = str | Callable[[Path], None]


def separated(comma: str, head: str) -> str:
    return "\n".join([head.replace(",", comma), *(comma.join(map(str, row)) for row in ROWS)]) + "\n"


def parquet(path: Path) -> None:
    user, item, time, kind = (list(column) for column in zip(*ROWS, strict=True))
    events = pa.array(kind).dictionary_encode()
    pq.write_table(pa.table({"user": user, "item": item, "timestamp": time, "event": events}), path, row_group_size=1)


FORMATS: dict[str, Make] = {
    "shop.csv": separated(",", "user,item,timestamp,event"),
    "shop.tsv": separated("\t", "User_ID,Item_ID,Timestamp,Behavior"),
    "shop.inter": separated("\t", "user_id:token,item_id:token,timestamp:float,behavior:token"),
    "shop.parquet": parquet,
}


def write(path: Path, content: Make) -> Path:
    if callable(content):
        content(path)
    else:
        path.write_text(content)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_read_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK", 80)
    monkeypatch.setattr(sources, "ROWS", 1)
    data = Interactions.read(write(tmp_path / name, FORMATS[name]), target="buy")
    assert data.user_ids.tolist() == ["7", "07"], "ids stay texts"
    assert data.item_ids[data.items].tolist() == ["a", "c", "b", "c"]
    assert [data.labels[n] for n in data.behaviours] == ["view", "buy", "view", "buy"]
    assert data.times is not None
    assert data.times.tolist() == [10, 20, 30, 5]
    assert data.protocol.target == "buy"


def test_a_line_per_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS", 2)
    data = Interactions.read(write(tmp_path / "s.txt", "1 5 6 5\n2\t7\n1 8\n"))
    assert data.user_ids.tolist() == ["1", "2"]
    assert data.item_ids[data.items].tolist() == ["5", "6", "5", "8", "7"]
    assert data.protocol.seen == "kept", "items repeat"
    assert Interactions.read(write(tmp_path / "t.txt", "1 5 6\n2 7 5\n")).protocol.seen == "removed"


def test_a_folder_of_atomic_files_with_its_items(tmp_path: Path) -> None:
    write(tmp_path / "shop.inter", FORMATS["shop.inter"])
    write(
        tmp_path / "shop.item",
        'item_id:token\tname:token_seq\tclass:token_seq\na\tA "4" tea\thot wet\nb\tB\tdry\nz\tZ\tx\n',
    )
    data = Interactions.read(tmp_path)
    assert data.catalogue.column_names == ["id", "title", "class"]
    assert data.catalogue["title"].to_pylist() == ["B", 'A "4" tea', None]
    assert chosen(data.catalogue, {"class": ["wet", "dry"]}).tolist() == [True, True, False]
    assert "1 of 3 items are not in the catalogue" in data.notes[0]


@pytest.mark.parametrize("name", ["items.csv", "items.parquet", "items.json"])
def test_catalogues_beside_the_data(name: str, tmp_path: Path) -> None:
    write(tmp_path / "shop.csv", FORMATS["shop.csv"])
    items = {
        "a": {"title": "Tea", "kind": "hot"},
        "b": {"title": "Salt", "kind": "dry"},
        "c": {"title": "Soap", "kind": "dry"},
    }
    table = pa.table({"item": list(items), "name": [i["title"] for i in items.values()], "kind": ["hot", "dry", "dry"]})
    if name.endswith("json"):
        (tmp_path / name).write_text(json.dumps(items))
    elif name.endswith("csv"):
        (tmp_path / name).write_text("item,name,kind\na,Tea,hot\nb,Salt,dry\nc,Soap,dry\n")
    else:
        pq.write_table(table, tmp_path / name)
    data = Interactions.read(tmp_path / "shop.csv", catalogue=name)
    told = dict(zip(data.item_ids, data.catalogue["title"].to_pylist(), strict=True))
    assert told == {"a": "Tea", "b": "Salt", "c": "Soap"}
    assert data.item_ids[chosen(data.catalogue, {"kind": "hot"})].tolist() == ["a"]


def test_values_are_joined_and_ordered_as_behaviours(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "user,item,rating\nu,a,1\nu,b,5\nu,c,4\n")
    data = Interactions.read(path, behaviour="rating", behaviours={"low": "1,2,3", "high": "4, 5"}, target="high")
    assert data.labels == ("low", "high")
    assert data.behaviours.tolist() == [0, 1, 1]
    assert data.wanted.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["2026-01-02", "2025-12-31", "2026-01-01"], "bca"),
        (["2026-01-02T10:00:00", "2026-01-02T09:00:00", "2026-01-02T09:30:00"], "bca"),
        (["3.5", "1.25", "2"], "bca"),
        (["3", "", "2"], "cab"),
        (["1e9", "2.5", "3"], "bca"),
    ],
)
def test_times_of_many_kinds(times: list[str], order: str, tmp_path: Path) -> None:
    rows = "".join(f"u,{item},{time}\n" for item, time in zip("abc", times, strict=True))
    data = Interactions.read(write(tmp_path / "t.csv", f"user,item,time\n{rows}"))
    assert "".join(data.item_ids[data.items]) == order


def test_candidates_are_read_and_warned_of(tmp_path: Path) -> None:
    write(tmp_path / "shop.csv", FORMATS["shop.csv"])
    pq.write_table(pa.table({"user": ["07", "7"], "items": [["a", "c"], ["b", "c"]]}), tmp_path / "c.parquet")
    data = Interactions.read(tmp_path / "shop.csv", candidates="c.parquet")
    assert data.candidates is not None
    assert data.item_ids[data.candidates].tolist() == [["b", "c"], ["a", "c"]]
    assert any("not comparable with full ranking" in text for text in data.warnings())


def missing(name: str) -> Callable[[Path], None]:
    return lambda path: pq.write_table(
        pa.table({"user": [1, None if name == "user" else 2], "item": [3, None if name == "item" else 4]}), path
    )


CASES: dict[str, tuple[str, Make, dict[str, Any], list[str]]] = {
    # name: file, content, options, what the message must contain
    "no file": ("a.csv", lambda path: None, {}, ["a.csv", "no such file"]),
    "suffix": ("a.xlsx", "x", {}, ['".xlsx"', ".inter", ".parquet"]),
    "empty": ("a.csv", "", {}, ["a.csv", "cannot be read"]),
    "no rows": ("a.csv", "user,item\n", {}, ["has no events"]),
    "damaged": ("a.parquet", "PAR1 but no more", {}, ["a.parquet", "cannot be read"]),
    "not text": ("a.csv", lambda path: path.write_bytes(b"user,item\n\xff\xfe,1\n"), {}, ["a.csv", "cannot be read"]),
    "ragged": ("a.csv", "user,item\n1,2\n3\n", {}, ["cannot be read", "Expected 2 columns, got 1"]),
    "twice": ("a.csv", "user,user,item\n1,2,3\n", {}, ['two columns are named "user"']),
    "no user": ("a.csv", "who,item\n1,2\n", {}, ["looks like the user", "user=COLUMN", "who, item"]),
    "no item": ("a.csv", "user,what\n1,2\n", {}, ["looks like the item"]),
    "wrong column": ("a.csv", "user,item\n1,2\n", {"user": "usr"}, ["user=usr", 'did you mean "user"']),
    "one for both": ("a.csv", "user,item\n1,2\n", {"user": "item", "item": "item"}, ["user and item are both"]),
    "no user id": ("a.csv", "user,item\n1,2\n,3\n", {}, ["row 2", "the user is missing"]),
    "no item id": ("a.parquet", missing("item"), {}, ["row 2", "the item is missing"]),
    "null user": ("a.parquet", missing("user"), {}, ["row 2", "the user is missing"]),
    "not a time": ("a.csv", "user,item,time\n1,2,3\n1,3,soon\n", {}, ["row 2", '"soon" is not a time']),
    "no behaviours": ("a.csv", "user,item\n1,2\n", {"behaviours": {"buy": "buy"}}, ["behaviour=event"]),
    "no label": ("a.csv", "user,item,event\n1,2,\n", {}, ["row 1", "the behaviour is missing"]),
    "unknown label": ("a.csv", "user,item,event\n1,2,view\n1,3,byu\n", {"behaviours": {"view": "view", "buy": "buy"}},
                      ["row 2", 'unknown behaviour "byu"', 'did you mean "buy"']),
    "no target": ("a.csv", "user,item,event\n1,2,view\n", {"target": "buy"}, ["target=buy", "view"]),
    "core": ("a.csv", "user,item\n1,2\n", {"core": 3}, ["core=3 leaves nothing"]),
    "cut-offs": ("a.csv", "user,item\n1,2\n", {"cutoffs": (10, 10)}, ["cutoffs=10,10"]),
    "bare header": ("a.inter", "user_id\titem_id\n1\t2\n", {}, ['"user_id"', "name:kind"]),
    "sequences": ("a.inter", "user_id:token\titem_id:token_seq\n1\t2 3\n", {}, ["holds sequences"]),
    "lonely user": ("a.txt", "1 2 3\n4\n", {}, ["line 2", '"4" is not a user and then items']),
    "blank line": ("a.txt", "1 2 3\n\n", {}, ["line 2"]),
    "title": ("a.csv", "user,item\n1,2\n", {"title": "name"}, ["needs a file of items", "catalogue=FILE"]),
    "catalogue": ("a.csv", "user,item\n1,2\n", {"catalogue": "no.csv"}, ["no.csv", "no such file"]),
    "candidates": ("a.csv", "user,item\n1,2\n", {"candidates": "no.parquet"}, ["no.parquet", "no such file"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_line(name: str, tmp_path: Path) -> None:
    file, content, options, parts = CASES[name]
    path = tmp_path / file
    write(path, content)
    with pytest.raises(UserError) as raised:
        Interactions.read(path, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("i.csv", "item,name\n2,A\n2,B\n", 'item "2" is there twice'),
        ("i.csv", "thing,name\n2,A\n", "looks like the id of an item"),
        ("i.csv", "item,name\n", "has no rows"),
        ("i.json", "[1]", "is not a JSON object of item -> attributes"),
        ("i.json", "{", "cannot be read"),
        ("i.json", '{"2": {"size": 1}, "3": {"size": "x"}}', "values of several kinds"),
    ],
)
def test_a_mistake_in_a_catalogue_is_one_line(name: str, content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=line):
        Interactions.read(tmp_path / "a.csv", catalogue=name)


@pytest.mark.parametrize(
    ("users", "items", "line"),
    [
        (["7"], [["a"]], 'user "07" has no candidates'),
        (["7", "07"], [["a"], ["a", "b"]], "between 1 and 2 candidates"),
        (["7", "07"], [["a"], ["x"]], 'item "x" is not in the data'),
    ],
)
def test_a_mistake_in_candidates_is_one_line(
    users: list[str], items: list[list[str]], line: str, tmp_path: Path
) -> None:
    write(tmp_path / "shop.csv", FORMATS["shop.csv"])
    pq.write_table(pa.table({"user": users, "items": items}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=line):
        Interactions.read(tmp_path / "shop.csv", candidates="c.parquet")
