"""Losses of unnormalised vectors, ours and the peers', each with its normalisation; temperature 0.07 everywhere."""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

sys.path.append(str(Path(__file__).resolve().parent.parent / "conformance"))
from adapters import lightly, metric_learning, open_clip, sentence_transformers

from counterpoint.objectives import bf16_products, clip, info_nce, nt_xent, sup_con, symile

TEMPERATURE = 0.07
SCALE = 20.0
"""Of the multilinear inner product."""
Loss = Callable[..., Tensor]


def ours(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric InfoNCE."""
    return clip(normalize(a, dim=1), normalize(b, dim=1), TEMPERATURE).mean()


def ours_of_units(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric InfoNCE of vectors that have length 1 already."""
    return clip(a, b, TEMPERATURE).mean()


def ours_one_way(a: Tensor, b: Tensor) -> Tensor:
    """InfoNCE of the queries alone."""
    return info_nce(normalize(a, dim=1), normalize(b, dim=1), temperature=TEMPERATURE).mean()


def ours_nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """Both views in one set."""
    return nt_xent(normalize(a, dim=1), normalize(b, dim=1), temperature=TEMPERATURE).mean()


def ours_sup_con(a: Tensor, b: Tensor) -> Tensor:
    """Two rows of each view in a class."""
    both = normalize(torch.cat([a, b]), dim=1)
    return sup_con(both, classes(len(both)), temperature=TEMPERATURE).mean()


def ours_trimodal(*views: Tensor) -> Tensor:
    """Every combination of three views."""
    return symile([normalize(view, dim=1) for view in views], scale=SCALE, negatives="n_squared").mean()


def rounded(loss: Loss) -> Loss:
    """With matrix products in bfloat16, forward and so backward."""

    def found(*views: Tensor) -> Tensor:
        with bf16_products():
            return loss(*views)

    return found


def classes(rows: int) -> Tensor:
    """Eight of the 2N rows per class, N / 4 classes."""
    return torch.arange(rows) % max(rows // 8, 1)


@cache
def made(name: str) -> Any:
    """A peer's loss, made once: the step is timed, not the making."""
    losses = {
        "open_clip": lambda: open_clip.module().ClipLoss(),
        "lightly": lambda: lightly.module("ntx_ent_loss").NTXentLoss(TEMPERATURE),
        "info_nce": lambda: import_module("info_nce").InfoNCE(TEMPERATURE),
        "sup_con": lambda: metric_learning.part("losses").SupConLoss(TEMPERATURE),
        "nt_xent": lambda: metric_learning.part("losses").NTXentLoss(TEMPERATURE),
        "symile": lambda: import_module("symile").Symile("n_squared"),
    }
    return losses[name]()


def of_open_clip(a: Tensor, b: Tensor) -> Tensor:
    """`ClipLoss`, which wants unit vectors."""
    found: Tensor = made("open_clip")(normalize(a, dim=1), normalize(b, dim=1), 1 / TEMPERATURE)
    return found


def of_lightly(a: Tensor, b: Tensor) -> Tensor:
    """`NTXentLoss`."""
    found: Tensor = made("lightly")(a, b)
    return found


of_sentence_transformers = sentence_transformers.theirs(1 / TEMPERATURE)
of_sentence_transformers_symmetric = sentence_transformers.theirs(
    1 / TEMPERATURE, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
)


def of_info_nce(a: Tensor, b: Tensor) -> Tensor:
    """`InfoNCE` with the other keys of the batch."""
    found: Tensor = made("info_nce")(a, b)
    return found


def of_metric_learning_sup_con(a: Tensor, b: Tensor) -> Tensor:
    """`SupConLoss`."""
    both = torch.cat([a, b])
    found: Tensor = made("sup_con")(both, classes(len(both)))
    return found


def of_metric_learning_nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """`NTXentLoss` of two views."""
    found: Tensor = made("nt_xent")(torch.cat([a, b]), torch.arange(len(a)).repeat(2))
    return found


def of_symile(*views: Tensor) -> Tensor:
    """`Symile` with all combinations, which it makes."""
    found: Tensor = made("symile")([normalize(view, dim=1) for view in views], SCALE)
    return found


def dense_symmetric(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric InfoNCE as a page of plain PyTorch has it; the reference of gradients in any precision."""
    logits = normalize(a, dim=1) @ normalize(b, dim=1).T / TEMPERATURE
    own = logits.diagonal()
    return (logits.logsumexp(1) - own + logits.logsumexp(0) - own).mean() / 2
