"""What the paper on MVCrec says, as data: two views, their contrast and their fusion on Amazon Beauty."""

from dataclasses import replace
from functools import partial
from typing import Any

from counterpoint.evaluation import Arm, Better, Claim, Equivalent, Prediction
from counterpoint.recommend.beauty import next_purchase
from counterpoint.recommend.judge import next_item
from counterpoint.recommend.search import TRIALS, searched

SHARE = 0.2
"""Of the people, for the claim with three seeds: 584 of them and 636 items are left with 5 events each."""
METHOD = "mvcrec"
PLAIN = {"contrast_weight": 0.0}
KEEP = {"metric": "ndcg10", "patience": 2}
"""The best epoch by validation; two worse ones end a fit."""
RATE = {"lr": 3e-3, "weight_decay": 0.0}


def _two_views(fusion: str, called: str) -> tuple[Arm, ...]:
    """Every strength of the contrast under one fusion."""
    about = {"0": "no contrast", "0.01": "the released command", "0.1": "the released default"}
    plain = {"fusion": fusion, "similarity": "dot", "temperature": 1.0}
    arms = [
        Arm(f"{called}, {weight}", METHOD, plain | {"contrast_weight": float(weight)}, "ablation", about=text)
        for weight, text in about.items()
    ]
    tuned = {"fusion": fusion, "similarity": "cosine"}
    return (*arms, Arm(f"{called}, tuned", METHOD, tuned, "ablation", about="cosines; weight and temperature chosen"))


WHOLE = "AFF, 0.01"
ARMS = (
    *(replace(arm, role="method" if arm.name == WHOLE else "ablation") for arm in _two_views("aff", "AFF")),
    *_two_views("none", "no fusion"),
    *(
        Arm(f"{view} view, {dim}", METHOD, {"views": view, "dim": dim, **PLAIN}, role="ablation", about=about)
        for view in ("id", "graph")
        for dim, about in ((64, "one view, as large as one of the two"), (128, "one view, as large as both together"))
    ),
    Arm(
        "shuffled graph",
        METHOD,
        {"shuffled_graph": True, "contrast_weight": 0.01},
        role="placebo",
        about="AFF, 0.01, on a graph whose items are exchanged at random",
    ),
    Arm(
        "sasrec",
        "sasrec",
        role="baseline",
        budget={"epochs": 100, "optim": RATE, "keep": KEEP | {"patience": 10}},
        about="all positions, until 10 epochs bring nothing",
    ),
    Arm("markov", "markov", role="baseline", budget={}, about="its five knobs chosen on held-out training events"),
)
PREDICTIONS: tuple[Prediction, ...] = (
    *(
        Better("ndcg10", WHOLE, than=than)
        for than in (
            *("id view, 64", "graph view, 64", "id view, 128", "graph view, 128"),
            *("AFF, 0", "no fusion, 0.01", "shuffled graph", "sasrec", "markov"),
        )
    ),
    Better("ndcg10", "AFF, 0.1", than="AFF, 0", required=False),
    Better("ndcg10", "AFF, tuned", than="AFF, 0", required=False),
    Better("ndcg10", "AFF, 0", than="no fusion, 0", required=False),
    Better("ndcg10", "AFF, tuned", than="no fusion, tuned", required=False),
    Better("ndcg10", "no fusion, 0", than="graph view, 128", required=False),
    Better("ndcg10", "AFF, 0", than="markov", required=False),
    Better("ndcg10", "AFF, 0", than="sasrec", required=False),
    Better("ndcg10", "graph view, 64", than="id view, 64", required=False),
    Equivalent("ndcg10", WHOLE, than="AFF, 0", within=0.002, required=False),
)
STRENGTHS = tuple({"contrast_weight": weight, "temperature": 0.2} for weight in (0.01, 0.1))
DROPOUTS = TRIALS["sasrec"][1::2]
"""Two amounts of dropout at the rate of the budget."""
SEARCH = searched(
    ARMS,
    trials=dict.fromkeys(("AFF, 0", "id view, 64", "graph view, 64", "sasrec"), DROPOUTS) | {"AFF, tuned": STRENGTHS},
    follows=dict.fromkeys(("AFF, 0.01", "AFF, 0.1", "no fusion, 0", "no fusion, 0.01", "no fusion, 0.1"), "AFF, 0")
    | {"shuffled graph": "AFF, 0", "no fusion, tuned": "AFF, tuned"}
    | {f"{view} view, 128": f"{view} view, 64" for view in ("id", "graph")},
)
"""Dropout for arms without contrast, whose choice the others follow; two weights of a contrast of cosines."""
BUDGET: dict[str, Any] = {"epochs": 20, "optim": RATE, "keep": KEEP}

MVCREC = Claim(
    name="mvcrec",
    sentence="On Amazon Beauty, two views with three contrastive terms and attentional fusion find the next purchase "
    "more often than the better single view, than the same without contrast and than the same without fusion",
    source="arXiv 2604.14114; the protocol: full ranking, leave one out, what was seen removed",
    arms=ARMS,
    predictions=PREDICTIONS,
    data=partial(next_purchase, share=SHARE),
    judge=next_item,
    seeds=(0, 1, 2),
    budget=BUDGET,
    search=SEARCH,
    cut="584 of 22,363 people and 636 of 12,101 items, all with 5 events there; at most 20 epochs (SASRec: 100), the "
    "best by validation; two trials of each searched arm",
    quick={
        "seeds": (0,),
        "search": None,
        "budget": BUDGET | {"epochs": 3},
        "arms": tuple(
            replace(arm, options={**arm.options, **STRENGTHS[1]}) if arm.name == "AFF, tuned" else arm
            for arm in ARMS
            if not arm.name.startswith("no fusion, 0.") and arm.name not in ("AFF, 0.1", "no fusion, tuned")
        ),
        "predictions": tuple(
            prediction
            for prediction in PREDICTIONS
            if not {"no fusion, 0.01", "AFF, 0.1", "no fusion, tuned"} & set(prediction.arms)
        ),
        "cut": "584 people and 636 items, one seed, no search, at most 3 epochs, 11 of the 15 arms",
    },
)

ALL = (WHOLE, "AFF, 0", "no fusion, 0", "id view, 64", "graph view, 64", "shuffled graph", "sasrec", "markov")

MVCREC_ALL = replace(
    MVCREC,
    name="mvcrec-all",
    sentence="The same with all people of Amazon Beauty, without the arms of other sizes and strengths",
    data=next_purchase,
    seeds=(0,),
    budget=BUDGET | {"epochs": 3},
    search=None,
    arms=tuple(
        replace(arm, budget={**arm.budget, "epochs": 25}) if arm.budget else arm for arm in ARMS if arm.name in ALL
    ),
    predictions=tuple(prediction for prediction in PREDICTIONS if set(prediction.arms) <= set(ALL)),
    cut="one seed, no search; 8 of the 15 arms; at most 3 epochs of all prefixes (SASRec: 25 of all histories), the "
    "best by validation",
    quick={"data": partial(next_purchase, share=SHARE)},
)
