"""The guardrail on 700 texts with MiniLM: importance, masked contrast, calibration on 40 labels, in one run.

`python benchmarks/guardrail.py` takes minutes; `--tiny` tries it in seconds on little work and writes nothing.
"""

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from harness import peak_mib, write

from counterpoint.pretrained.classifiers import SequenceClassifier, classifier_facts, without_head, write_classifier
from counterpoint.text.labels.guardrail import ShortcutGuardrail
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.training import Trainer
from text import mixed

TEXTS, SUPPORT, MASKS, GOAL = 700, 40, 10, 600
"""Texts and labels as in the paper, masks of each text, and the seconds that are allowed on two cores."""


def folder_of_a_classifier(place: Path) -> Path:
    """MiniLM with a head of random weights: the time does not depend on what it has learned."""
    base = without_head("minilm", ["bad", "good"])
    torch.manual_seed(0)
    write_classifier(place, SequenceClassifier.of(base, classifier_facts(base), headless=True))
    return place


def seconds(folder: Path, texts: int, support: int, masks: int) -> float:
    """A whole fit, reading included, on texts of 23 tokens on average, at most 64."""
    labels = [None] * texts + ["bad", "good"] * (support // 2)
    data = LabelledTexts.of(mixed(texts + support), {"label": labels})
    method = ShortcutGuardrail(classifier=str(folder), k=masks, max_length=64)
    start = time.perf_counter()
    method.fit(data, trainer=Trainer(progress=False))
    taken = time.perf_counter() - start
    assert int(method.asked) == support
    assert np.isfinite(method.predict(data).probabilities.numpy()).all()
    return taken


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    warnings.simplefilter("ignore")
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    work = (6, 4, 2) if tiny else (TEXTS, SUPPORT, MASKS)
    with tempfile.TemporaryDirectory() as place:
        folder = folder_of_a_classifier(Path(place) / "classifier")
        taken = seconds(folder, *work)
    row = {
        "what": f"guardrail on {work[0]} texts with {work[2]} masks each, MiniLM, float32",
        "seconds": taken,
        "goal": f"<= {GOAL} seconds",
        "met": taken <= GOAL,
        "peak_mib": peak_mib(),
    }
    if tiny:
        print(row)
    else:
        write("guardrail", [row], "texts of 23 tokens on average, 64 at most; two threads", "transformers")


if __name__ == "__main__":
    main()
