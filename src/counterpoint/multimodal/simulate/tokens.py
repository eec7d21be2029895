"""Token sequences with a known answer: a text and an image whose polarities differ or not, some of them ambiguous."""

import numpy as np
from jaxtyping import Float32

from counterpoint.multimodal.table import Table

TOPICS = 8


def polarity(
    n: int = 4000,
    seed: int = 0,
    *,
    text_tokens: int = 10,
    image_tokens: int = 9,
    dim: int = 16,
    signal: int = 3,
    noise: float = 0.5,
    ambiguous: float = 0.2,
    redundant: float = 0.0,
) -> Table:
    """Views text and image of random polarity p_t and p_v; the label says whether they differ (sarcasm).

    In each view `signal` tokens carry polarity * direction, the others the row's topic; all have Gaussian noise of
    standard deviation `noise` and stand in random order. A share `ambiguous` of the rows has one view, either with
    equal chance, whose polarity tokens carry nothing (column "ambiguous": its name, or "none"). In a share
    `redundant` of the rows each view has one more token that tells the other view's polarity along a direction of
    its own. A text has between half and all of `text_tokens`. Directions and topics are the same for every seed.
    Known answer: neither view alone says anything about the label (an XOR); with nothing redundant no method can be
    right more often than 1 - `ambiguous` / 2.
    Source: the card of arXiv 2604.06728 asks for it; its form is ours.

    >>> table = polarity(100)
    >>> bool((table.columns["label"] == (table.columns["p_t"] != table.columns["p_v"])).all())
    True
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    signs = 2 * rng.integers(2, size=(n, 2)) - 1
    topics = rng.integers(TOPICS, size=n)
    hit = np.where(rng.random(n) < ambiguous, rng.integers(2, size=n), -1)
    told = rng.random(n) < redundant
    views = {}
    for place, (name, most) in enumerate({"text": text_tokens, "image": image_tokens}.items()):
        own, other = signs[:, place] * (hit != place), signs[:, 1 - place]
        tokens = _sequences(rng, name, own, np.where(told, other, 0), topics, (most, dim), signal, noise)
        lengths = rng.integers(most // 2, most + 1, size=n) if name == "text" else np.full(n, most)
        views[name] = _shuffled(rng, tokens, np.maximum(lengths, signal + 1))
    columns = {
        "label": (signs[:, 0] != signs[:, 1]).astype(np.int64),
        "p_t": signs[:, 0],
        "p_v": signs[:, 1],
        "ambiguous": np.array(["text", "image", "none"], dtype=object)[hit],
    }
    about = f"simulate.tokens.polarity(n={n}, seed={seed}, ambiguous={ambiguous}, redundant={redundant})"
    return Table.of(views, columns, about, kind={"text": "tokens", "image": "tokens"})


def _sequences(
    rng: np.random.Generator,
    name: str,
    own: np.ndarray,
    other: np.ndarray,
    topics: np.ndarray,
    shape: tuple[int, int],
    signal: int,
    noise: float,
) -> Float32[np.ndarray, "n l d"]:
    """First the tokens of the own polarity, then the one that may tell the other's, then those of the topic."""
    fixed = np.random.Generator(np.random.PCG64(["text", "image"].index(name) + 1000))
    directions = fixed.standard_normal((2 + TOPICS, shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tokens = np.repeat(directions[2 + topics][:, None], shape[0], axis=1)
    tokens[:, :signal] = (own[:, None] * directions[0])[:, None]
    tokens[:, signal] = np.where((other == 0)[:, None], tokens[:, signal], other[:, None] * directions[1])
    return np.asarray(tokens + noise * rng.standard_normal(tokens.shape), dtype=np.float32)


def _shuffled(
    rng: np.random.Generator, tokens: Float32[np.ndarray, "n l d"], lengths: np.ndarray
) -> list[Float32[np.ndarray, "_ d"]]:
    """Each row's first tokens in random order."""
    return [rows[rng.permutation(length)] for rows, length in zip(tokens, lengths.tolist(), strict=True)]
