"""PyGCL; its loss files are loaded without its package, which imports torch-geometric and dgl."""

from types import ModuleType

import torch
from torch import Tensor

from adapters.case import Case, Difference, Scalar, part_of, unit
from counterpoint.objectives import info_nce
from counterpoint.objectives.regularisers import barlow_twins, vicreg
from counterpoint.objectives.weighted import debiased, hardness_weighted

PEER = "PyGCL"


def theirs(file: str, name: str, **options: float) -> Scalar:
    """A loss of two views with the masks of paired rows."""

    def loss(a: Tensor, b: Tensor) -> Tensor:
        module: ModuleType = part_of(f"GCL.losses.{file}")
        own = torch.eye(len(a), dtype=a.dtype)
        found: Tensor = getattr(module, name)(**options)(a, b, own, 1 - own)
        return found

    return loss


CASES = [
    Case(
        PEER,
        "InfoNCE",
        lambda a, b: info_nce(*unit(a, b), temperature=0.2).mean(),
        theirs("infonce", "InfoNCE", tau=0.2),
    ),
    Case(
        PEER,
        "VICReg, with our variance weight doubled",
        lambda a, b: vicreg(a, b, variance=50.0),
        theirs("vicreg", "VICReg"),
    ),
]

DIFFERENCES = [
    Difference(
        PEER, "VICReg", vicreg, theirs("vicreg", "VICReg"), "theirs adds the variance terms of the views, ours averages"
    ),
    Difference(
        PEER,
        "BarlowTwins",
        lambda a, b: barlow_twins(a, b, 0.005),
        theirs("barlow_twins", "BarlowTwins", lambda_=0.005),
        "theirs divides products by n and deviations by n - 1, so equal views do not reach 1; ours by n throughout",
    ),
    Difference(
        PEER,
        "DebiasedInfoNCE",
        lambda a, b: debiased(*unit(a, b), temperature=0.2, prior=0.1).mean(),
        theirs("infonce", "DebiasedInfoNCE", tau=0.2, tau_plus=0.1),
        "theirs sums a vector over a dimension that it does not have",
    ),
    Difference(
        PEER,
        "HardnessInfoNCE",
        lambda a, b: hardness_weighted(*unit(a, b), temperature=0.2, prior=0.1, concentration=1.0).mean(),
        theirs("infonce", "HardnessInfoNCE", tau=0.2, tau_plus=0.1, beta=1.0),
        "theirs sums a vector over a dimension that it does not have",
    ),
]
