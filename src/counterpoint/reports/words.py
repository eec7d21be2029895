"""Numbers and findings in plain words."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Number = int | float
DASH = "\N{EN DASH}"

NAMES = {
    "mrr": "Mean reciprocal rank",
    "median_rank": "Median rank",
    "auc": "AUC",
    "macro_f1": "Macro F1",
    "nll": "Negative log-likelihood",
    "brier": "Brier score",
    "ece": "Calibration error",
    "wga": "Worst-group accuracy",
    "mstps": "Shift by one word (MSTPS)",
    "nmi": "NMI",
    "ami": "AMI",
    "ari": "ARI",
}
LISTS = {"ndcg": "nDCG", "hr": "Hit rate", "mrr": "MRR", "map": "MAP", "recall": "Recall"} | {
    "precision": "Precision",
    "popularity": "Popularity",
}
"""Measures of lists, which end in the lists' length and perhaps the questions they are limited to."""
LOWER_IS_BETTER = {"median_rank", "loss", "nll", "brier", "ece", "mstps"}
SHARES = re.compile(r"(.*_)?top_?\d+|.*(accuracy|recall|share|purity|hit).*")

MEANING = {
    "effective_rank": "How many directions the vectors really use; a few of many would mean collapse.",
    "mean_cosine": "Mean cosine of two different rows; 0 is spread out, 1 is all the same.",
    "uniformity": "How evenly the vectors cover the sphere; 0 is one single point, about -4 is even.",
    "alignment": "Squared distance of vectors that belong together; 0 is the same point, 2 is unrelated.",
    "dead_dimensions": "How many dimensions hardly vary from row to row.",
    "ari": "Agreement of clusters with labels, corrected for chance; 1 is perfect, 0 is chance.",
    "nmi": "Information that clusters and labels share; 1 is all of it, 0 is none.",
    "ami": "Information that clusters and labels share, corrected for chance; 1 is perfect, 0 is chance.",
    "purity": "Share of rows that carry the most frequent label of their cluster.",
    "accuracy": "Share of rows in the right cluster, under the best matching of clusters to labels.",
}


def title(name: str) -> str:
    """Write a measure's name for a reader.

    >>> title("top1"), title("mrr"), title("effective_rank")
    ('Top-1', 'Mean reciprocal rank', 'Effective rank')
    >>> title("rest_top1"), title("ndcg10"), title("hr5"), title("ndcg10 tail")
    ('Top-1 from all other views', 'nDCG@10', 'Hit rate@5', 'nDCG@10, tail')
    """
    if (lists := re.fullmatch(r"([a-z]+)(\d+)( \w+)?", name)) and lists[1] in LISTS:
        return f"{LISTS[lists[1]]}@{lists[2]}" + (f",{lists[3]}" if lists[3] else "")
    if name.startswith("rest_"):
        return f"{title(name.removeprefix('rest_'))} from all other views"
    if top := re.fullmatch(r"top_?(\d+)", name):
        return f"Top-{top[1]}"
    return NAMES.get(name) or name.replace("_", " ").capitalize()


def number(value: object) -> str:
    """Write a number with about three telling digits.

    >>> [number(x) for x in (0.123456, 12.3456, 1234.5, 3, -0.00012, None)]
    ['0.123', '12.3', '1,234', '3', '-0.00012', '–']
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return DASH if value is None else str(value)
    if not math.isfinite(value):
        return DASH
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:.{3 if abs(value) < 1 else 2 if abs(value) < 10 else 1}f}"


def measured(name: str, value: Number | None, sign: bool = False) -> str:
    """Write a measure's value in its unit: shares in per cent, ranks and others as they are.

    >>> measured("top1", 0.4512), measured("top1", 0.0651, sign=True), measured("median_rank", 2.0)
    ('45.1 %', '+6.5', '2')
    """
    if value is None or not math.isfinite(value):
        return DASH
    plus = "+" if sign and value > 0 else ""
    if SHARES.fullmatch(name):
        return f"{plus}{100 * value:.1f}" + ("" if sign else " %")
    return plus + (f"{value:.3g}" if name.endswith("rank") and abs(value) < 1000 else number(value))


def unit(name: str) -> str:
    """Name the unit of a difference.

    >>> unit("top1"), unit("mrr")
    (' points', '')
    """
    return " points" if SHARES.fullmatch(name) else ""


def between(name: str, cell: Mapping[str, Any], sign: bool = False) -> str:
    """Write an interval, or nothing when there is none.

    >>> between("top1", {"low": 0.43, "high": 0.47})
    '43.0 to 47.0 %'
    """
    low, high = cell.get("low"), cell.get("high")
    if low is None or high is None:
        return ""
    return f"{measured(name, low, sign).removesuffix(' %')} to {measured(name, high, sign)}"


def standing(name: str, difference: Mapping[str, Any]) -> str:
    """Say whether a paired difference (this run minus the other) is better, worse or cannot be told.

    >>> standing("top1", {"low": 0.01, "high": 0.03}), standing("median_rank", {"low": 1, "high": 3})
    ('better', 'worse')
    >>> standing("top1", {"low": -0.01, "high": 0.03})
    'cannot tell'
    """
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None or not (low > 0 or high < 0):
        return "cannot tell"
    return "better" if (low > 0) != (name in LOWER_IS_BETTER) else "worse"


def headline(measures: Mapping[str, Any]) -> str | None:
    """Choose the measure the verdict speaks of: top-1, or else the first."""
    return "top1" if "top1" in measures else next(iter(measures), None)


def auc(clean: Sequence[Number | None], swapped: Sequence[Number | None]) -> float:
    """Give the probability that a clean value exceeds a swapped one, ties counting half; NaN without values.

    >>> auc([0.9, 0.8], [0.1, 0.8]), auc([], [1.0])
    (0.875, nan)
    """
    high, low = usable(clean), np.sort(usable(swapped))
    if not len(high) or not len(low):
        return math.nan
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.mean() / (2 * len(low)))


def usable(values: Sequence[Number | None]) -> np.ndarray:
    """Keep the finite numbers.

    >>> usable([1.0, None, float("nan")]).tolist()
    [1.0]
    """
    array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return array[np.isfinite(array)]


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    >>> listed(["fou"]), listed(["fou", "kar", "zer"])
    ('fou', 'fou, kar and zer')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
