"""Preferences and DPO: scores as the card has them, the loss by hand, the reference, and what is forgotten."""

import math
from typing import Any

import pytest
import torch

from agents.tiny_llama import tiny_llama
from counterpoint.pretrained.lowrank import updates
from counterpoint.text.private.damper import Damper
from counterpoint.text.private.preferences import DECODING, Preferences, Rewriter, _sampled
from counterpoint.training import Trainer, rng
from text.private.test_damper import SMALL
from text.tiny_spans import spanned

OPTIONS: dict[str, Any] = {"model": tiny_llama(), "spans": 8, "epochs": 3, "lr": 0.05, "batch_size": 4, "rank": 2}


@pytest.fixture(scope="module")
def method() -> Damper:
    options = {**SMALL, "epochs": 1, "rewriter": OPTIONS}
    return Damper(**options).fit(spanned(40, 0), trainer=Trainer(progress=False))


def test_best_and_worst_by_the_cards_score(method: Damper) -> None:
    """sigmoid of standardised terms, the leak of the rewrite itself and not of a fixed word."""
    kept = Preferences(Rewriter(alpha=0.3))
    rows = [
        {"span": "a", "domain": "notes", "text": f"t{n}", "leak": 0.1 * n, "near": math.atanh(0.9 - 0.05 * n)}
        for n in range(6)
    ]
    kept.rows = [dict(row) for row in rows]
    kept._choose(method)
    warm = rows[:2]

    def standard(name: str, row: dict[str, Any]) -> float:
        values = [one[name] for one in warm]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        return 1 / (1 + math.exp(-(row[name] - mean) / max(spread, 1e-6)))

    scores = {row["text"]: 0.3 * standard("near", row) + 0.7 * standard("leak", row) for row in rows}
    (made,) = kept.rows
    assert made["chosen"] == max(scores, key=lambda text: (scores[text], text))
    assert made["rejected"] == min(scores, key=lambda text: (scores[text], text))
    assert made["better"] == pytest.approx(max(scores.values()))


def test_the_loss_is_dpos_and_the_reference_the_model_without_updates(method: Damper) -> None:
    writer = method.writer
    writer.eval()
    for update in updates(writer.network).values():
        torch.nn.init.normal_(update.up, std=0.2, generator=rng(2))
    row = {"span": "word1 word2", "domain": "notes", "chosen": "Do", "rejected": "Avoid word3"}
    loss = method.preferences._losses(writer, [row]).value[0]

    def logprob(answer: str, strength: float) -> float:
        for update in updates(writer.network).values():
            update.strength = strength
        prompt = writer.encode(row["span"], row["domain"])
        ids = [*writer.tokenizer(answer, add_special_tokens=False)["input_ids"], writer.end]
        with torch.no_grad():
            told = writer.network(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
        return sum(float(told[len(prompt) - 1 + place, one]) for place, one in enumerate(ids))

    margin = (logprob("Do", 1) - logprob("Do", 0)) - (logprob("Avoid word3", 1) - logprob("Avoid word3", 0))
    for update in updates(writer.network).values():
        update.strength = 1.0
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.1 * margin)), rel=1e-4)


def test_ten_settings_draw_from_what_they_leave() -> None:
    logits = torch.tensor([5.0, 4.9, 1.0, -3.0])
    assert len(DECODING) == 10
    drawn = {int(_sampled(logits, [], (1.0, 0.5), rng(n))) for n in range(30)}
    assert drawn == {0}  # the first alone holds half of the probability
    assert int(_sampled(logits, [0], (0.2, 0.5), rng(0))) == 1  # what was said counts less
    far = {int(_sampled(logits, [], (1.2, 1.0), rng(n))) for n in range(60)}
    assert far >= {0, 1}


def test_a_run_learns_prefers_and_forgets_the_words(method: Damper, tmp_path: Any) -> None:
    assert method.preferences.rows
    assert all(set(row) == {"domain", "better", "worse"} for row in method.preferences.rows)
    assert any(bool(update.up.any()) for update in updates(method.writer.network).values())
    method.save(tmp_path / "run")
    left = "".join(path.read_text() for path in (tmp_path / "run" / "tables").glob("*.jsonl"))
    assert "word" not in left
    made = method.rewrite(["the word1 word2 of the word45"], 5.0, seed=1)
    assert "tokens of the language model" in made[0].statement[0]
