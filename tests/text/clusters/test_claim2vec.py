"""Cluster-aware contrast: losses by brute force, what learns, what is kept aside, `cluster` as a user has it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from counterpoint import load
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.text.clusters.claim2vec import Claim2Vec, parted
from counterpoint.text.clusters.statements import Statements, shared_texts
from counterpoint.text.clusters.tfidf import CharacterTfidf
from counterpoint.text.contrast import Contrast
from counterpoint.text.pairs import Pairs
from counterpoint.training import Clock, Run, Trainer, rng
from text.tiny import claims, texts, tiny

CLOCK = Clock(0, "cluster", 0, 0, 1)
SMALL: dict[str, Any] = {"base": tiny(0, "mean"), "dropout": 0.0, "batch_size": 8, "optim": {"lr": 0.01}}


def fitted(data: Pairs, run: Run | None = None, **options: Any) -> Claim2Vec:
    return Claim2Vec(**(SMALL | options)).fit(data, trainer=Trainer(run=run, progress=False))


def loss_of(method: Contrast, data: Pairs) -> torch.Tensor:
    batch = method.batch(data, torch.arange(len(data)), rng(0))
    return torch.stack(list(method.losses(batch, CLOCK).values())).sum()


def with_hard(rows: int) -> Pairs:
    """Pairs in clusters, with hard negatives, one of which is a text of a cluster and one of which is missing."""
    data = claims(rows, 3, complete=True)
    hard: list[str | None] = list(texts(rows, 9, least=2))
    hard[0], hard[4] = data.views["other"].values[1], None
    views = {name: view.values.tolist() for name, view in data.views.items()} | {"negative": hard}
    made = Pairs.of(views, data.columns)
    return Pairs(made.views, made.columns, made.ids, "memory", group="cluster")


def prepared(data: Pairs, cls: Any = Claim2Vec, **options: Any) -> Any:
    method = cls(base=tiny(0, "mean"), dropout=0.0, **options)
    method.prepare(method.measure(data))
    return method.double().eval()


# Losses ---------------------------------------------------------------------------------------------------


def test_a_cluster_is_not_in_its_own_denominator() -> None:
    data = with_hard(12)
    method = prepared(data)
    q, d, h = method.embed_views(data).vectors.values()
    cluster, known = data.clusters, data.clusters_of("negative")
    assert known[0] == cluster[1] == cluster[0]
    losses = []
    for i in range(12):
        keys = [j for j in range(12) if j == i or cluster[j] != cluster[i]]
        hard = [j for j in range(12) if data.views["negative"].present[j] and known[j] != cluster[i]]
        logits = torch.cat([q[i] @ d[keys].T, q[i] @ h[hard].T]) / 0.05
        losses.append(logits.logsumexp(0) - q[i] @ d[i] / 0.05)
    assert loss_of(method, data).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


def of_all_texts(data: Pairs, method: Any) -> tuple[torch.Tensor, list[int]]:
    """Every text's vector and cluster, -1 for none."""
    encoded = method.embed_views(data)
    vectors = torch.cat([v[encoded.present[name]] for name, v in encoded.vectors.items()])
    clusters = [
        number
        for name in encoded.vectors
        for number, there in zip(data.clusters_of(name).tolist(), encoded.present[name].tolist(), strict=True)
        if there
    ]
    return vectors, clusters


def test_all_texts_of_a_cluster_are_positives_of_supcon() -> None:
    data = with_hard(12)
    method = prepared(data, form="supcon")
    vectors, cluster = of_all_texts(data, method)
    losses = []
    for i, own in enumerate(cluster):
        others = [j for j in range(len(cluster)) if j != i]
        positive = [j for j in others if own >= 0 and cluster[j] == own]
        if positive:
            mass = (vectors[i] @ vectors[others].T / 0.05).logsumexp(0)
            losses.append(torch.stack([mass - vectors[i] @ vectors[j] / 0.05 for j in positive]).mean())
    assert loss_of(method, data).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


def test_cosines_are_regressed_to_1_and_at_most_0() -> None:
    data = with_hard(12)
    method = prepared(data, form="cosine")
    vectors, cluster = of_all_texts(data, method)
    cosines, losses = vectors @ vectors.T, []
    for i, own in enumerate(cluster):
        positive = [j for j in range(len(cluster)) if j != i and own >= 0 and cluster[j] == own]
        negative = [j for j in range(len(cluster)) if j != i and not (own >= 0 and cluster[j] == own)]
        if positive:
            pull = (1 - cosines[i, positive]).square().mean()
            losses.append((pull + cosines[i, negative].clamp(min=0).square().mean()) / 2)
    assert loss_of(method, data).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


def test_plain_is_contrast_with_one_prompt_for_all() -> None:
    data = with_hard(12)
    ours, theirs = prepared(data, form="plain"), prepared(data, Contrast)
    assert loss_of(ours, data).item() == pytest.approx(loss_of(theirs, data).item(), rel=1e-12)
    assert ours.prompt("other") == ours.prompt("claim") == "query"


# What learns, and from what -------------------------------------------------------------------------------


def test_the_word_table_is_frozen_unless_it_is_asked_for() -> None:
    data = claims(40, 0)
    before = fitted(data, epochs=0).encoder.base.state_dict()
    table = "embeddings.word_embeddings.weight"
    for freeze in (True, False):
        after = fitted(data, freeze_words=freeze).encoder.base.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert (table in changed) != freeze
        assert {"embeddings.LayerNorm.weight", "encoder.layer.0.output.dense.weight"} <= changed


def test_word_vectors_alone_have_nothing_left_to_learn() -> None:
    pytest.importorskip("wordllama")
    with pytest.raises(UserError, match="base=static is nothing but its word table; set freeze_words=false"):
        fitted(claims(40, 0), base="static")


def test_dropout_acts_while_the_words_are_frozen() -> None:
    data = claims(40, 0)
    losses = [fitted(data, dropout=rate).encoder.base.state_dict() for rate in (0.0, 0.3)]
    assert not torch.equal(*(one["encoder.layer.0.output.dense.weight"] for one in losses))


def test_clusters_come_together() -> None:
    data, other = claims(120, 1, complete=True), claims(80, 2, complete=True)
    before, after = (
        Claim2Vec.judge(fitted(data, epochs=epochs, form="supcon", batch_size=16), other).summary() for epochs in (0, 8)
    )
    assert after["ari"] > before["ari"] + 0.02
    assert after["silhouette_gold"] > before["silhouette_gold"]


def test_mined_neighbours_are_of_other_clusters_and_share_batches() -> None:
    data = claims(60, 0, complete=True)
    method = fitted(data, mine=3, lora=2)
    rows = parted(data, method.options.held)["train"]
    near = method.near.index
    assert (near[np.setdiff1d(np.arange(60), rows)] == -1).all()
    for row in rows:
        found = near[row][near[row] >= 0].tolist()
        assert found
        assert set(found) <= set(rows.tolist())
        assert all(data.clusters[other] != data.clusters[row] for other in found)
    plan = method.phases(data)[1].plan(rng(0))
    assert sorted(torch.cat(list(plan)).tolist()) == sorted(rows.tolist())
    first = plan[0].tolist()
    assert near[first[0]][0].item() in first[:2]


def test_development_texts_are_whole_clusters_that_are_not_trained_on() -> None:
    data = claims(80, 0)
    method = fitted(data)
    parts = {name: data.rows(rows) for name, rows in parted(data, 0.15).items()}
    assert not shared_texts(parts["train"], parts["development"])
    assert not set(parts["train"].columns["cluster"]) & set(parts["development"].columns["cluster"])
    assert method.development.texts == Statements.of(parts["development"]).texts
    seen = torch.cat(list(method.phases(data)[0].plan(rng(0)))).tolist()
    whole = data.views["claim"].present & data.views["other"].present
    assert sorted(seen) == [row for row in parted(data, 0.15)["train"].tolist() if whole[row]]


def test_a_column_names_the_development_rows() -> None:
    data = claims(40, 0)
    columns = {
        **data.columns,
        "development": np.array(["0", "1"], dtype=object)[(data.columns["cluster"] < 3).astype(int)],
    }
    named = Pairs(data.views, columns, data.ids, "memory", group="cluster")
    assert parted(named, 0.15)["development"].tolist() == np.flatnonzero(data.columns["cluster"] < 3).tolist()
    columns["development"] = np.ones(40)
    with pytest.raises(UserError, match='column "development" is true in all rows'):
        parted(Pairs(data.views, columns, data.ids, "memory", group="cluster"), 0.15)
    few = data.rows(slice(0, 8))
    assert parted(few, 0.15)["train"].tolist() == parted(few, 0.15)["development"].tolist() == list(range(8))


def test_a_run_keeps_its_development_texts(tmp_path: Path) -> None:
    data = claims(60, 0)
    method = fitted(data, Run(tmp_path / "run"), lora=2)
    loaded = load(tmp_path / "run")
    assert loaded.development.json() == method.development.json()
    assert loaded.knobs(("average",)) == method.knobs(("average",))
    (tmp_path / "run" / "tables" / "development.jsonl").unlink()
    with pytest.raises(UserError, match=r"tables/development\.jsonl of the run is missing"):
        load(tmp_path / "run")


def test_what_should_be_known_before() -> None:
    said = Claim2Vec(base=tiny()).remarks(claims(40, 0, complete=True))
    assert said == [
        "80 different texts in 20 clusters (10 in several languages, 0 of one text); languages: xx 60, yy 20"
    ]
    one = Pairs.of({"a": ["x", "y", "z", "w"], "b": ["v", "x", "x", "u"]})
    warned = Claim2Vec(base=tiny()).remarks(one)
    assert warned[1].startswith("warning: one cluster holds 4 of 6 texts")
    assert warned[2].startswith("fewer than 10 clusters")


# Data -----------------------------------------------------------------------------------------------------

ROWS = [
    {"claim": "the sky is red", "language": "en", "cluster": "a"},
    {"claim": "el cielo es rojo", "language": "es", "cluster": "a"},
    {"claim": "nobody says this", "language": "en", "cluster": ""},
    {"claim": "السماء حمراء", "language": "ar", "cluster": "a"},
    {"claim": "  ", "language": "en", "cluster": "b"},
    {"claim": "that neither", "language": "en", "cluster": ""},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_text_and_its_cluster_make_pairs(suffix: str, tmp_path: Path) -> None:
    data = Pairs.read(write(tmp_path / f"claims{suffix}", ROWS))
    assert data.group == "cluster"
    assert data.views["other"].values.tolist() == [
        "el cielo es rojo", "السماء حمراء", None, "the sky is red", None, None
    ]  # fmt: skip
    said = Statements.of(data)
    assert said.languages.tolist() == ["en", "es", "en", "ar", "en"]
    assert said.sizes.tolist() == [3, 3, 1, 3, 1]
    assert said.mixed.tolist() == [True, True, False, True, False]
    again = Pairs.read(tmp_path / f"claims{suffix}", view={"claim": ["claim"], "other": ["claim"]}, group="cluster")
    assert again.fingerprint() == data.fingerprint()


def test_pairs_without_clusters_are_joined_by_equal_texts(tmp_path: Path) -> None:
    rows = [{"one": "a b", "two": "c d"}, {"one": "c d", "two": "e f"}, {"one": "g h", "two": "i j"}]
    data = Pairs.read(write(tmp_path / "pairs.jsonl", rows))
    assert data.group is None
    assert data.clusters.tolist() == [0, 0, 2]


@pytest.mark.parametrize("seed", range(3))
def test_a_split_leaves_no_cluster_and_no_text_on_two_sides(seed: int) -> None:
    data = claims(60, seed)
    parts = data.split({"train": 0.6, "test": 0.4}, seed=seed)
    assert not shared_texts(parts["train"], parts["test"])
    assert not set(parts["train"].columns["cluster"]) & set(parts["test"].columns["cluster"])


def test_tf_idf_keeps_the_same_development_texts() -> None:
    data = claims(60, 0)
    peer = CharacterTfidf().fit(data)
    assert peer.development.texts == fitted(data, epochs=0).development.texts
    assert Claim2Vec.judge(peer, claims(40, 1)).summary()["ari"] > -1


# The command line -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fitted(claims(60, 0, complete=True), Run(folder / "run"), lora=2, max_length=8)
    return folder / "run"


def claims_file(folder: Path) -> Path:
    said = Statements.of(claims(12, 5, complete=True)).texts
    rows = [{"id": f"c{number}", "claim": text} for number, text in enumerate([*said, said[0], " "])]
    return write(folder / "claims.csv", rows)


def test_fit_and_cluster_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = claims(60, 0, complete=True)
    rows = [
        {"claim": a, "other": b, "cluster": int(c)}
        for a, b, c in zip(*(view.values for view in data.views.values()), data.columns["cluster"], strict=True)
    ]
    file, out = write(tmp_path / "pairs.jsonl", rows), tmp_path / "run"
    options = [f"base={tiny(0, 'mean')}", "batch_size=8", "max_length=12", "form=supcon"]
    assert main(["fit", "claim2vec", str(file), *options, "--out", str(out), "--split", "train=.7,test=.3"]) == 0
    told = capsys.readouterr()
    assert "rows of an equal cluster belong and stay together (group=cluster)" in told.err
    assert "120 different texts in 30 clusters" in told.err
    assert "silhouette_gold" in told.out
    assert main(["cluster", str(out), str(claims_file(tmp_path)), "-o", str(tmp_path / "out.csv"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "24 different texts in" in shown
    assert (tmp_path / "out.csv").read_text().startswith('"id","cluster","size","medoid"\n"c0",0,')


def test_what_cluster_says_in_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", str(run), str(claims_file(tmp_path)), "--json", "--algorithm", "average", "-k", "5"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["rows"], found["texts"], found["blank"], found["clusters"]) == (26, 24, 1, 5)
    rows = {row["id"]: row for row in found["assigned"]}
    assert rows["c24"]["cluster"] == rows["c0"]["cluster"] == 0
    assert rows["c25"] == {"id": "c25", "cluster": None, "medoid": None}
    assert "1 of 26 rows have no text in column claim" in captured.err
    method = load(run)
    same = method.cluster(Statements.of(claims(12, 5, complete=True)).texts, "average", number=5)
    assert [row["cluster"] for row in found["assigned"][:24]] == same.assigned.tolist()


def test_a_long_text_is_cut_and_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "word1 " * 16_000 + "word2"}, {"text": "word3 word4"}, {"text": "word5"}]
    assert main(["cluster", str(run), str(write(tmp_path / "long.csv", rows)), "--algorithm", "dbscan"]) == 0
    captured = capsys.readouterr()
    assert "1 of 3 texts are longer than 8 tokens and cut there" in captured.err
    assert "…" in captured.out


def test_near_duplicates_by_a_graph(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cluster", str(run), str(claims_file(tmp_path)), "--algorithm", "near-duplicates", "--json"]
    assert main([*arguments, "--threshold", "0.9"]) == 0
    found = json.loads(capsys.readouterr().out)
    texts_of = Statements.of(claims(12, 5, complete=True)).texts
    same = load(run).cluster(texts_of, "dbscan", knob=0.1)
    assert [row["cluster"] for row in found["assigned"][:24]] == same.assigned.tolist()
    assert (found["search"], found["recall"]) == ("exact", 1.0)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["threshold"] == pytest.approx(1 - load(run).knobs(("dbscan",))["dbscan"].value)
    assert "what does best on the development texts" in captured.err


def test_many_texts_are_clustered_by_what_there_is_room_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["cluster", str(run), str(claims_file(tmp_path)), "--json"]
    found = {}
    for large in (5000, 10):
        monkeypatch.setattr("counterpoint.serving.cluster.LARGE", large)
        for name in ("auto", "average", "hdbscan"):
            assert main([*arguments, "--algorithm", name]) == 0
            found[large, name] = json.loads(capsys.readouterr().out)
            assert found[large, name]["assigned"] == found[5000, name]["assigned"]
    ranked = sorted(load(run).knobs().items(), key=lambda pair: -pair[1].ari)
    monkeypatch.setattr("counterpoint.serving.cluster_many.free_memory", lambda device: 1)
    monkeypatch.setattr("counterpoint.serving.cluster_many.MOST", 1)
    assert main([*arguments, "-o", str(tmp_path / "out.parquet")]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["algorithm"] == "dbscan"
    before = [name for name, _ in ranked[: [name for name, _ in ranked].index("dbscan")]]
    assert captured.err.count("the next best algorithm on the development texts is taken") == len(before)
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "cluster", "size", "medoid"]
    assert main([*arguments, "--algorithm", "hdbscan"]) == 2
    assert "hdbscan holds the distances between 24 texts" in capsys.readouterr().err
    assert main([*arguments, "-k", "3"]) == 2
    assert "take -k with --algorithm kmeans" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--algorithm", "birhc"], 'unknown algorithm "birhc"; did you mean "birch"?'),
        (["-k", "25", "--algorithm", "kmeans"], "-k 25: there are 24 different texts; ask for 1 to 24"),
        (["-k", "3", "--algorithm", "dbscan"], "dbscan finds the number of clusters itself"),
        (["-k", "3", "--algorithm", "near-duplicates"], "give --threshold"),
        (["-k", "3", "--threshold", "0.5"], "give one"),
        (["--threshold", "1.5"], "--threshold 1.5: a cosine between -1 and 1"),
        (["--threshold", "0.5", "--algorithm", "kmeans"], "kmeans has no threshold; give -k"),
        (["--text", "clam"], '--text clam: no column of texts; did you mean "claim"?'),
        (["-o", "out.txt"], "out.txt: name a file to write that ends in .csv"),
    ],
)
def test_mistakes_are_told_in_a_line(
    run: Path, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cluster", str(run), str(claims_file(tmp_path)), *more]) == 2
    assert said in capsys.readouterr().err


def test_files_that_cannot_be_clustered(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank = write(tmp_path / "blank.csv", [{"claim": " "}, {"claim": ""}])
    unclear = write(tmp_path / "unclear.csv", [{"first": "a", "second": "b"}])
    latin = tmp_path / "latin.csv"
    latin.write_bytes("claim\nnaïve\nça va\n".encode("latin-1"))
    for file, said in (
        (blank, 'column "claim" has no text'),
        (unclear, "which column has the texts? name it: --text COLUMN (known: first, second)"),
        (latin, "line 2 is not UTF-8"),
    ):
        assert main(["cluster", str(run), str(file)]) == 2
        assert said in capsys.readouterr().err


def test_other_methods_do_not_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = Contrast(**(SMALL | {"lora": 2}))
    method.fit(claims(20, 0), trainer=Trainer(run=Run(tmp_path / "run"), progress=False))
    assert main(["cluster", str(tmp_path / "run"), str(claims_file(tmp_path))]) == 2
    assert "contrast cannot cluster; methods that can: claim2vec" in capsys.readouterr().err


def test_it_goes_to_sentence_transformers(run: Path, tmp_path: Path) -> None:
    peer = pytest.importorskip("sentence_transformers")
    assert main(["export", str(run), "--to", "sentence-transformers", "-o", str(tmp_path / "st")]) == 0
    found = peer.SentenceTransformer(str(tmp_path / "st"), device="cpu").encode(
        ["word1 word2"], show_progress_bar=False
    )
    np.testing.assert_allclose(found, load(run).embed_texts(["word1 word2"]).numpy(), atol=1e-6)
