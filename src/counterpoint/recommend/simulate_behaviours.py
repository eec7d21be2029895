"""A shop with a known answer: slow interests, drifting intents, noisy clicks, rare purchases by a hidden rule."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from counterpoint.recommend.interactions import Interactions, Protocol

LOOKED = 3
"""Clicks back to which a purchase may refer."""
COMPLEMENT = 0.5
"""Share of purchases that are of the complement of what was clicked, not of the item itself."""
RETURN = 0.5
"""Share of new intents that go back to the user's own interest; the others are of any topic."""


@dataclass(frozen=True)
class Truth:
    """What made the events: topics of users' interests and of each click's intent, clicks at random, the hidden rule.

    `complement[i]` is the item that goes with item i, of another topic; `topics[i]` the topic of item i. `intents` and
    `noisy` are per event of the data, in its order.
    """

    interests: Int[np.ndarray, " u"]
    intents: Int[np.ndarray, " n"]
    noisy: Bool[np.ndarray, " n"]
    topics: Int[np.ndarray, " v"]
    complement: Int[np.ndarray, " v"]


def simulated(
    users: int,
    events: int = 60,
    items: int = 200,
    topics: int = 10,
    noise: float = 0.3,
    purchases: float = 0.05,
    drift: float = 0.1,
    seed: int = 0,
    world: int = 0,
) -> tuple[Interactions, Truth]:
    """Clicks and purchases of users with a slow interest and an intent that drifts, and what made them.

    With a chance of `drift` a click begins a new intent, the user's interest or any topic. A click is of the intent's
    topic, with a chance of `noise` of any item. After a click comes, with a chance of `purchases`, a purchase: one of
    the last three items that were clicked on purpose, or its complement. `events` are clicks per user; the last event
    of each is a purchase. `world` draws topics and rule, `seed` the users. Source: the generator is ours; its knobs
    are those of the card's claim.

    >>> data, truth = simulated(users=3, events=8, seed=1)
    >>> data.labels, len(truth.intents) == len(data.items)
    (('click', 'buy'), True)
    """
    fixed, random = np.random.default_rng(world), np.random.default_rng(seed)
    topic = np.arange(items) * topics // items
    members = [np.flatnonzero(topic == number) for number in range(topics)]
    complement = _other_topics(fixed, topic)
    interests = random.integers(topics, size=users)
    rows: list[tuple[int, int, int, int, bool]] = []
    for user, interest in enumerate(interests.tolist()):
        intent, clicked = interest, []
        for step in range(events):
            if random.random() < drift:
                intent = interest if random.random() < RETURN else int(random.integers(topics))
            stray = bool(random.random() < noise)
            item = int(random.integers(items)) if stray else int(random.choice(members[intent]))
            rows.append((user, item, 0, intent, stray))
            clicked += [] if stray else [item]
            if clicked and (random.random() < purchases or step == events - 1):
                bought = int(random.choice(clicked[-LOOKED:]))
                bought = int(complement[bought]) if random.random() < COMPLEMENT else bought
                rows.append((user, bought, 1, intent, False))
    who, what, how, intents, noisy = (np.array(column) for column in zip(*rows, strict=True))
    labels = ("click", "buy")
    data = Interactions.of(
        [f"u{user}" for user in who],
        [f"i{item}" for item in what],
        times=np.arange(len(who)),
        behaviours=[labels[kind] for kind in how],
        catalogue=pa.table({"id": [f"i{item}" for item in range(items)], "topic": [f"t{t}" for t in topic]}),
        labels=labels,
        protocol=Protocol(target="buy", seen="kept"),
        source="simulated",
    )
    return data, Truth(interests, intents, noisy, topic, complement)


def _other_topics(random: np.random.Generator, topic: Int[np.ndarray, " v"]) -> Int[np.ndarray, " v"]:
    """For each item one of another topic, each item once: a topic's items go, shuffled, to those of the next topic."""
    order = np.lexsort((random.permutation(len(topic)), topic))
    shift = len(topic) // (int(topic.max()) + 1)
    found = np.empty_like(topic)
    found[order] = np.roll(order, -shift)
    return found
