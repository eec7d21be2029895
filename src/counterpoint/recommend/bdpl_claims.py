"""What BDPL's card claims, as data: a shop's log, films' ratings, and simulated shops with ever fewer purchases."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from counterpoint.evaluation import Arm, Better, Claim, GapGrows, Mean, Outcome
from counterpoint.recommend import behaviour_logs
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.judge import ask, for_method, next_item
from counterpoint.recommend.search import searched
from counterpoint.recommend.simulate_behaviours import simulated

RECENT = 10
"""Events before a question among which the answer may have been seen just now."""
USERS = 200
"""Of MovieLens' 943."""
Parts = tuple[Interactions, Interactions, Interactions]


def retail_rocket(seed: int, asked: Any) -> Parts:
    """RetailRocket, the same for every seed; the last purchase that has a time is asked for, or the published one."""
    parts = behaviour_logs.retail_rocket(asked == "published")
    return parts["train"], parts["validation"], parts["test"]


def movielens(seed: int) -> Parts:
    """Some users of MovieLens-100K, the same for every seed."""
    parts = behaviour_logs.movielens(USERS)
    return parts["train"], parts["validation"], parts["test"]


def shops(seed: int, sparsity: int, users: int = 150, judged: int = 500) -> Parts:
    """A simulated shop with so many clicks a purchase; others than the training users are asked, always the same."""
    knobs: dict[str, Any] = {"items": 100, "noise": 0.5, "purchases": 1 / sparsity, "drift": 0.1}
    sizes = ((users, seed), (judged, 1001), (judged, 1002))
    train, validation, test = (simulated(size, seed=draw, **knobs)[0] for size, draw in sizes)
    return train, validation, test


def shuffled_behaviours(data: Interactions, generator: torch.Generator) -> Interactions:
    """Placebo: what a user did is exchanged at random among the events of that user."""
    chance = torch.rand(len(data.items), generator=generator).numpy()
    return replace(data, behaviours=data.behaviours[np.lexsort((chance, data.users))])


def every_next(data: Interactions, generator: torch.Generator) -> Interactions:
    """Every event is learned from, whatever was done; the target is asked for in the test alone."""
    return replace(data, protocol=replace(data.protocol, target=None))


def next_target(method: Any, data: Interactions) -> Outcome:
    """`next_item`, and nDCG@10 where the answer is not among the last ten events of the history (`elsewhere`)."""
    outcome = next_item(method, data)
    given = for_method(method, data)
    questions = ask(given)
    just_seen = np.array(
        [
            given.items[events[0]] in given.items[max(first, last - RECENT) : last]
            for first, last, events in zip(questions.first, questions.last, questions.targets, strict=True)
        ]
    )
    measures: dict[str, Any] = {**outcome.measures, "ndcg10 elsewhere": Mean("ndcg10", where=("just seen", False))}
    return replace(outcome, columns={**outcome.columns, "just seen": just_seen}, measures=measures)


# --- claims

_METHOD = "bdpl"
ABLATIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no contrast": ({"long_weight": 0.0, "short_weight": 0.0}, "neither channel's views are contrasted"),
    "reversed": ({"direction": "target_to_aux"}, "the cascade runs from target to auxiliary"),
    "parallel": ({"direction": "parallel"}, "every stage reads the first input"),
    "no graph": ({"graph": "none"}, "items are read as they are"),
    "no long contrast": ({"long_weight": 0.0}, ""),
    "no short contrast": ({"short_weight": 0.0}, ""),
    "no gate": ({"fusion": "mean"}, "the mean of both channels"),
    "no auxiliary": ({"auxiliary": False}, "events of the target alone are read"),
}
COUNTED = ("popularity", "last-click", "transitions", "markov")
KNOBS: tuple[dict[str, Any], ...] = (
    {"dropout": 0.2, "optim": {"lr": 1e-3, "weight_decay": 0.0}},
    {"dropout": 0.5, "optim": {"lr": 5e-3, "weight_decay": 0.0}},
)
"""Two trials for every learned arm: gentle steps, or long ones and much dropout."""
PATIENCE = 4
"""Epochs without a better validation that end a fit."""


def _keep(epochs: int, **more: Any) -> dict[str, Any]:
    return {"dim": 32, "epochs": epochs, "keep": {"metric": "ndcg10", "patience": PATIENCE}, **more}


def _arms(sequence: Mapping[str, Any], pairs: Mapping[str, Any], prefixes: Mapping[str, Any]) -> tuple[Arm, ...]:
    """All arms.

    `sequence` is the budget of those that learn from whole histories, `pairs` of who took what, `prefixes` from the
    prefix of every event.
    """
    any_next: dict[str, Any] = {"data": every_next, "about": "learns from every next event, not the target's alone"}
    return (
        Arm(_METHOD, _METHOD, about="all of it"),
        *(Arm(name, _METHOD, options, role="ablation", about=about) for name, (options, about) in ABLATIONS.items()),
        *(Arm(name, name, role="baseline", budget={}) for name in COUNTED),
        Arm("sasrec", "sasrec", {"reads": "behaviours"}, "baseline", budget=sequence, about="reads all behaviours"),
        Arm("sasrec target", "sasrec", {"reads": "target"}, "baseline", budget=sequence, about="target events alone"),
        Arm("every event", _METHOD, role="ablation", budget=prefixes, **any_next),
        Arm("markov, every event", "markov", role="baseline", budget={}, **any_next),
        Arm("sasrec, every event", "sasrec", {"reads": "behaviours"}, "baseline", budget=sequence, **any_next),
        *(Arm(name, name, role="baseline", budget=sequence) for name in ("gru4rec", "cl4srec", "duorec")),
        Arm("lightgcn", "lightgcn", role="baseline", budget=pairs, about="any behaviour, no order"),
        Arm("crgcn", "crgcn", role="baseline", about="a cascade over behaviours, no order"),
        Arm("placebo", _METHOD, role="placebo", data=shuffled_behaviours, about="behaviours shuffled in training"),
    )


LEARNED = (_METHOD, "sasrec", "sasrec target", "gru4rec", "cl4srec", "duorec", "lightgcn", "crgcn")
TRIALS = dict.fromkeys(LEARNED, KNOBS) | {"lightgcn": tuple({"optim": knobs["optim"]} for knobs in KNOBS)}
FURTHER = ("every event", "markov, every event", "sasrec, every event")
FOLLOWS = dict.fromkeys((*ABLATIONS, "every event", "placebo"), _METHOD) | {"sasrec, every event": "sasrec"}


def _following(names: Collection[str]) -> dict[str, str]:
    return {name: source for name, source in FOLLOWS.items() if name in names}


SENTENCE = (
    "BDPL ranks the next target item higher than without its contrasts, than with the reversed cascade, than typed "
    "transition counts and than SASRec with behaviours"
)


def _predictions(*names: str) -> tuple[Any, ...]:
    """The card's and the bars as required ones, all other arms to inform."""
    needed = ("no contrast", "reversed", "transitions", "sasrec", "placebo")
    return tuple(Better("ndcg10", _METHOD, than=name, required=name in needed) for name in names)


_OTHERS = (*ABLATIONS, *COUNTED, *LEARNED[1:], *FURTHER, "placebo")
_FEW = ("no contrast", "reversed", "transitions", "markov", "markov, every event", "sasrec", "placebo")


def _quick(
    arms: tuple[Arm, ...],
    budget: Mapping[str, Any],
    sequence: Mapping[str, Any],
    settings: tuple[Mapping[str, Any], ...] = ({},),
) -> dict[str, Any]:
    """One seed, one setting and few arms, without a search."""
    kept = (arm for arm in arms if arm.name in (_METHOD, *_FEW))
    return {
        "seeds": (0,),
        "settings": settings[:1],
        "search": None,
        "arms": tuple(replace(arm, budget=sequence) if arm.budget and arm.name == "sasrec" else arm for arm in kept),
        "predictions": _predictions(*_FEW),
        "budget": budget,
        "cut": "one seed, few arms and epochs, no search",
    }


def _in_both(arms: tuple[Arm, ...], settings: tuple[Mapping[str, Any], ...]) -> tuple[Arm, ...]:
    """In every setting only what the verdict needs and the bars; all other arms in the first."""
    if len(settings) < 2:
        return arms
    kept = (_METHOD, *_FEW, *COUNTED, "sasrec, every event")
    return tuple(arm if arm.name in kept else replace(arm, only=(settings[0],)) for arm in arms)


def _real(
    name: str,
    data: Any,
    about: str,
    epochs: int,
    quick: int,
    cut: str,
    settings: tuple[Mapping[str, Any], ...] = ({},),
    others: tuple[str, ...] = _OTHERS,
) -> Claim:
    """A claim about a real log, of the method and `others`."""
    sequence, pairs = _keep(4 * epochs, batch_size=32, max_length=20), _keep(4 * epochs, batch_size=1024)
    arms = _arms(sequence, pairs, _keep(max(2, epochs // 4), batch_size=256, max_length=20))
    arms = _in_both(tuple(arm for arm in arms if arm.name in (_METHOD, *others)), settings)
    few = {"dim": 32, "batch_size": 256, "max_length": 20}
    return Claim(
        name=name,
        sentence=f"On {about}, {SENTENCE}",
        source="arXiv 2604.14581; reconstruction from the published abstract",
        arms=arms,
        predictions=_predictions(*others),
        data=data,
        judge=next_target,
        budget=_keep(epochs, batch_size=256, max_length=20),
        search=searched(arms, trials=TRIALS, follows=_following(others), setting=settings[0]),
        settings=settings,
        cut=cut,
        quick=_quick(arms, few | {"epochs": quick}, few | {"epochs": 4 * quick}, settings),
    )


_CUT = (
    "the last 20 events of a history; 32 numbers a vector; at most {} epochs of prefixes, four times as many of whole "
    "histories or pairs, the best by validation kept; two trials per learned arm; ablations use the method's choice"
)
BDPL_RETAIL_ROCKET = _real(
    "bdpl",
    retail_rocket,
    "RetailRocket's views, carts and purchases",
    epochs=12,
    quick=3,
    cut=_CUT.format(12) + "; the 5-core; what the verdict does not need is fitted for the purchases with a time alone",
    settings=({"asked": "timed"}, {"asked": "published"}),
)
BDPL_MOVIELENS = _real(
    "bdpl-movielens",
    movielens,
    "MovieLens-100K with stars as behaviours",
    epochs=6,
    quick=1,
    cut=_CUT.format(6) + "; 200 of 943 users, the last ten likes of each are asked for; 15 of the 24 arms",
    others=(*_FEW, "no graph", "no auxiliary", "popularity", "last-click", "gru4rec", "lightgcn", "crgcn"),
)

SPARSITIES = tuple({"sparsity": clicks} for clicks in (5, 15, 45))
_SHOPS = ("no contrast", "reversed", "parallel", "no graph", "no gate", "no auxiliary", *COUNTED, "sasrec", "crgcn")
_SEQUENCE = _keep(40, batch_size=32, max_length=50)
_SHOP_ARMS = tuple(
    arm if arm.name in (_METHOD, *_FEW, *COUNTED) else replace(arm, only=(SPARSITIES[1],))
    for arm in _arms(_SEQUENCE, {}, {})
    if arm.name in (_METHOD, *_SHOPS, "placebo")
)
_GAIN = GapGrows(
    "ndcg10", _METHOD, than="no contrast", along="sparsity", name="the contrasts' gain rises as purchases get sparser"
)

BDPL_SIMULATED = Claim(
    name="bdpl-simulated",
    sentence="In simulated shops with rare purchases and noisy clicks, BDPL ranks what is bought next higher than "
    "without its contrasts and than with the reversed cascade, and the contrasts gain more the rarer purchases are",
    source="arXiv 2604.14581; reconstruction from the published abstract; the generator is ours",
    arms=_SHOP_ARMS,
    predictions=(*_predictions(*_SHOPS, "placebo"), _GAIN),
    data=shops,
    judge=next_target,
    settings=SPARSITIES,
    budget=_keep(12, batch_size=64, max_length=50),
    search=searched(_SHOP_ARMS, trials=TRIALS, follows=_following((*_SHOPS, "placebo")), setting=SPARSITIES[1]),
    cut="150 training users, 100 items; 32 numbers a vector; at most 12 epochs; two trials per learned arm; what the "
    "verdict does not need is fitted with 15 clicks a purchase alone",
    quick={
        **_quick(_SHOP_ARMS, {"dim": 32, "batch_size": 64, "epochs": 5}, {"dim": 32, "batch_size": 64, "epochs": 8}),
        "settings": (SPARSITIES[0], SPARSITIES[-1]),
        "predictions": (*_predictions(*(name for name in _FEW if name in (*_SHOPS, "placebo"))), _GAIN),
    },
)
