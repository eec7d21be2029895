"""Sinkhorn beside POT, and goal-driven topics of 50,000 titles from file to page.

`python benchmarks/topics.py` takes minutes; `--tiny` tries every row in seconds on little work and writes nothing. The
titles are DBLP's where COUNTERPOINT_DATA has them, else made of the words of the simulation.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from harness import interleave, write

from counterpoint.objectives.transport import sinkhorn
from counterpoint.serving.topics import Topics, topics
from counterpoint.text.topics.corpora import GOALS, PLACE
from counterpoint.text.topics.simulate import goal_corpus

TOLERANCE = 1e-6
EPSILON = 0.05
SIZES = ((20, 2000), (500, 500), (1000, 1000))


def problem(n: int, m: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cosine costs of random unit vectors, and random weights, in float64 as POT wants them."""
    made = torch.Generator().manual_seed(n)
    left, right = (torch.randn(size, 64, generator=made, dtype=torch.float64) for size in (n, m))
    left, right = (torch.nn.functional.normalize(side, dim=1) for side in (left, right))
    rows, columns = (torch.randn(size, generator=made, dtype=torch.float64).softmax(0) for size in (n, m))
    return 1 - left @ right.T, rows, columns


def beside_pot(n: int, m: int, repeats: int) -> dict[str, Any]:
    """One solve to the same tolerance, both sides in turns; and how far the plans' marginals are off."""
    import ot

    cost, rows, columns = problem(n, m)
    a, b, c = rows.numpy(), columns.numpy(), cost.numpy()
    options: dict[str, Any] = {"stopThr": TOLERANCE, "numItermax": 10_000}

    def ours() -> Any:
        return sinkhorn(cost, epsilon=EPSILON, weight0=rows, weight1=columns, tolerance=TOLERANCE, iterations=10_000)

    runs = {
        "ours": ours,
        "POT": lambda: ot.sinkhorn(a, b, c, EPSILON, **options),
        "POT in the log domain": lambda: ot.sinkhorn(a, b, c, EPSILON, method="sinkhorn_log", **options),
    }
    seconds = interleave(runs, repeats)
    plan, theirs = ours().plan, torch.from_numpy(runs["POT"]())
    off = float((plan.sum(1) - rows).abs().sum() + (plan.sum(0) - columns).abs().sum())
    ratio = seconds["ours"] / seconds["POT"]
    return {
        "what": f"Sinkhorn to marginals of 1e-6, {n} x {m}: ours / POT",
        "ratio": ratio,
        "goal": "<= 1.5",
        "met": bool(ratio <= 1.5 and off <= TOLERANCE),
        "marginals": off,
        "marginals_of_pot": float((theirs.sum(1) - rows).abs().sum() + (theirs.sum(0) - columns).abs().sum()),
        "ms": {name: 1000 * value for name, value in seconds.items()},
    }


def titles(number: int) -> tuple[list[str], str, str]:
    """Titles, a goal, and where they are from."""
    path = Path(os.environ.get("COUNTERPOINT_DATA", ".")) / PLACE / "DBLP" / "corpus.tsv"
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()[:number]
        return [line.split("\t")[0] for line in lines], GOALS["images"], "DBLP titles"
    data = goal_corpus(number)
    return [str(text) for text in data.text.values], data.goal, "simulated texts"


def whole(number: int) -> dict[str, Any]:
    """The command from file to page, coherence and comparison included."""
    texts, goal, source = titles(number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "titles.txt"
        path.write_text("\n".join(texts), encoding="utf-8")
        start = time.perf_counter()
        found = topics(Topics(corpus=path, goal=goal, out=Path(folder) / "run", given=["topics=20"]))
        seconds = time.perf_counter() - start
    return {
        "what": f"topics of {number} {source}, from file to page",
        "seconds": seconds,
        "goal": "<= 600",
        "met": seconds <= 600,
        "off_goal": found["off_goal"],
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    if tiny:
        print([beside_pot(20, 30, 1), whole(200)])
        return
    rows = [beside_pot(*size, 15) for size in SIZES] + [whole(50_000)]
    write("topics", rows, "Sinkhorn in float64 beside POT, in turns; the command `topics` on 50,000 titles", "POT")


if __name__ == "__main__":
    main()
