"""Fine-tuning: the loss of sentence-transformers and its gradients, hard negatives, borrowed and own weights."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from counterpoint import load
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.text.contrast import Contrast
from counterpoint.text.pairs import Pairs
from counterpoint.training import Clock, Run, Trainer, rng
from text.tiny import pairs, texts, tiny

CLOCK = Clock(0, "fit", 0, 0, 1)


def fitted(data: Pairs, run: Run | None = None, **options: Any) -> Contrast:
    small = {"base": tiny(0, "mean"), "epochs": 1, "batch_size": 8, "dropout": 0.0, "optim": {"lr": 0.01}}
    return Contrast(**(small | options)).fit(data, trainer=Trainer(run=run, progress=False))


def prepared(data: Pairs, **options: Any) -> Contrast:
    method = Contrast(base=tiny(0, "mean"), dropout=0.0, **options)
    method.prepare(method.measure(data))
    return method.double()


def loss_of(method: Contrast, data: Pairs) -> Tensor:
    batch = method.batch(data, torch.arange(len(data)), rng(0))
    return torch.stack(list(method.losses(batch, CLOCK).values())).sum()


def triples(rows: int) -> Pairs:
    every = texts(3 * rows, 5, least=2)
    return Pairs.of({"q": every[:rows], "d": every[rows : 2 * rows], "negative": every[2 * rows :]})


@pytest.mark.parametrize("hard", [False, True])
def test_loss_and_gradients_are_those_of_sentence_transformers(hard: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("sentence_transformers")
        losses = pytest.importorskip("sentence_transformers.losses")
        model = peer.SentenceTransformer(tiny(0, "mean"), device="cpu").double().eval()
    data = triples(12)
    if not hard:
        data = Pairs.of({name: data.views[name].values.tolist() for name in data.positives})
    method = prepared(data).eval()
    ours = loss_of(method, data)
    ours.backward()
    columns = [model.tokenize(view.values.tolist()) for view in data.views.values()]
    theirs = losses.MultipleNegativesRankingLoss(model)(columns, torch.zeros(0))
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    expected = {name.split("auto_model.")[-1].split("model.", 1)[-1]: p.grad for name, p in model.named_parameters()}
    for name, parameter in method.encoder.base.named_parameters():
        found = next(grad for key, grad in expected.items() if key.endswith(name))
        assert torch.allclose(parameter.grad, found, atol=1e-7), name


def test_the_symmetric_loss_is_the_mean_of_both_directions() -> None:
    data = pairs(10, 1, complete=True)
    method = prepared(data, symmetric=True)
    encoded = method.eval().embed_views(data).vectors
    scores = encoded["query"] @ encoded["document"].T / 0.05
    target = torch.arange(10)
    expected = (torch.nn.functional.cross_entropy(s, target) for s in (scores, scores.T))
    assert loss_of(method, data).item() == pytest.approx(sum(expected).item() / 2, rel=1e-9)


def test_rows_that_share_a_text_are_not_each_others_negatives() -> None:
    """Brute force: a key counts unless its row shares a text with the query's row, and a hard one unless equal."""
    data = triples(8)
    queries, documents, hard = (view.values.copy() for view in data.views.values())
    queries[3], documents[5], hard[2] = queries[1], documents[4], documents[6]
    data = Pairs.of({"q": queries.tolist(), "d": documents.tolist(), "negative": hard.tolist()})
    method = prepared(data).eval()
    q, d, h = method.embed_views(data).vectors.values()
    losses = []
    for i in range(8):
        keys = [j for j in range(8) if j == i or (queries[i] != queries[j] and documents[i] != documents[j])]
        others = [j for j in range(8) if hard[j] != documents[i]]
        logits = torch.cat([q[i] @ d[keys].T, q[i] @ h[others].T]) / 0.05
        losses.append(logits.logsumexp(0) - q[i] @ d[i] / 0.05)
    assert loss_of(method, data).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


def test_chunks_change_nothing() -> None:
    data = pairs(16, 2)
    method = prepared(data)
    found = []
    for chunk in (0, 3):
        method.chunk = chunk
        method.zero_grad()
        loss = loss_of(method, data)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in method.parameters() if p.grad is not None)])
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*found, strict=True))


def test_fine_tuning_brings_together_what_belongs_together() -> None:
    data = pairs(64, 3, complete=True)
    before = Contrast.judge(fitted(data, epochs=0), data).summary()["ndcg10"]
    after = Contrast.judge(fitted(data, epochs=6), data).summary()["ndcg10"]
    assert after > before + 0.05


def test_no_epochs_leave_the_base_as_it_is() -> None:
    method = fitted(pairs(16, 0), epochs=0)
    assert method.encoder.facts["hash"] == fitted(pairs(16, 0), epochs=0).encoder.facts["hash"]
    assert torch.equal(method.embed_texts(["word1"]), prepared(pairs(16, 0)).float().eval().embed_texts(["word1"]))


def test_a_run_with_weights_of_its_own_needs_no_base(tmp_path: Path) -> None:
    base, data = tmp_path / "base", pairs(24, 0)
    shutil.copytree(tiny(0, "mean"), base)
    method = fitted(data, Run(tmp_path / "run"), base=str(base))
    shutil.rmtree(base)
    assert torch.equal(load(tmp_path / "run").embed(data), method.embed(data))
    (tmp_path / "run" / "tables" / "tokenizer.jsonl").unlink()
    with pytest.raises(UserError, match=r"tables/tokenizer\.jsonl of the run is missing"):
        load(tmp_path / "run")


def test_a_run_with_a_borrowed_base_refuses_another(tmp_path: Path) -> None:
    base, data = tmp_path / "base", pairs(24, 0)
    shutil.copytree(tiny(0, "mean"), base)
    method = fitted(data, Run(tmp_path / "run"), base=str(base), lora=2)
    assert torch.equal(load(tmp_path / "run").embed(data), method.embed(data))
    assert (tmp_path / "run" / "model.safetensors").stat().st_size < (base / "model.safetensors").stat().st_size
    shutil.copy(Path(tiny(1)) / "model.safetensors", base)
    with pytest.raises(UserError, match="is not the one that was fitted: its weights differ"):
        load(tmp_path / "run")
    shutil.rmtree(base)
    with pytest.raises(UserError, match="neither a folder nor minilm"):
        load(tmp_path / "run")


def test_absent_texts_have_no_vectors_and_cannot_be_asked_for() -> None:
    data = pairs(24, 0)
    method = fitted(data)
    encoded = method.embed_views(data)
    absent = ~torch.from_numpy(data.views["document"].present)
    assert bool(absent.any())
    assert bool((encoded.vectors["document"][absent] == 0).all())
    assert bool((method.embed(data).norm(dim=1) > 0.99).sum() == (data.views["query"].present | ~absent.numpy()).sum())
    with pytest.raises(UserError, match='no view "documents"; did you mean "document"'):
        method.embed_views(data, ["documents"])
    with pytest.raises(UserError, match="has none of the run's views query, document"):
        method.embed_views(Pairs.of({"other": ["x"]}))


def test_records_are_embedded_as_rows_are() -> None:
    data = pairs(24, 0, complete=True)
    method = fitted(data)
    made = Pairs.of_records(data.views["query"].values.tolist(), method.facts)
    assert torch.allclose(method.embed(made), method.embed_views(data, ["query"]).vectors["query"], atol=1e-6)


def test_one_text_per_row_is_too_few() -> None:
    with pytest.raises(UserError, match="contrast needs two texts per row"):
        fitted(Pairs.of({"q": ["a"] * 9, "negative": ["b"] * 9}))


def test_the_command_line_fits_evaluates_and_embeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file, run = pairs(60, 0, complete=True), tmp_path / "pairs.tsv", tmp_path / "run"
    lines = zip(data.views["query"].values, data.views["document"].values, strict=True)
    file.write_text("\n".join(["question\tanswer", *("\t".join(line) for line in lines)]))
    options = ["view.query=question", "view.document=answer", f"base={tiny(0, 'mean')}", "epochs=1", "batch_size=8"]
    assert main(["fit", "contrast", str(file), *options, "--out", str(run), "--quiet"]) == 0
    assert "ndcg10" in capsys.readouterr().out
    assert (run / "report.html").exists()
    assert "ndcg10" in (run / "README.md").read_text()
    assert main(["evaluate", str(run), str(file), "--quiet"]) == 0
    out = tmp_path / "vectors.parquet"
    assert main(["embed", str(run), str(file), "-o", str(out), "--given", "document", "--quiet"]) == 0
    table = pq.read_table(out)
    expected = load(run).embed_texts(data.views["document"].values.tolist(), "document")
    np.testing.assert_allclose(np.stack(table["joint"].to_pylist()), expected, atol=1e-5)
    assert main(["fit", "contrast", str(file), *options, "temprature=1", "--out", str(run)]) == 2
    assert 'did you mean "temperature"?' in capsys.readouterr().err
