"""What is claimed of DAMPER, as data: spans found, texts rewritten, and that the mechanism keeps its word."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from counterpoint.errors import UserError
from counterpoint.evaluation import Above, Arm, Better, Claim
from counterpoint.text.private.damper_arms import TRADEOFF, membership, tradeoff
from counterpoint.text.private.span_judge import MEASURES, located
from counterpoint.text.private.spans import SpannedTexts

PRESIDIO = "pii/microsoft__presidio-research/data/synth_dataset_v2.json"
WNUT = "pii/leondz__emerging_entities_17"
FORMS, POSTS = "presidio", "wnut17"
ARMS, DETECTORS = "counterpoint.text.private.damper_arms", "counterpoint.text.private.detectors"
TRAINED = {"max_length": 32, "epochs": 1, "optim": {"lr": 5e-4, "warmup": 10}}
"""How the encoder is trained: one pass in which all four kinds of spans come equally often."""
NONE = {"held": 0.15}


@cache
def _all(name: str) -> SpannedTexts:
    """The texts of one data set, its name as their domain."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PRESIDIO).is_file():
        raise UserError(f"the texts are not here; set COUNTERPOINT_DATA to the folder that has {PRESIDIO}")
    if name == FORMS:
        found = SpannedTexts.read(Path(folder) / PRESIDIO)
    else:
        found = SpannedTexts.read(Path(folder) / WNUT / name)
    domain = FORMS if name == FORMS else POSTS
    return replace(found, domains=np.array([domain] * len(found), dtype=object))


def private(
    seed: int, learned: int = 200, judged: int = 120, private_only: bool = False
) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """Texts of both data sets: to learn from, to look at, and to be judged by, so many of each set.

    Presidio's texts are divided by template; WNUT17 has a training and a test file of its own, from other places and
    times. Drawn by the seed; a quarter of WNUT17's texts have no private span. The column `seen` says whether a judged
    text has a private span that occurs in the texts to learn from.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 11]))
    forms = _all(FORMS).split({"train": 0.5, "validation": 0.1, "test": 0.4}, seed=seed)
    posts, later = _all("wnut17train.conll"), _all("emerging.test.annotated")
    train = _both(_some(forms["train"], learned, rng), _some(posts, learned, rng, 0.25))
    watched = _both(_some(forms["validation"], 40, rng), _some(posts, 40, rng, 0.25))
    bare = 0.0 if private_only else 0.25
    test = _both(_some(forms["test"], judged, rng, bare), _some(later, judged, rng, bare))
    known = {words.lower() for row in range(len(train)) for words in train.said(row)}
    seen = [int(any(words.lower() in known for words in test.said(row))) for row in range(len(test))]
    return train, watched, test.with_column("seen", seen)


def private_quick(seed: int) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """The same with a third of the texts."""
    return private(seed, learned=70, judged=40)


def few(seed: int) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """The same with 60 judged texts of each set, for a language model that is asked about every one."""
    return private(seed, judged=60)


def few_quick(seed: int) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """The same with 12."""
    return private(seed, judged=12)


def rewritable(seed: int) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """The same with 60 judged texts of each set, all of which have private spans."""
    return private(seed, judged=60, private_only=True)


def rewritable_quick(seed: int) -> tuple[SpannedTexts, SpannedTexts, SpannedTexts]:
    """The same with fewer texts."""
    return private(seed, learned=70, judged=20, private_only=True)


def _some(data: SpannedTexts, number: int, rng: np.random.Generator, bare: float | None = None) -> SpannedTexts:
    """So many texts of 20 to 400 characters; with `bare`, this share of them without private spans."""
    order = rng.permutation(len(data))
    order = order[[20 <= len(data.texts[row] or "") <= 400 for row in order]]
    if bare is None:
        return data.rows(order[:number])
    has = np.array([bool(data.spans[row]) for row in order])
    empty = min(round(bare * number), int((~has).sum()))
    return data.rows(np.concatenate([order[has][: number - empty], order[~has][:empty]]))


def _both(one: SpannedTexts, other: SpannedTexts) -> SpannedTexts:
    """Two sets of texts as one; templates stay groups, posts are groups of their own."""
    groups = [str(one.columns["template_id"][row]) for row in range(len(one))]
    return SpannedTexts.of(
        [*one.texts, *other.texts],
        [*one.spans, *other.spans],
        [*one.domains, *other.domains],
        {"template_id": [*groups, *(f"post {i}" for i in other.ids)]},
        [f"{FORMS} {i}" for i in one.ids] + [f"{POSTS} {i}" for i in other.ids],
        "presidio and wnut17",
        "template_id",
    )


def _variant(name: str, role: str, about: str, **options: str | int) -> Arm:
    budget = TRAINED | ({"epochs": 0} if name == "untuned" else {})
    return Arm(name, f"{ARMS}:Variant", options, role=role, budget=budget, about=about)  # type: ignore[arg-type]


def _detector(name: str, target: str, about: str, **options: str) -> Arm:
    return Arm(name, f"{DETECTORS}:{target}", options, role="baseline", budget=NONE, about=about)


FINDING = (
    _variant("damper", "method", "FINCH's coarsest partition, the mean over prototypes"),
    _variant("max", "ablation", "the largest cosine instead of the mean", pool="max"),
    _variant("finest", "ablation", "FINCH's finest partition", level=0),
    _variant("finest max", "ablation", "FINCH's finest partition, the largest cosine", level=0, pool="max"),
    _variant("k-means", "ablation", "18 clusters of k-means", prototypes="kmeans"),
    _variant("one mean", "ablation", "one prototype per domain", prototypes="mean"),
    _variant("apart", "ablation", "neighbouring found spans stay apart, as in the published code", join=False),
    _variant("untuned", "placebo", "the same prototypes by MiniLM as it is"),
    _detector("span classifier", "SpanClassifier", "logistic regression on MiniLM's vectors of the same spans"),
    _detector("tagger", "Tagger", "logistic regression on words, shapes and neighbours, as for named entities"),
    _detector("rules", "Rules", "patterns and a dictionary of the training texts' private spans"),
)
SHOWN = ("f1", "leak", "f1@50", "f1@70", "recall@70", "exact_f1", "f1_unseen", "over_prediction", "ceiling", "domain")

DAMPER = Claim(
    name="damper",
    sentence="Prototypes of a contrastive encoder find private spans better than the untuned encoder's prototypes, and "
    "than rules with a dictionary, at equal recall and at thresholds chosen alike",
    source="arXiv 2604.10145 (the claim; the data and the rivals are ours)",
    arms=FINDING,
    predictions=(
        Better("f1@50", "damper", than="untuned"),
        Better("f1@70", "damper", than="untuned"),
        Better("f1", "damper", than="untuned"),
        Better("leak", "untuned", than="damper"),
        Better("f1", "damper", than="rules"),
        Better("f1_unseen", "damper", than="untuned"),
        Better("f1@70", "damper", than="span classifier", required=False),
        Better("f1@70", "damper", than="tagger", required=False),
        Better("leak", "rules", than="damper", required=False),
        Better("f1@70", "damper", than="one mean", required=False),
        Better("f1@70", "damper", than="k-means", required=False),
        Better("f1@70", "damper", than="max", required=False),
        Better("f1@70", "damper", than="finest", required=False),
        Better("f1@70", "damper", than="finest max", required=False),
        Better("f1@70", "damper", than="apart", required=False),
    ),
    data=private,
    judge=located,
    measures=MEASURES,
    seeds=(0, 1, 2),
    budget=TRAINED,
    cut="MiniLM for RoBERTa-base; 200 texts of each set, one pass at a learning rate of 5e-4 instead of thirty at "
    "1e-4; 120 judged texts of each set",
    quick={
        "data": private_quick,
        "seeds": (0,),
        "arms": tuple(arm for arm in FINDING if arm.name in ("damper", "untuned", "rules", "span classifier")),
        "predictions": (
            Better("f1@70", "damper", than="untuned"),
            Better("f1", "damper", than="untuned"),
            Better("f1", "damper", than="rules"),
            Better("f1@70", "damper", than="span classifier", required=False),
        ),
    },
)


def _rewriting(name: str, role: str, about: str, **options: str) -> Arm:
    return Arm(name, f"{ARMS}:Rewriting", options, role=role, budget=TRAINED, about=about)  # type: ignore[arg-type]


REWRITING = (
    _rewriting("damper", "method", "found spans, words drawn by the mechanism"),
    _rewriting("untuned spans", "baseline", "spans found by MiniLM as it is, rewritten alike", found_by="untuned"),
    _rewriting("uniform words", "placebo", "found spans, words drawn without looking at them", how="uniform"),
    _rewriting("every word", "baseline", "each word of the text replaced under metric privacy", how="every word"),
)

DAMPER_REWRITE = Claim(
    name="damper-rewrite",
    sentence="Rewriting the found spans alone keeps more of a text than replacing all its words under metric privacy "
    "at the same budget, gives away fewer private words than with an untuned encoder, and gives away more the larger "
    "the budget is",
    source="arXiv 2604.10145 (the claim; data, measures and rivals are ours)",
    arms=REWRITING,
    predictions=(
        *(Better(f"utility@{e:g}", "damper", than="every word") for e in (1.0, 5.0, 25.0)),
        Better("leak@1", "untuned spans", than="damper"),
        Above("soi_rise", "damper", 0.0),
        Above("hit_rise", "damper", 0.0),
        Better("soi@125", "damper", than="uniform words", required=False),
        Better("hit@125", "damper", than="uniform words", required=False),
        Better("leak@1", "damper", than="every word", required=False),
        Better("hit@1", "damper", than="uniform words", required=False),
    ),
    data=rewritable,
    judge=tradeoff,
    measures=TRADEOFF,
    seeds=(0, 1, 2),
    budget=TRAINED,
    cut="words of a public list instead of a tuned language model; utility is finding the text again instead of a "
    "large model's answers; 60 judged texts of each set",
    quick={"data": rewritable_quick, "seeds": (0,)},
)

CHECKED = (
    Arm("mechanism", f"{ARMS}:Mechanism", {"epsilon": 1.0}, budget={}, about="range 1, as the cosine's is"),
    Arm(
        "understated",
        f"{ARMS}:Mechanism",
        {"epsilon": 1.0, "understated": True},
        role="placebo",
        budget={},
        about="a quarter of the range stated: must be caught",
    ),
)

DAMPER_MEMBERSHIP = Claim(
    name="damper-membership",
    sentence="What the exponential mechanism draws tells two spans apart by no more than its budget says, exactly and "
    "in 100,000 draws, and the check catches a mechanism that understates its sensitivity",
    source="McSherry and Talwar 2007, theorem 6, as used in arXiv 2604.10145",
    arms=CHECKED,
    predictions=(
        Above("within", "mechanism", 0.999),
        Above("within_empirical", "mechanism", 0.999),
        Above("within_guess", "mechanism", 0.999),
        Better("within", "mechanism", than="understated"),
        Better("within_empirical", "mechanism", than="understated"),
    ),
    data=rewritable,
    judge=membership,
    seeds=(0, 1, 2),
    quick={"seeds": (0,)},
)

PROMPTED = (
    *(arm for arm in FINDING if arm.name == "damper"),
    _detector("prompt", "Asking", "SmolLM2-135M asked for the private details of each text"),
)

DAMPER_PROMPT = Claim(
    name="damper-prompt",
    sentence="Prototypes find private spans better than a small language model that is asked for them",
    source="arXiv 2604.10145 (the claim; the model is ours)",
    arms=PROMPTED,
    predictions=(Better("f1", "damper", than="prompt"), Better("leak", "prompt", than="damper")),
    data=few,
    judge=located,
    measures=MEASURES,
    seeds=(0, 1, 2),
    budget=TRAINED,
    cut="SmolLM2-135M; 60 judged texts of each set",
    quick={"data": few_quick, "seeds": (0,)},
)
