"""What is claimed of new items: known by their attributes they are found; on Amazon Beauty and on simulated shops."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.evaluation import Arm, Better, Claim, Mean, Outcome
from counterpoint.evaluation.ranking import ranking_columns
from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.attributes import Described
from counterpoint.recommend.beauty import described
from counterpoint.recommend.counts import Counting
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.judge import ask, for_method, next_item, rank
from counterpoint.recommend.simulate import departments
from counterpoint.training import Method, MethodConfig, Phase

SHARE = 0.03
"""Items that are new in the validation part, and as many others in the test part."""
Parts = tuple[Interactions, Interactions, Interactions]


def beauty(seed: int, users: int) -> Parts:
    """So many users of Amazon Beauty, drawn by the seed, their 4-core; 3 % of the items are new in each judged part."""
    whole = described()
    chosen = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(len(whole))[:users])
    part = k_core(whole.rows(chosen), 4)
    items = part.catalogue.num_rows
    fresh = np.random.Generator(np.random.PCG64(seed + 1)).permutation(items)[: 2 * round(SHARE * items)]
    return with_new(part, *np.array_split(fresh, 2))


def shops(seed: int, users: int = 600) -> Parts:
    """`departments`, whose next kind is known; the last eight items are new, a half in each judged part."""
    data = departments(users, seed=seed)
    return with_new(data, *np.arange(32, 40).reshape(2, 4))


def with_new(data: Interactions, first: Int[np.ndarray, " a"], second: Int[np.ndarray, " b"]) -> Parts:
    """Parts in which the items `first` are new in validation and `second` in test; training knows neither.

    Who takes one of them is asked for it in that part, from what came before, and known up to then; what follows is
    left out. All others are asked for their last event in the test part, the one before in validation.
    """
    meets = np.full(len(data), len(data.items))
    new = np.flatnonzero(np.isin(data.items, np.concatenate([first, second])))
    np.minimum.at(meets, data.users[new], new)
    last = data.starts[1:] - 1
    goal = np.minimum(meets, last)
    asked = {"validation": np.where(meets > last, last - 1, goal), "test": goal}
    whose = {
        "validation": (meets > last) | np.isin(data.items[goal], first),
        "test": (meets > last) | np.isin(data.items[goal], second),
    }
    event = np.arange(len(data.items))
    train = data.where(event < np.where(meets > last, last - 1, goal)[data.users])
    found = []
    for name, moments in asked.items():
        able = whose[name] & (moments > data.starts[:-1])
        kept = (event <= moments[data.users]) & able[data.users]
        part = data.asking((event == moments[data.users]) & kept).where(kept)
        found.append(part.rows(able))
    return train.rows(train.lengths > 0), found[0], found[1]


def shuffled_attributes(data: Interactions, generator: torch.Generator) -> Interactions:
    """Placebo: every item has another's attributes."""
    order = torch.randperm(data.catalogue.num_rows, generator=generator).numpy()
    others = data.catalogue.drop_columns(["id"]).take(order)
    table = data.catalogue
    for name in others.column_names:
        table = table.set_column(table.column_names.index(name), name, others[name])
    return replace(data, catalogue=table)


def new_items(method: Any, data: Interactions) -> Outcome:
    """`next_item`, and nDCG@10 of known targets (`known`), of new ones (`new`), and of those among new items alone."""
    outcome = next_item(method, data)
    own = for_method(method, data)
    fresh = np.flatnonzero(method.items.counts.cpu().numpy() == 0)
    ranked = rank(method, replace(own, candidates=np.tile(fresh, (len(own), 1))), 10)
    among = ranking_columns(ranked.hits, ranked.relevant, (10,), ("ndcg",))["ndcg10"]
    target = own.items[np.concatenate(ask(own).targets)]
    columns = {**outcome.columns, "among new": among, "new": np.isin(target, fresh)}
    measures = {
        "ndcg10 known": Mean("ndcg10", where=("new", False)),
        "ndcg10 new": Mean("ndcg10", where=("new", True)),
        "ndcg10 among new": Mean("among new", where=("new", True)),
    }
    return replace(outcome, columns=columns, measures={**outcome.measures, **measures})


class Content(Described, Counting, Method):
    """The bar for attributes: cosines of an item's attributes with the sum of those of the last five items.

    Source: none; nothing is learned.

    >>> train, _, test = shops(0, users=40)
    >>> Content().fit(train).recommend([["i0"]], k=1)[0][0]["id"] in [f"i{5 * n}" for n in range(8)]
    True
    """

    Config = MethodConfig

    def build(self, facts: dict[str, Any]) -> None:
        """The items and their attributes."""
        self._build_items(facts)
        self._build_attributes(facts)

    def phases(self, data: Interactions) -> list[Phase]:
        """Nothing to do."""
        return []

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """Sums of attributes times attributes."""
        latest = histories.latest(5)
        matrix = self.shares.matrix()
        counts = torch.zeros(len(self.items), len(histories), device=latest.items.device)
        counts.index_put_((latest.items, latest.owners), torch.ones(len(latest.items)), accumulate=True)
        found: Tensor = matrix @ (matrix.T @ counts)
        return found.T


METHOD = "sasrec-attributes"
ARMS = (
    Arm("attributes", METHOD, about="attributes stand in for hidden items, both views contrasted"),
    Arm("no contrast", METHOD, {"contrast": 0.0}, role="ablation", about="hidden items alone"),
    Arm("contrast alone", METHOD, {"hide": 0.0}, role="ablation", about="no hidden items"),
    Arm("attributes alone", METHOD, {"hide": 1.0}, role="ablation", about="no vectors of items' own in training"),
    Arm("sasrec", "sasrec", role="baseline", about="new items have vectors that nothing taught"),
    Arm(
        "content",
        "counterpoint.recommend.cold_claims:Content",
        role="reference",
        budget={},
        about="cosines of attributes, nothing learned",
    ),
    Arm("placebo", METHOD, role="placebo", data=shuffled_attributes, about="attributes of another item"),
)
PREDICTIONS = (
    Better("ndcg10 new", "attributes", than="sasrec"),
    Better("ndcg10 among new", "attributes", than="placebo"),
    Better("ndcg10 among new", "attributes", than="content"),
    Better("ndcg10 among new", "attributes", than="no contrast", required=False),
    Better("ndcg10 among new", "attributes", than="contrast alone", required=False),
    Better("ndcg10 known", "sasrec", than="attributes", required=False),
    Better("ndcg10 known", "attributes", than="attributes alone", required=False),
)

COLD_ITEMS = Claim(
    name="sasrec-attributes",
    sentence="An item that nobody took yet is found by its attributes: SASRec with an attribute view ranks new items "
    "of Amazon Beauty better than attributes do without learning",
    source="ours (docs/methods/sasrec-attributes.md)",
    arms=ARMS,
    predictions=PREDICTIONS,
    data=partial(beauty, users=6000),
    judge=new_items,
    seeds=(0, 1, 2),
    budget={"epochs": 15, "batch_size": 128, "optim": {"lr": 3e-3}, "keep": {"metric": "ndcg10", "patience": 3}},
    cut="6,000 of 22,363 users, drawn by the seed, and the 4-core of what they did",
    quick={
        "data": partial(beauty, users=4500),
        "seeds": (0,),
        "budget": {"epochs": 5, "batch_size": 64, "optim": {"lr": 3e-3}},
    },
)

COLD_ITEMS_SIMULATED = Claim(
    name="cold-items-simulated",
    sentence="Where the next kind is all there is to know, new items are found by their kind as well as old ones",
    source="ours (docs/methods/sasrec-attributes.md)",
    arms=ARMS,
    predictions=PREDICTIONS[:3],
    data=shops,
    judge=new_items,
    seeds=(0, 1, 2, 3, 4),
    budget={"epochs": 20, "batch_size": 32, "dim": 32, "optim": {"lr": 3e-3}},
    quick={
        "data": partial(shops, users=300),
        "seeds": (0, 1, 2, 3),
        "budget": {"epochs": 8, "batch_size": 16, "dim": 16, "optim": {"lr": 0.01}},
    },
)
