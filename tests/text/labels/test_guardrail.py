"""The guardrail: MaskCL by brute force, important tokens, the calibration, what it leaves behind, what it refuses."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint import load
from counterpoint.errors import UserError
from counterpoint.objectives import Embeddings, Ids
from counterpoint.pretrained.lowrank import strengthen, updates
from counterpoint.pretrained.tokens import Tokens
from counterpoint.text.labels.guardrail import GRID, ShortcutGuardrail, masked_contrast
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.masks import Masked, masked, top_tokens
from counterpoint.text.labels.repair import shortcuts, support_with, word_spans, write_repaired
from counterpoint.training import Clock, Run, Trainer, rng
from text.labels.test_classifier import broken, theirs
from text.tiny import texts
from text.tiny_classifier import classifier, labelled

CLOCK = Clock(0, "contrast", 0, 0, 1)


def fitted(data: LabelledTexts, run: Run | None = None, **options: Any) -> ShortcutGuardrail:
    small = {"classifier": classifier(), "k": 3, "batch_size": 8, "dropout": 0.0, "optim": {"lr": 0.02}}
    return ShortcutGuardrail(**(small | options)).fit(data, trainer=Trainer(run=run, progress=False))


@pytest.fixture(scope="module")
def repaired() -> ShortcutGuardrail:
    method = fitted(labelled(48, 0), epochs=3)
    method.right = torch.tensor([1, 2, 3, 2, 5, 2, 5, 5, 4, 3, 2])  # strength 0.4
    return method


def brute(anchors: Tensor, hidden: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """L1 and L2 of the card, term by term: anchors [B, d], hidden [B, k, d]."""
    b, k = hidden.shape[:2]
    first = second = anchors.new_zeros(())
    for i in range(b):
        for j in range(k):
            own = (anchors[i] @ hidden[i, j] / t).exp()
            first = first - (own / sum((anchors[o] @ hidden[i, j] / t).exp() for o in range(b))).log()
            second = second - (own / sum((anchors[i] @ hidden[o, j] / t).exp() for o in range(b))).log()
    return first, second


def test_both_halves_and_their_gradients_are_the_papers() -> None:
    b, k, d, t = 5, 3, 7, 0.1
    vectors = torch.randn(b * (1 + k), d, dtype=torch.float64, generator=rng(0)).requires_grad_()
    unit = torch.nn.functional.normalize(vectors, dim=1)
    anchors, hidden = unit[:b], unit[b:].view(b, k, d)
    first, second = brute(anchors, hidden, t)
    expected = (first + second) / (2 * b * k)
    rows = torch.arange(b) + 10
    nothing = torch.zeros(b * k, dtype=torch.int64)
    copies = Masked(
        Tokens(nothing[:, None], nothing, nothing.bool()),
        torch.arange(b).repeat_interleave(k),
        torch.arange(k).repeat(b),
    )
    terms = masked_contrast(Embeddings(anchors, Ids(rows, rows)), hidden.reshape(-1, d), copies, t)
    assert terms["text"].item() == pytest.approx(first.item() / (2 * b * k), rel=1e-12)
    assert terms["copy"].item() == pytest.approx(second.item() / (2 * b * k), rel=1e-12)
    (ours,) = torch.autograd.grad(sum(terms.values()), vectors, retain_graph=True)
    (paper,) = torch.autograd.grad(expected, vectors)
    assert torch.allclose(ours, paper, atol=1e-13)


def test_the_loss_of_a_batch_is_that_of_its_masked_texts() -> None:
    """From texts to loss, each masked copy made and run by hand."""
    data = LabelledTexts.of(texts(8, 3, least=6), {"label": ["bad", "good", *[None] * 6]})
    method = ShortcutGuardrail(classifier=classifier(), k=3, dropout=0.0, copies="all")
    method.prepare(method.measure(data))
    method.double().eval()
    for update in updates(method.classifier.network).values():
        torch.nn.init.normal_(update.up, std=0.3, generator=rng(1))
    phase = method.phases(data)[0]
    method.choose(phase.batch(torch.arange(8), rng(0)), CLOCK)
    rows = torch.tensor([2, 5, 3, 7])
    terms = method.losses(method.batch(data, rows, rng(0)), CLOCK)
    tokeniser, network = method.classifier.tokeniser.tokenizer, method.classifier.network

    def vector(ids: list[int]) -> Tensor:
        state = network.bert(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]
        return state / state.norm()

    encoded = [tokeniser.encode(data.text.values[row]).ids for row in rows.tolist()]
    strengthen(network, 0.0)
    saliency = [method.classifier.saliency(method.classifier.tokeniser([data.text.values[row]]))[0] for row in rows]
    strengthen(network, 1.0)
    hidden = []
    for ids, of in zip(encoded, saliency, strict=True):
        order = sorted(range(1, len(ids) - 1), key=lambda place, of=of: -float(of[place]))[:3]
        hidden.append(torch.stack([vector([4 if p == place else n for p, n in enumerate(ids)]) for place in order]))
    first, second = brute(torch.stack([vector(ids) for ids in encoded]), torch.stack(hidden), 0.1)
    assert terms["text"].item() == pytest.approx(first.item() / 24, rel=1e-8)
    assert terms["copy"].item() == pytest.approx(second.item() / 24, rel=1e-8)


def test_a_column_at_a_time_is_the_grid() -> None:
    data = LabelledTexts.of(texts(8, 3, least=6), {"label": ["bad", "good", *[None] * 6]})
    found = {}
    for copies in ("all", "one"):
        method = ShortcutGuardrail(classifier=classifier(), k=3, dropout=0.0, copies=copies, batch_size=6)
        method.prepare(method.measure(data))
        method.double().eval()
        importance, contrast, _ = method.phases(data)
        method.choose(importance.batch(torch.arange(8), rng(0)), CLOCK)
        plan = contrast.plan(rng(0))
        losses = [method.losses(contrast.batch(rows, rng(0)), CLOCK) for rows in plan]
        found[copies] = [sum(terms[half] for terms in losses).item() / len(plan) for half in ("text", "copy")]
        assert len(plan) == (3 if copies == "one" else 1)
    assert found["one"] == pytest.approx(found["all"], rel=1e-9)


def test_equal_texts_are_not_each_others_negatives() -> None:
    given = texts(4, 3, least=6)
    data = LabelledTexts.of([given[0], given[0]], {"label": ["bad", "good"]})
    method = ShortcutGuardrail(classifier=classifier(), k=3, dropout=0.0)
    method.prepare(method.measure(data))
    loss = method.losses(method.batch(data, torch.arange(2), rng(0)), CLOCK)
    assert sum(loss.values()).item() == 0


@given(st.integers(0, 20), st.integers(1, 6), st.sampled_from(["position", "type"]))
def test_important_tokens_are_the_strongest_that_may_be_masked(seed: int, k: int, by: Any) -> None:
    generator = rng(seed)
    ids = torch.randint(3, 9, (4, 7), generator=generator)
    lengths = torch.randint(1, 8, (4,), generator=generator)
    tokens = Tokens(ids, lengths, torch.zeros(4, dtype=torch.bool))
    saliency = torch.randint(0, 4, (4, 7), generator=generator).float()  # with ties
    found = top_tokens(saliency, tokens, k, {3}, by)
    for row in range(4):
        allowed = [p for p in range(int(lengths[row])) if int(ids[row, p]) != 3]
        order = sorted(allowed, key=lambda p, row=row: (-float(saliency[row, p]), p))
        if by == "type":
            seen: set[int] = set()
            order = [p for p in order if not (int(ids[row, p]) in seen or seen.add(int(ids[row, p])))]
        assert found[row].tolist() == (order + [-1] * k)[:k]
    copies = masked(tokens, found, 99, by)
    assert len(copies.row) == int((found >= 0).sum())
    for number, (row, column) in enumerate(zip(copies.row.tolist(), copies.column.tolist(), strict=True)):
        place = int(found[row, column])
        hit = (ids[row] == ids[row, place]) if by == "type" else (torch.arange(7) == place)
        assert torch.equal(copies.tokens.ids[number], torch.where(hit, 99, ids[row]))


def test_the_strength_is_the_smallest_of_the_best_and_acts_once(repaired: ShortcutGuardrail) -> None:
    data = labelled(20, 5)
    assert repaired.alpha == 0.4
    network, tokens = repaired.classifier.network, repaired.classifier.tokeniser(texts(5, 9))
    strengthen(network, 0.4)
    found = repaired.classifier.logits(tokens)
    plain = {name: module.layer.weight.clone() for name, module in updates(network).items()}
    for name, module in updates(network).items():
        module.layer.weight.data += 0.4 * (16 / 4) * module.up @ module.down
        assert not torch.equal(module.layer.weight, plain[name])
    strengthen(network, 0.0)
    assert torch.allclose(repaired.classifier.logits(tokens), found, atol=1e-6)
    for name, module in updates(network).items():
        module.layer.weight.data = plain[name]
    before = repaired.predict(data, strength=0.0).probabilities
    assert torch.allclose(
        before[data.present].float(),
        theirs(classifier(), data.text.values[data.present].tolist()).softmax(dim=1),
        atol=1e-5,
    )


def test_the_calibration_counts_what_is_right() -> None:
    data = labelled(48, 0)
    method = fitted(data, epochs=2)
    few = data.rows(np.array([text is not None for text in data.labels("label")]) & data.present)
    for place, strength in enumerate(GRID):
        said = method.predict(few, strength).labels
        right = sum(a == b for a, b in zip(said, few.labels("label"), strict=True))
        assert int(method.right[place]) == right
    best = [
        strength for strength, right in zip(GRID, method.right.tolist(), strict=True) if right == method.right.max()
    ]
    assert method.alpha == best[0]
    assert int(method.asked) == len(few)


def test_rows_with_labels_are_not_adapted_to() -> None:
    data = labelled(48, 0)
    other = data.with_column("label", [{"bad": "good", "good": "bad"}.get(x or "") for x in data.labels("label")])
    one, two = fitted(data), fitted(other)
    assert all(
        torch.equal(a.up, b.up)
        for a, b in zip(updates(one.classifier.network).values(), updates(two.classifier.network).values(), strict=True)
    )
    assert one.right.tolist() == [int(two.asked) - right for right in two.right.tolist()]


def test_a_run_is_small_and_refuses_another_classifier(tmp_path: Path) -> None:
    folder, data = tmp_path / "base", labelled(48, 0)
    shutil.copytree(classifier(), folder)
    method = fitted(data, Run(tmp_path / "run"), classifier=str(folder))
    found = load(tmp_path / "run")
    assert torch.equal(found.predict(data).probabilities.nan_to_num(), method.predict(data).probabilities.nan_to_num())
    shutil.copy(Path(classifier(1)) / "model.safetensors", folder)
    with pytest.raises(UserError, match="is not the one that was fitted: its weights differ"):
        load(tmp_path / "run")


def test_the_merged_folder_is_a_plain_classifier(repaired: ShortcutGuardrail, tmp_path: Path) -> None:
    write_repaired(repaired, tmp_path)
    given = texts(12, 3)
    ours = repaired.predict(LabelledTexts.of(given)).probabilities
    assert torch.allclose(theirs(tmp_path / "merged", given).softmax(dim=1), ours.float(), atol=1e-5)
    assert updates(repaired.classifier.network)  # what was merged was a copy


def test_the_adapter_is_read_by_peft(repaired: ShortcutGuardrail, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    write_repaired(repaired, tmp_path)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    given = texts(12, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (DeprecationWarning, FutureWarning):  # of peft's own calls
            warnings.filterwarnings("ignore", category=kind)
        plain = AutoModelForSequenceClassification.from_pretrained(classifier())
        model = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    tokens = AutoTokenizer.from_pretrained(classifier())(given, padding=True, return_tensors="pt")
    strengthen(repaired.classifier.network, repaired.alpha)
    with torch.no_grad():
        ours = repaired.classifier.logits(repaired.classifier.tokeniser(given))
        assert torch.allclose(model(**tokens).logits, ours, atol=1e-5)
        with model.disable_adapter():
            assert not torch.allclose(model(**tokens).logits, ours, atol=1e-3)


def test_words_are_found_in_their_texts(repaired: ShortcutGuardrail) -> None:
    text = "  word3 word12,word3"
    spans = word_spans(repaired.classifier.tokeniser, text)
    assert [text[a:b] for a, b in (span for span in spans if span is not None)] == ["word3", "word12", ",", "word3"]
    found = shortcuts(repaired, labelled(30, 7))
    assert found["alpha"] == 0.4
    assert len(json.dumps(found, allow_nan=False)) > 100
    first = found["words"][0]
    assert first["texts"] >= 1
    for one in found["examples"]:
        for part in ("before", "after"):
            assert all(one["text"][a:b].strip() for a, b, _ in one[part]["marks"])
    assert [m[:2] for m in found["examples"][0]["before"]["marks"]] == [
        m[:2] for m in found["examples"][0]["after"]["marks"]
    ]


def test_what_masking_costs_is_the_difference_of_two_probabilities(repaired: ShortcutGuardrail) -> None:
    data = LabelledTexts.of(texts(6, 11, least=4))
    found = repaired.leanings(data)
    before = repaired.predict(data).probabilities
    for row in range(6):
        ids = repaired.classifier.tokeniser([data.text.values[row]]).ids
        for column in range(3):
            hidden = ids.clone()
            hidden[0, int(found.positions[row, column])] = repaired.classifier.mask
            logits = repaired.classifier.network(input_ids=hidden, attention_mask=torch.ones_like(ids)).logits[0]
            said = int(found.said[row])
            expected = before[row, said].item() - logits.softmax(0)[said].item()
            assert float(found.drop[row, column]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: labelled(20, 0).with_column("label", [None] * 20), 'no row has a "label"; some 40 labels are needed'),
        (lambda: labelled(20, 0).with_column("label", ["bad", *[None] * 19]), 'of one class only, "bad"'),
        (lambda: labelled(20, 0).with_column("label", ["fine", *[None] * 19]), "none of the classifier's classes bad"),
        (lambda: LabelledTexts.of(["word1", "word2", "word3"], {"label": ["bad", "good", None]}), "at least two texts"),
    ],
)
def test_labels_that_cannot_calibrate_are_refused(data: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fitted(data())


def test_classifiers_that_cannot_be_guarded_are_refused(tmp_path: Path) -> None:
    data = labelled(20, 0)
    with pytest.raises(UserError, match="has no mask token, so no word can be hidden"):
        fitted(data, classifier=classifier(0, mask=False))
    with pytest.raises(UserError, match="none of its linear layers is named quary"):
        fitted(data, layers=("quary",))
    with pytest.raises(UserError, match=r"unknown head \(BertForMaskedLM\)"):
        fitted(data, classifier=broken(tmp_path, architectures=["BertForMaskedLM"]))
    with pytest.raises(UserError, match='"nowhere" is neither a folder nor'):
        fitted(data, classifier="nowhere")
    with pytest.raises(UserError, match=r"max_length=99: .* reads at most 24 tokens"):
        fitted(data, max_length=99)


def test_support_and_texts_become_one_set() -> None:
    texts_, support = labelled(12, 0, complete=True), labelled(6, 1)
    joined = support_with(texts_, support, "label")
    whole = [text if there else None for text, there in zip(support.labels("label"), support.present, strict=True)]
    assert joined.labels("label") == [*whole, *[None] * 12]
    assert joined.present.tolist() == [*(text is not None for text in whole), *texts_.present.tolist()]
    assert joined.source == "memory beside memory"
    with pytest.raises(UserError, match='no row has both a text and a value of "label"'):
        support_with(texts_, support.with_column("label", [None] * 6), "label")
