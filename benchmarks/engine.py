"""The contrast engine beside its peers: time, memory and exactness of a step, forward and backward with normalisation.

Ours and the peer take turns in one process; memory is that of a fresh process above its imports. `--only WORD` runs the
rows that contain it and writes nothing; `--large` adds the step of 65,536 pairs, which takes minutes.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import argparse
import contextlib
import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import torch
from harness import interleave, write
from torch import Tensor
from torch.nn.functional import normalize

import peers

THREADS = 2
PEERS = ("open_clip_torch", "sentence-transformers", "lightly", "pytorch-metric-learning", "info-nce-pytorch", "symile")
Row = dict[str, Any]


def vectors(n: int, dim: int, views: int = 2, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The same random views each time."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, dim, generator=generator).to(dtype).requires_grad_() for _ in range(views)]


def stepped(name: str, inputs: list[Tensor]) -> Callable[[], None]:
    """Forward and backward of a loss of peers.py; "bf16 NAME" rounds the products of one of ours."""
    loss = peers.rounded(getattr(peers, name[5:])) if name.startswith("bf16 ") else getattr(peers, name)

    def step() -> None:
        for x in inputs:
            x.grad = None
        loss(*inputs).backward()

    return step


def row(what: str, value: float, limit: float, at_most: bool, aim: str, more: Row, unit: str = "ratio") -> Row:
    """A number and what was asked of it."""
    met = value <= limit if at_most else value >= limit
    goal = f"{'<=' if at_most else '>='} {limit:g}"
    return {"what": what, unit: float(value), "goal": goal, "met": met, "aim": aim} | more


def faster(
    what: str, peer: str, own: str, n: int, dim: int, least: float, aim: str = "", repeats: int = 5, views: int = 2
) -> Row:
    """How often our step fits into the peer's."""
    inputs = vectors(n, dim, views)
    seconds = interleave({name: stepped(name, inputs) for name in (peer, own)}, repeats)
    return row(label(what, n, dim), seconds[peer] / seconds[own], least, False, aim, ms(seconds))


def no_slower(what: str, rivals: tuple[str, ...], own: str, n: int, dim: int, most: float) -> Row:
    """Our step over that of the best dense peer."""
    inputs = vectors(n, dim)
    seconds = interleave({name: stepped(name, inputs) for name in (*rivals, own)}, max(7, 40_000 // n))
    best = min(seconds[name] for name in rivals)
    return row(label(what, n, dim), seconds[own] / best, most, True, "<= 1.1", ms(seconds))


def above_floor(n: int, dim: int, most: float, aim: str) -> Row:
    """Our symmetric step, from unit vectors to their gradients, over its four matrix products alone."""
    a, b = (normalize(x.detach(), dim=1) for x in vectors(n, dim))
    logits, pulled = torch.empty(n, n), torch.empty(n, dim)

    def floor() -> None:
        for _ in range(2):
            torch.mm(a, b.T, out=logits)
        torch.mm(logits, b, out=pulled)
        torch.mm(logits.T, a, out=pulled)

    seconds = interleave(
        {"floor": floor, "ours": stepped("ours_of_units", [x.clone().requires_grad_() for x in (a, b)])}, 9
    )
    what = label("symmetric: ours / floor of four products", n, dim)
    return row(what, seconds["ours"] / seconds["floor"], most, True, aim, ms(seconds))


def leaner(what: str, peer: str, own: str, n: int, dim: int, least: float, aim: str, views: int = 2) -> Row:
    """The peer's peak memory over ours."""
    mib = {name: peak(name, n, dim, views) for name in (peer, own)}
    return row(label(what, n, dim), mib[peer] / mib[own], least, False, aim, {"mib": mib})


def doubling(n: int, dim: int, most: float) -> Row:
    """How our peak memory grows from n pairs to twice as many."""
    mib = {str(rows): peak("ours", rows, dim) for rows in (n, 2 * n)}
    what = label("symmetric, memory of twice the pairs / memory", n, dim)
    return row(what, mib[str(2 * n)] / mib[str(n)], most, True, "linear", {"mib": mib})


def bounded(n: int, dim: int, most: float) -> Row:
    """The peak memory of a step whose matrix of logits fits nowhere."""
    return row(label("symmetric, MiB above the imports", n, dim), peak("ours", n, dim), most, True, "204", {}, "mib")


def exact(n: int, dim: int, most: float) -> Row:
    """The gradient in fp32 beside that of the dense loss in fp64, as a share of its length."""
    inputs, precise = vectors(n, dim), vectors(n, dim, dtype=torch.float64)
    found = torch.autograd.grad(peers.ours(*inputs), inputs)
    wanted = torch.autograd.grad(peers.dense_symmetric(*precise), precise)
    error = max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))
    return row(label("symmetric, fp32 gradient beside dense fp64", n, dim), error, most, True, "4e-7", {}, "relative")


def label(what: str, n: int, dim: int) -> str:
    """What was measured, and its size."""
    return f"{what}, N={n}, d={dim}"


def ms(seconds: dict[str, float]) -> Row:
    """Milliseconds of each step."""
    return {"ms": {name: 1e3 * value for name, value in seconds.items()}}


def peak(name: str, n: int, dim: int, views: int = 2) -> float:
    """The peak memory in MiB of one step in a fresh process, above what it held after its imports.

    The highest of three: with two threads one buffer more or less may be alive at the peak.
    """
    command = [sys.executable, __file__, "--peak", name, str(n), str(dim), str(views)]
    return max(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3))


def measure_peak(name: str, n: int, dim: int, views: int) -> float:
    """That of this process: resident memory at its highest during a step, less what a small step left behind."""
    stepped(name, vectors(8, dim, views))()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # what imports gave back would hide part of a small step
        ctypes.CDLL(None).malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    stepped(name, vectors(n, dim, views))()
    return memory("VmHWM") - before


def memory(field: str) -> float:
    """A field of this process's memory in MiB. Not getrusage, whose peak is inherited from the parent process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return float(lines[field].split()[0]) / 1024


OPEN_CLIP, ST, ST_BOTH = "of_open_clip", "of_sentence_transformers", "of_sentence_transformers_symmetric"
TO_OPEN_CLIP = "symmetric: open_clip / ours"
BIG, WIDE, SMALL = {"n": 4096, "dim": 128}, {"n": 4096, "dim": 512}, {"n": 256, "dim": 128}
TRIPLES = {"n": 512, "dim": 128, "views": 3}
ROWS: tuple[Callable[..., Row], ...] = (
    partial(faster, TO_OPEN_CLIP, OPEN_CLIP, "ours", least=2.0, aim="2.6", **BIG),
    partial(faster, f"{TO_OPEN_CLIP}, bf16", OPEN_CLIP, "bf16 ours", least=2.8, aim="3.9", **BIG),
    partial(faster, TO_OPEN_CLIP, OPEN_CLIP, "ours", least=1.5, aim="2.0", **WIDE),
    partial(faster, f"{TO_OPEN_CLIP}, bf16", OPEN_CLIP, "bf16 ours", least=2.5, aim="3.5", **WIDE),
    partial(faster, "symmetric: sentence-transformers / ours", ST_BOTH, "ours", least=3.0, aim="4.1", **BIG),
    partial(faster, "NT-Xent: lightly / ours", "of_lightly", "ours_nt_xent", least=4.5, aim="6.1", **BIG),
    partial(faster, "SupCon: metric-learning / ours", "of_metric_learning_sup_con", "ours_sup_con",
            least=7.0, aim="10", repeats=3, **BIG),
    partial(faster, "NT-Xent: metric-learning / ours", "of_metric_learning_nt_xent", "ours_nt_xent",
            least=100.0, aim="500", repeats=3, **SMALL),
    partial(leaner, "symmetric, memory: open_clip / ours", OPEN_CLIP, "ours", least=30.0, aim="50", n=16384, dim=128),
    partial(doubling, n=16384, dim=128, most=2.2),
    partial(above_floor, most=1.7, aim="<= 1.3", **BIG),
    partial(above_floor, most=1.25, aim="1.04", **WIDE),
    *(partial(no_slower, "symmetric: ours / best dense peer", (OPEN_CLIP, ST_BOTH), "ours", n=n, dim=128, most=1.15)
      for n in (256, 1024)),
    *(partial(no_slower, "one direction: ours / best dense peer", ("of_info_nce", ST), "ours_one_way",
              n=n, dim=128, most=1.15)
      for n in (128, 256, 512, 1024)),
    partial(faster, "three views: symile / ours", "of_symile", "ours_trimodal", least=2.5, aim="3.8", views=3, **SMALL),
    partial(leaner, "three views, memory: symile / ours", "of_symile", "ours_trimodal", least=40.0, aim="68", views=3,
            **SMALL),
    partial(faster, "three views: symile / ours", "of_symile", "ours_trimodal", least=5.0, aim="5.7", repeats=2,
            **TRIPLES),
    partial(leaner, "three views, memory: symile / ours", "of_symile", "ours_trimodal", least=200.0, aim="311",
            **TRIPLES),
    partial(exact, n=1200, dim=64, most=1e-6),
    partial(exact, most=1e-6, **BIG),
)  # fmt: skip
LARGE = (partial(bounded, n=65536, dim=128, most=512.0),)


def title(measure: Callable[..., Row]) -> str:
    """What a row will be called, as far as is known before it is run."""
    given: Any = measure
    return " ".join(map(str, [given.func.__name__, *given.args[:1], given.keywords]))


def main() -> None:
    """Run the rows, and write them unless they are a choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="WORD", help="rows whose description contains this; nothing is written")
    parser.add_argument("--large", action="store_true", help="with the step of 65,536 pairs")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    if asked.peak:
        name, *sizes = asked.peak
        print(measure_peak(name, *map(int, sizes)))
        return
    found = []
    for measure in (*ROWS, *(LARGE if asked.large else ())):
        if asked.only and asked.only not in title(measure):
            continue
        try:
            found.append(measure())
        except (ImportError, PackageNotFoundError) as absent:
            print(f"skipped: {title(measure)}: {absent}")
            continue
        print(found[-1], flush=True)
    if not asked.only:
        write("engine", found, "a step of the loss alone, two threads, temperature 0.07", *PEERS)


if __name__ == "__main__":
    main()
