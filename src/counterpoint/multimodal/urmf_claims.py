"""What URMF claims, as data: fusion by certainty when a view gets worse, on simulated tokens and on tweets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from counterpoint.errors import UserError
from counterpoint.evaluation import Above, Arm, Better, Claim, Falls, Mean, Outcome
from counterpoint.evaluation.outcome import Columns, Measure
from counterpoint.multimodal.corrupt import perturb, swap
from counterpoint.multimodal.labels import MEASURES, MacroF1, labelled
from counterpoint.multimodal.recipes.sarcasm import posts
from counterpoint.multimodal.simulate.tokens import polarity
from counterpoint.multimodal.table import Table

PLACE = "sarcasm"
"""The folder below COUNTERPOINT_DATA with the published files of MMSD and MMSD2.0."""
Levels = Mapping[str, tuple[float, ...]]


# --- data


def sequences(seed: int, redundant: float, rows: int = 4000) -> tuple[Table, Table, Table]:
    """Token sequences of two views; validation and test rows are drawn anew."""
    first = 1000 + 3 * seed  # apart from the rows on which the arms were tried before the claim was written
    made = [polarity(n, seed=first + place, redundant=redundant) for place, n in enumerate((rows, 1000, 1000))]
    return made[0], made[1], made[2]


def tweets(
    seed: int, version: Any = "mmsd2", text: str = "whole", rows: int = 8000, **_: float
) -> tuple[Table, Table, Table]:
    """Some of the training tweets, drawn by the seed, 1,000 others to choose by, and the published validation part.

    The text is "whole", its "words" without hashtags, or its "hashtags" alone.
    """
    table = _table(version, text)
    splits = table.columns["split"]
    order = np.random.Generator(np.random.PCG64(seed)).permutation(np.flatnonzero(splits == "train"))
    return table.rows(np.sort(order[:rows])), table.rows(np.sort(order[-1000:])), table.rows(splits == "validation")


@cache
def _table(version: Any, text: str) -> Table:
    """The tweets as texts and the words about their pictures."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PLACE).is_dir():
        raise UserError(f"MMSD is not here; set COUNTERPOINT_DATA to the folder that has {PLACE}")
    found = posts(Path(folder) / PLACE, version)
    columns = {name: np.array(found[name].to_pylist(), dtype=object) for name in ("split",)}
    views = {
        "text": [part_of(one, text) for one in found["text"].to_pylist()],
        "image": found["attributes"].to_pylist(),
    }
    made = Table.of(
        views,
        columns | {"label": found["label"].to_numpy()},
        f"{version}, {text}",
        kind={"text": "text", "image": "text"},
    )
    return replace(made, ids=found["id"].to_numpy())


def part_of(text: str, part: str) -> str | None:
    """The whole text, its "words" without "#" and what follows, or its "hashtags" alone; None where nothing is left.

    >>> part_of("so nice # monday # fun", "words"), part_of("so nice # monday", "hashtags"), part_of("no", "hashtags")
    ('so nice', '# monday', None)
    """
    if part == "whole":
        return text.strip() or None
    pieces = text.split()
    tag = [piece.startswith("#") or before == "#" for before, piece in zip(["", *pieces], pieces, strict=False)]
    kept = [piece for piece, is_tag in zip(pieces, tag, strict=True) if is_tag == (part == "hashtags")]
    return " ".join(kept) or None


def shuffled_labels(train: Table, generator: torch.Generator) -> Table:
    """Placebo: every training row has the label of another."""
    order = torch.randperm(len(train), generator=generator).numpy()
    return replace(train, columns={**train.columns, "label": train.columns["label"][order]})


# --- judging


@dataclass(frozen=True)
class Slope:
    """The least-squares slope of being right against the strength of one corruption, the clean rows at strength 0."""

    how: str

    def __call__(self, columns: Columns) -> float:
        chosen = (columns["how"] == self.how) | (columns["how"] == "none")
        strength = columns["share"][chosen] - columns["share"][chosen].mean()
        return float((strength * columns["correct"][chosen]).sum() / np.square(strength).sum())


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of what was done to a row's view with the variance predicted for it."""

    how: str
    view: str

    def __call__(self, columns: Columns) -> float:
        name = f"variance {self.view}"
        if name not in columns:
            return float("nan")
        chosen = (columns["how"] == self.how) | (columns["how"] == "none")
        a, b = _ranks(columns["done"][chosen]), _ranks(columns[name][chosen])
        spread = a.std() * b.std()
        return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else float("nan")


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks from 0, ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[place])


TOKENS: Levels = {"noise": (0.5, 1.0, 2.0), "drop": (0.25, 0.5, 0.75), "swap": (0.25, 0.5, 1.0)}
TWEETS: Levels = {"exchange": (0.25, 0.5, 0.75), "drop": (0.25, 0.5, 0.75), "swap": (0.25, 0.5, 1.0)}


def worse_tokens(method: Any, table: Table) -> Outcome:
    """`worse` on token features: noise on the text, text tokens left out, images of other rows."""
    return worse(method, table, TOKENS)


def worse_tweets(method: Any, table: Table) -> Outcome:
    """`worse` on words: words of other tweets, words left out, pictures of other tweets."""
    return worse(method, table, TWEETS)


def worse(method: Any, table: Table, levels: Levels) -> Outcome:
    """The same rows as they are and made worse in each way and strength, in one outcome; a row is the unit.

    `share` is the strength of the level, `done` what was done to the row (for "swap" 1 or 0); swaps hit the image,
    all else the text. The corruption is the same for every method.
    """
    parts = [_judged(method, table, "none", 0.0, np.zeros(len(table)))]
    for place, (how, strengths) in enumerate(levels.items()):
        for strength in strengths:
            rng = np.random.Generator(np.random.PCG64([place, int(100 * strength)]))
            if how == "swap":
                made, masks = swap(table, "image", strength, rng)
                parts.append(_judged(method, made, how, strength, masks["image"].astype(np.float64)))
            else:
                made = perturb(table, "text", strength, rng, how)  # type: ignore[arg-type]
                parts.append(_judged(method, made, how, strength, np.full(len(table), strength)))
    names = list(parts[0].columns)
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
    ids = np.concatenate([part.ids for part in parts])
    return Outcome(ids, columns, measures_of(levels), unit=ids)


def _judged(method: Any, table: Table, how: str, share: float, done: Float[np.ndarray, " n"]) -> Outcome:
    """One corruption judged; a row that lost everything is wrong with even odds."""
    found = labelled(method, table)
    kept = np.isin(table.ids, found.ids)
    columns = {name: _whole(values, kept, name) for name, values in found.columns.items()}
    columns |= {"how": np.full(len(table), how), "share": np.full(len(table), share), "done": done}
    columns["level"] = np.full(len(table), f"{how} {share:g}")
    return Outcome(table.ids, columns, {})


def _whole(values: np.ndarray, kept: np.ndarray, name: str) -> np.ndarray:
    """A column over all rows; where nothing could be said, -1 for what was said and NaN elsewhere."""
    if kept.all():
        return values
    missing = {"said": -1, "correct": 0.0, "truth": -1}.get(name, np.nan)
    whole = np.full(len(kept), missing, dtype=values.dtype)
    whole[kept] = values
    return whole


def measures_of(levels: Levels) -> dict[str, Measure]:
    """Accuracy and F1 clean and at each level, the mean over the levels of the text, slopes and rank correlations."""
    found: dict[str, Measure] = {
        "accuracy": Mean("correct", where=("level", "none 0")),
        "macro_f1": MacroF1(where=("level", "none 0")),
    }
    for how, strengths in levels.items():
        view = "image" if how == "swap" else "text"
        found |= {f"{how}: slope": Slope(how), f"{how}: rank correlation": RankCorrelation(how, view)}
        found[f"{how}: accuracy"] = Mean("correct", where=("how", how))
        for strength in strengths:
            where = ("level", f"{how} {strength:g}")
            found[f"{how} {strength:g}: accuracy"] = Mean("correct", where=where)
            found[f"{how} {strength:g}: macro_f1"] = MacroF1(where=where)
    return found


# --- claims

SENTENCE = (
    "Fusion weighted by predicted certainty beats the same network with equal weights and without uncertainty when the "
    "text gets worse, the more so the worse it is, and the variance predicted for the text rises"
)
NOTHING = {"bottleneck": 0.0, "prior": 0.0, "alignment": 0.0, "contrast": 0.0}


def _arms(rare: tuple[dict[str, Any], ...] | None) -> tuple[Arm, ...]:
    """The arms; the ablations run in the settings `rare`, or not at all."""
    arms = [
        Arm("urmf", "urmf", about="the method: weights by precision, all terms"),
        Arm("uniform", "urmf", {"fusion": "uniform"}, role="baseline", about="equal weights, all terms"),
        Arm(
            "no uncertainty",
            "urmf",
            {"fusion": "uniform", **NOTHING},
            role="baseline",
            about="equal weights, no Gaussian terms: cross-entropy alone",
        ),
        Arm(
            "eau",
            "urmf",
            {"interaction": False, "fusion": "gate"},
            role="baseline",
            about="the predecessor: no attention, exp(-variance) and a gate",
        ),
        Arm("placebo", "urmf", role="placebo", data=shuffled_labels, about="labels shuffled in training"),
    ]
    if rare is not None:
        off: dict[str, dict[str, Any]] = {
            "weights alone": dict(NOTHING),
            "self before cross": {"order": "self-cross"},
            **{f"no {term}": {term: 0.0} for term in NOTHING},
        }
        arms += [Arm(name, "urmf", options, role="ablation", only=rare) for name, options in off.items()]
    return tuple(arms)


def _predictions(how: str, where: dict[str, Any], ablations: bool) -> tuple[Any, ...]:
    """What is predicted about one corruption of the text."""
    worst = f"{how}: accuracy"
    required = (
        Better(worst, "urmf", than="uniform"),
        Better(worst, "urmf", than="no uncertainty"),
        Better(f"{how}: slope", "urmf", than="uniform", name=f"its lead over uniform grows with the {how}"),
        Above(f"{how}: rank correlation", "urmf", 0.0, name=f"the text's variance rises with the {how}"),
        Better("accuracy", "urmf", than="placebo"),
    )
    further = (
        Better("accuracy", "urmf", than="no uncertainty", required=False, name="clean: above no uncertainty"),
        Better(worst, "urmf", than="eau", required=False),
        Above(
            "drop: rank correlation",
            "urmf",
            0.0,
            required=False,
            name="the text's variance rises with what is left out",
        ),
        Above("swap: rank correlation", "urmf", 0.0, required=False, name="a swapped image's variance is larger"),
    )
    if not ablations:
        return required + further
    names = ("weights alone", "self before cross", *(f"no {term}" for term in NOTHING))
    return (*required, *further, *(Better(worst, "urmf", than=name, where=where, required=False) for name in names))


_XOR, _TOLD = {"redundant": 0.0}, {"redundant": 0.8}
_TOKENS = {"epochs": 15, "batch_size": 128, "dim": 32}

URMF = Claim(
    name="urmf",
    sentence=SENTENCE,
    source="arXiv 2604.06728; generator and corruption are ours",
    arms=_arms((_TOLD,)),
    predictions=_predictions("noise", _TOLD, ablations=True),
    data=sequences,
    judge=worse_tokens,
    measures=measures_of(TOKENS),
    seeds=(0, 1, 2),
    settings=(_XOR, _TOLD),
    budget=_TOKENS,
    cut="4,000 training rows of 10 and 9 tokens; latents of 32 numbers; no search, the same options in every arm; "
    "ablations where views are redundant",
    quick={
        "seeds": (0,),
        "settings": (_TOLD,),
        "arms": _arms(None),
        "predictions": _predictions("noise", _TOLD, ablations=False),
        "budget": {**_TOKENS, "epochs": 8},
        "cut": "one seed, one setting, 8 epochs, no ablations",
    },
)

_OTHERS = {
    "text alone": ({"only": ("text",), **NOTHING}, "cross-entropy alone"),
    "image alone": ({"only": ("image",), **NOTHING}, "cross-entropy alone"),
    "concat": ({"interaction": False, "fusion": "concat", **NOTHING}, "means side by side, cross-entropy alone"),
    "qmf": ({"interaction": False, "fusion": "energy", **NOTHING}, "decisions weighted by their energy"),
    "eau": ({"interaction": False, "fusion": "gate", "modulation": 0.01}, "the predecessor, gradients modulated"),
}

URMF_BASELINES = Claim(
    name="urmf-baselines",
    sentence="When the text gets worse, URMF beats one view alone, concatenation, decisions weighted by their energy "
    "(QMF) and its predecessor EAU with its gradient modulation",
    source="arXiv 2604.06728, whose baselines these are; generator and corruption are ours",
    arms=(
        Arm("urmf", "urmf", about="the method: weights by precision, all terms"),
        *(Arm(name, "urmf", options, role="baseline", about=about) for name, (options, about) in _OTHERS.items()),
        Arm("placebo", "urmf", role="placebo", data=shuffled_labels, about="labels shuffled in training"),
    ),
    predictions=(
        *(Better("noise: accuracy", "urmf", than=name, where=_TOLD) for name in _OTHERS),
        Better("accuracy", "urmf", than="placebo"),
        *(Better("accuracy", "urmf", than=name, where=_XOR, required=False) for name in ("text alone", "image alone")),
        *(Better("drop: accuracy", "urmf", than=name, where=_TOLD, required=False) for name in ("concat", "qmf")),
    ),
    data=sequences,
    judge=worse_tokens,
    measures=measures_of(TOKENS),
    seeds=(0, 1, 2),
    settings=(_XOR, _TOLD),
    budget=_TOKENS,
    cut="4,000 training rows of 10 and 9 tokens; latents of 32 numbers; no search, the same steps in every arm; QMF "
    "without its ranking of weights; no multi-view CLIP, which needs pictures",
    quick={
        "seeds": (0,),
        "settings": (_TOLD,),
        "budget": {**_TOKENS, "epochs": 6},
        "predictions": (*(Better("noise: accuracy", "urmf", than=name) for name in _OTHERS),),
        "cut": "one seed, one setting, 6 epochs",
    },
)

_TWEETS = {"epochs": 6, "batch_size": 128, "dim": 64}

URMF_MMSD2 = Claim(
    name="urmf-mmsd2",
    sentence=SENTENCE + ", on sarcastic tweets with words about their pictures",
    source="arXiv 2604.06728; MMSD2.0 (arXiv 2307.07135) with MMSD's picture attributes in the place of pictures",
    arms=_arms(None),
    predictions=_predictions("exchange", {}, ablations=False),
    data=tweets,
    judge=worse_tweets,
    measures=measures_of(TWEETS),
    seeds=(0, 1, 2),
    budget=_TWEETS,
    cut="8,000 of 19,816 training tweets; words learned from nothing instead of a pretrained encoder; five words about "
    "a picture instead of the picture; judged on the published validation part",
)

URMF_LEAK = Claim(
    name="urmf-leak",
    sentence="On MMSD a tweet's hashtags give its label away, so that accuracy there is not understanding; MMSD2.0 "
    "closes the leak",
    source="arXiv 2307.07135, section 2; measured with arXiv 2604.06728",
    arms=(
        Arm("urmf", "urmf", about="the method"),
        Arm("placebo", "urmf", role="placebo", data=shuffled_labels, about="labels shuffled in training"),
    ),
    predictions=(
        Better(
            "accuracy",
            "urmf",
            than="placebo",
            where={"text": "hashtags"},
            name="hashtags and picture alone tell labels",
        ),
        Falls("accuracy", "urmf", along="cut", name="accuracy on MMSD falls when hashtags are cut out"),
        Falls("accuracy", "urmf", along="cleaned", name="accuracy falls from MMSD to MMSD2.0"),
    ),
    data=tweets,
    judge=labelled,
    measures=MEASURES,
    seeds=(0, 1, 2),
    settings=(
        {"version": "mmsd", "text": "whole", "cut": 0, "cleaned": 0},
        {"version": "mmsd", "text": "words", "cut": 1},
        {"version": "mmsd", "text": "hashtags"},
        {"version": "mmsd2", "text": "whole", "cleaned": 1},
    ),
    budget=_TWEETS,
    cut=URMF_MMSD2.cut,
)
