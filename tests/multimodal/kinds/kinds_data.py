"""A table with a view of every kind, whose rows share one hidden cause, and small fits of it."""

from typing import Any

import numpy as np

from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.table import Table
from counterpoint.training import Run, Trainer
from pretrained.tiny_vision import png, tiny_vit
from text.tiny import tiny

KINDS = {"note": "text", "about": "categories", "scan": "pictures", "ehr": "events"}
SMALL = {"dim": 6, "hidden": 6, "layers": 1, "epochs": 2, "batch_size": 12, "augment": 0.0}
COLOURS = ((220, 30, 40), (30, 200, 50), (40, 60, 220))


def table(rows: int = 48, seed: int = 0, complete: bool = False) -> Table:
    """Numbers, a text, two categories, a picture and events; unless complete, each absent in some rows."""
    random = np.random.default_rng(seed)
    cause = random.integers(0, 3, rows)
    views: dict[str, Any] = {"labs": np.eye(3)[cause] + 0.2 * random.normal(size=(rows, 3))}
    views["note"] = [f"word{kind} word{random.integers(10, 20)}" for kind in cause]
    views["about"] = [["abc"[kind], "fm"[random.integers(2)]] for kind in cause]
    views["scan"] = [png(np.clip(random.normal(COLOURS[kind], 20, (8, 8, 3)), 0, 255)) for kind in cause]
    views["ehr"] = [
        [(float(kind + random.normal()), float(time), "hr" if time % 2 else "drug") for time in range(1 + row % 4)]
        for row, kind in enumerate(cause)
    ]
    if not complete:
        views["labs"][4::9, 1] = np.nan
        for place, name in enumerate(KINDS):
            for row in range(place + 1, rows, 7):
                views[name][row] = None
        views["about"][0] = [None, "f"]
    return Table.of(views, {"cause": cause}, kind=KINDS)


def fitted(mode: str, data: Table | None = None, run: Run | None = None, **options: Any) -> CLIP:
    """CLIP on all kinds, texts and pictures read by tiny models that are frozen, updated or trained."""
    own = {"pretrained": mode, "encoder": {"note": tiny(), "scan": tiny_vit()}}
    trainer = options.pop("trainer", None) or Trainer(run=run, progress=False, save_every=1 if run else 0)
    made = CLIP(**{**SMALL, **own, **options})
    return made.fit(table() if data is None else data, trainer=trainer)


def two_rank_state(mode: str, rows: int) -> dict[str, np.ndarray]:
    """All state after one step of plain gradient descent over all rows in float64."""
    descent = {"name": "sgd", "lr": 0.1, "betas": (0.0, 0.0), "weight_decay": 0.0}
    trainer = Trainer(precision="64-true", progress=False)
    model = fitted(mode, table(rows), epochs=1, batch_size=rows, optim=descent, trainer=trainer)
    return {key: value.detach().numpy() for key, value in model.state_dict().items()}
