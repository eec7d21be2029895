"""What `guard` does, callable from Python; it prints nothing."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint import catalog, jobs, options
from counterpoint.card import model_card
from counterpoint.files import write_json, write_text
from counterpoint.serving.search import Say
from counterpoint.training import Run, Trainer

ROW = "shortcut-guardrail"
USE = """`merged` is a classifier for transformers:
`AutoModelForSequenceClassification.from_pretrained("merged")`. `adapter` holds the same as updates for peft:
`PeftModel.from_pretrained(classifier, "adapter")` beside the classifier that was guarded."""


@dataclass(frozen=True)
class Guard:
    """One repair: a folder with a classifier, a file of texts, a file with a few labelled ones, and where it goes.

    `given` are `key=value` options of the texts' reader and of the guardrail.
    """

    classifier: str
    texts: Path
    support: Path
    out: Path
    given: Sequence[str] = ()
    seed: int = 0
    device: str = "auto"
    precision: Any = "32-true"
    resume: bool = False
    progress: bool = False


def guard(request: Guard, say: Say = jobs.silent) -> dict[str, Any]:
    """Fit the guardrail, judge the classifier before and after, and fill the run folder; returns evaluation.json.

    Judged are the labelled rows of the texts' file, which were not looked at before, or else the support. The folder
    has, beside what every run has, `adapter` for peft and `merged` for transformers. Raises `UserError` for anything
    about the classifier, the files, the options or the folder that the user can mend.
    """
    from counterpoint.text.labels.guardrail import ShortcutGuardrail
    from counterpoint.text.labels.labelled import LabelledTexts
    from counterpoint.text.labels.repair import before_and_after, shortcuts, support_with, write_repaired

    given = [*request.given, f"classifier={request.classifier}"]
    reading, fitting = options.divide(given, LabelledTexts, ShortcutGuardrail.Config)
    label = fitting.get("label", "label")
    texts, support = (LabelledTexts.read(path, **reading) for path in (request.texts, request.support))
    data = support_with(texts, support, label)
    method = ShortcutGuardrail(**fitting)
    for part in (texts, support):
        (view,) = part.schema()
        say(f"{part.source}: {len(part)} rows of {view['width']} {view['unit']}")
        for text in part.warnings():
            say(text if text in part.notes else f"warning: {text}")
    for text in method.remarks(data):
        say(text)
    described = {"source": str(request.texts), "support": str(request.support), "reader": reading}
    run = Run(request.out, data={**described, "command": _command(request)}, resume=request.resume)
    trainer = Trainer(
        seed=request.seed, run=run, device=request.device, precision=request.precision, progress=request.progress
    )
    method.fit(data, trainer=trainer)
    if method.facts["cut"]:
        longest = method.facts["classifier"]["max_length"]
        say(f"{100 * method.facts['cut']:.1f} % of the texts are longer than {longest} tokens; the rest is not read")
    judged, where = _judged(texts, support, label, say)
    before, after = before_and_after(method, judged)
    result = jobs.compared("as it was", after, before)
    evaluation = {
        "method": ROW,
        "judged_on": where,
        "rows": len(after.ids),
        **result,
        "assessment": {"shortcuts": shortcuts(method, texts)},
    }
    write_json(run.folder / "evaluation.json", evaluation)
    folders = write_repaired(method, run.folder)
    write_text(run.folder / "README.md", model_card(catalog.row(ROW), run.config(), evaluation, USE))
    return evaluation | {"run": str(run.folder), **folders, "report": jobs.report_of(run.folder, say)}


def _judged(texts: Any, support: Any, label: str, say: Say) -> tuple[Any, str]:
    """The rows to judge on, and which they are."""
    known = texts.columns.get(label)
    there = np.zeros(len(texts), dtype=bool)
    if known is not None:
        there = np.array([text is not None for text in texts.labels(label)], dtype=bool) & texts.present
    used = set(support.text.values[support.present])
    again = np.array([text in used for text in texts.text.values], dtype=bool)
    if again.any():
        say(f"{int(again.sum())} texts are in the support, too, and are not judged")
    if (there & ~again).any():
        return texts.rows(there & ~again), "texts"
    say("the texts have no labels, so accuracy is that of the support, which set the strength: it flatters")
    return support, "support"


def _command(request: Guard) -> str:
    words = ["counterpoint", "guard", request.classifier, str(request.texts), "--support", str(request.support)]
    return shlex.join([*words, *request.given, "--seed", str(request.seed), "--out", str(request.out)])
