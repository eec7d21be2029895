"""What SDM-SCR claims, as data: on graphs whose split into signal and noise is known, and on Cora's abstracts."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from counterpoint.evaluation import Above, Arm, Better, Claim, GapGrows, Mean, Outcome
from counterpoint.graphs.cora import TASK, Parts, sampled_cora, split_cora
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.judge import node_classes
from counterpoint.graphs.simulate import citations, hallucinated

CLASSES = 6
RIVALS = ("SDM", "SCR without SDM", "GRACE", "SGC")
RANDOM = round(1 / CLASSES, 3)
"""Homophily of edges that know nothing of classes."""
MEASURES = {name: Mean(name) for name in ("accuracy", "knn", "noise above signal")}


def simulated(seed: int, homophily: float, p: float, wrong: bool, nodes: int = 600) -> Parts:
    """A simulated graph, with a chance of `p` a node that half of its signal's words are another class's.

    `wrong` says whether p is above 0, so that predictions can ask for such settings.
    """
    graph = citations(nodes, CLASSES, homophily, seed=seed)
    parts = hallucinated(graph, p, seed=seed).split({"train": 0.1, "validation": 0.1, "test": 0.8}, seed)
    return parts["train"], parts["validation"], parts["test"]


def simulated_quick(seed: int, **setting: Any) -> Parts:
    """The same with 300 nodes."""
    return simulated(seed, **setting, nodes=300)


def on_cora(seed: int, edges: str, p: float, wrong: bool) -> Parts:
    """Cora's abstracts, told in `split_cora`."""
    return split_cora(seed, p, edges)


def probed(method: Any, data: AttributedGraph) -> Outcome:
    """`node_classes`, and how much rougher along edges the noise was than the signal before training (0 without)."""
    outcome = node_classes(method, data)
    given: dict[str, float] = next(iter(getattr(method, "diagnoses", [])), {})
    gap = given.get("dirichlet noise", 0.0) - given.get("dirichlet signal", 0.0)
    return Outcome(outcome.ids, {**outcome.columns, "noise above signal": np.full(len(outcome.ids), gap)}, MEASURES)


def _arms(base: str, some: dict[str, Any]) -> tuple[Arm, ...]:
    """All arms; the ablations in some settings alone."""

    def sdm(name: str, role: Any, about: str, only: Any = None, **options: Any) -> Arm:
        return Arm(name, "sdm-scr", {"base": base, **options}, role=role, about=about, only=only)

    def still(name: str, method: str, about: str, **options: Any) -> Arm:
        return Arm(name, method, {"base": base, **options}, role="baseline", budget={}, about=about)

    return (
        sdm("SDM+SCR", "method", "signal and noise, consistency of the signal alone"),
        sdm("SDM", "ablation", "the same without consistency", consistency=0.0),
        sdm("SCR without SDM", "ablation", "the text is not split; random alterations in its place", decoupler="none"),
        Arm("GRACE", "grace", {"base": base}, role="baseline", about="random views of the raw text's graph"),
        still("SGC", "sgc", "raw text averaged over two steps"),
        still("PPR", "sgc", "raw text under the same filter", alpha=0.8, steps=10),
        still("text", "text-logistic", "raw text alone"),
        sdm("random split", "placebo", "signal is half of the words at random", (some,), decoupler="random"),
        sdm(
            "filter after",
            "ablation",
            "no consistency, the filter put on the vectors",
            (some,),
            consistency=0.0,
            smooth=True,
        ),
        sdm("SCR on both", "ablation", "the noise is made consistent too", (some,), consistent="both"),
        sdm("Dirichlet", "ablation", "the other form of consistency", (some,), form="dirichlet"),
        sdm("not orthogonal", "ablation", "without orthogonality", (some,), orthogonality=0.0),
        sdm("noise alone", "ablation", "noise node by node", (some,), noise_branch="alone"),
    )


def _predictions(plain: dict[str, Any], wrong: dict[str, Any], some: dict[str, Any], control: dict[str, Any]) -> Any:
    """What is predicted over all settings but the control (`plain`), where p > 0, at one p, and in the control."""
    return (
        *(Better("accuracy", "SDM+SCR", than=other, where=wrong) for other in RIVALS),
        GapGrows("accuracy", "SDM+SCR", than="SDM", along="p", where=plain),
        Better("accuracy", "SDM+SCR", than="random split", where=some),
        Better(
            "accuracy", "SDM", than="SDM+SCR", margin=-0.02, where=control,
            name="without homophily, consistency gains less than 2 points",
        ),
        Above("noise above signal", "SDM+SCR", 0.0, where=plain),
        *(Better("accuracy", "SDM+SCR", than=other, where=wrong, required=False) for other in ("PPR", "text")),
        *(
            Better("accuracy", "SDM+SCR", than=other, where=some, required=False)
            for other in ("filter after", "SCR on both", "Dirichlet", "not orthogonal", "noise alone")
        ),
    )  # fmt: skip


SENTENCE = (
    "Where part of the signal text is another class's and edges join nodes of one class, signal and noise told apart "
    "with consistency of the signal alone beat the same without consistency, consistency on the whole text, GRACE and "
    "SGC, and the lead over no consistency grows with the share of wrong signals"
)
WRONG = {"homophily": 0.8, "wrong": True}
SOME, CONTROL = {**WRONG, "p": 0.2}, {"homophily": RANDOM, "wrong": True, "p": 0.2}


SDM_SCR = Claim(
    name="sdm-scr",
    sentence=SENTENCE,
    source="arXiv 2604.14746 (its abstract; the graphs are simulated)",
    arms=_arms("hashed", SOME),
    predictions=_predictions({"homophily": 0.8}, WRONG, SOME, CONTROL),
    data=simulated,
    judge=probed,
    measures=MEASURES,
    seeds=(0, 1, 2, 3, 4),
    settings=(
        *({"homophily": 0.8, "wrong": p > 0, "p": p} for p in (0.0, 0.1, 0.2, 0.3, 0.4)),
        CONTROL,
    ),
    budget={"epochs": 100, "dim": 64},
    cut="600 nodes; 100 steps; bags of words in the place of a language model's vectors",
    quick={
        "data": simulated_quick,
        "seeds": (0,),
        "settings": ({"homophily": 0.8, "wrong": False, "p": 0.0}, SOME, {**WRONG, "p": 0.4}, CONTROL),
        "budget": {"epochs": 30, "dim": 32},
    },
)


OWN_WRONG = {"edges": "own", "wrong": True}
CORA_SOME, CORA_CONTROL = {**OWN_WRONG, "p": 0.2}, {"edges": "random", "wrong": True, "p": 0.2}

SDM_SCR_CORA = replace(
    SDM_SCR,
    name="sdm-scr-cora",
    sentence="On the abstracts of Cora, split by the words nearest to the task, the same",
    source="arXiv 2604.14746 (its abstract; the split is by words, not by a language model)",
    arms=_arms("static", CORA_SOME),
    predictions=_predictions({"edges": "own"}, OWN_WRONG, CORA_SOME, CORA_CONTROL),
    data=on_cora,
    seeds=(0, 1, 2),
    settings=(*({"edges": "own", "wrong": p > 0, "p": p} for p in (0.0, 0.2, 0.4)), CORA_CONTROL),
    budget={"epochs": 100, "dim": 64, "batch_size": 512},
    cut="2,277 papers; 100 steps; WordLlama's vectors; 512 nodes compared a step; a tenth of the labels",
    quick={
        "seeds": (0,),
        "settings": ({"edges": "own", "wrong": False, "p": 0.0}, CORA_SOME, {**OWN_WRONG, "p": 0.4}, CORA_CONTROL),
        "budget": {"epochs": 15, "dim": 64, "batch_size": 256},
    },
)


MODEL = os.environ.get("COUNTERPOINT_MODEL", "smollm2")
"""Who splits texts in `SDM_SCR_MODEL`; a larger model behind an endpoint takes its place by this variable."""
PAPERS = 150


def by_language_model(seed: int) -> Parts:
    """Papers of Cora around the most cited ones, their texts split by a language model; a third for training."""
    parts = sampled_cora(PAPERS, MODEL).split({"train": 0.35, "validation": 0.05, "test": 0.6}, seed)
    return parts["train"], parts["validation"], parts["test"]


def probed_split(method: Any, data: AttributedGraph) -> Outcome:
    """`node_classes`, and the share of texts that were split: the others' answers were none, so they are kept raw."""
    outcome = node_classes(method, data)
    split = float((data.node_columns["how"] == "split").mean())
    columns = {**outcome.columns, "split": np.full(len(outcome.ids), split)}
    return Outcome(outcome.ids, columns, {name: Mean(name) for name in columns})


def _sampled(name: str, role: Any, about: str, method: str = "sdm-scr", **options: Any) -> Arm:
    own: dict[str, Any] | None = {} if method != "sdm-scr" else None
    return Arm(name, method, {"base": "static", **options}, role=role, budget=own, about=about)


SDM_SCR_MODEL = Claim(
    name="sdm-scr-model",
    sentence="On abstracts of Cora, a language model's split into signal and noise beats no split and a random one",
    source="arXiv 2604.14746 (its abstract); the language model is ours",
    arms=(
        _sampled("language model", "method", "signal and noise as the model told them"),
        _sampled("no split", "ablation", "random alterations of the text in its place", decoupler="none"),
        _sampled("random split", "placebo", "signal is half of the words at random", decoupler="random"),
        _sampled("words", "ablation", "signal is the half nearest to the task", decoupler="lexical", task=TASK),
        _sampled("SGC", "baseline", "raw text averaged over two steps", method="sgc"),
        _sampled("text", "baseline", "raw text alone", method="text-logistic"),
    ),
    predictions=(
        Better("accuracy", "language model", than="no split"),
        Better("accuracy", "language model", than="random split"),
        *(Better("accuracy", "language model", than=other, required=False) for other in ("words", "SGC", "text")),
    ),
    data=by_language_model,
    judge=probed_split,
    seeds=(0, 1, 2, 3, 4),
    budget={"epochs": 100, "dim": 64},
    cut="SmolLM2-135M; 147 papers around the most cited ones, the first 300 letters of each; WordLlama's vectors",
    quick={"seeds": (0,), "budget": {"epochs": 10, "dim": 32}},
)
