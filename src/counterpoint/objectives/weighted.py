"""NT-Xent with other negatives: debiased, weighted by hardness, decoupled from the positive.

All compare two views as `nt_xent` does: both in one set, the partner is positive, the own row is not
compared; the loss has the rows of view 0, then those of view 1. Nothing is exponentiated outside a log-sum-exp.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.objectives.engine import Comparison, Temperature, against
from counterpoint.objectives.ranks import gather
from counterpoint.objectives.relation import Keys, Queries, RowLoss, paired, stacked
from counterpoint.objectives.select import select
from counterpoint.objectives.streamed import log_sum


def debiased(view0: Queries, view1: Keys, *, temperature: Temperature, prior: float = 0.1) -> RowLoss:
    """Debiased contrast: the negatives' mass without the part that false negatives are expected to have.

    `hardness_weighted` with a concentration of 0. Raises ValueError for a prior outside 0..1 (1 excluded).
    Source: arXiv 2007.00224, equations 7 and 8.

    >>> debiased(torch.eye(4), torch.eye(4), temperature=1.0, prior=0.1).value[:2]
    tensor([1.0246, 1.0246])
    """
    return hardness_weighted(view0, view1, temperature=temperature, concentration=0.0, prior=prior)


def hardness_weighted(
    view0: Queries, view1: Keys, *, temperature: Temperature, concentration: float = 1.0, prior: float = 0.1
) -> RowLoss:
    """Hard negative weighting: each negative counts by e^(concentration * its logit), the mean weight being 1.

    Of the mean over the N negatives, `prior` times the same mean over the positives is taken off: what
    negatives that are positives in truth would add. The remainder over 1 - prior, times N, is the negatives'
    mass; it is at least N e^(-1/temperature), the least that unit vectors can have. N counts the log weights
    of the keys. Raises ValueError for a prior outside 0..1 (1 excluded) or a concentration below 0. Source:
    arXiv 2010.04592, section 3; the bound is that of arXiv 2007.00224, equation 7.

    >>> hardness_weighted(torch.eye(4), torch.eye(4), temperature=1.0).value[:2]
    tensor([1.0246, 1.0246])
    """
    if not 0 <= prior < 1:
        raise ValueError(f"a prior is a probability below 1, not {prior}")
    if not concentration >= 0:
        raise ValueError(f"a concentration is at least 0, not {concentration}")
    both = stacked(*paired(view0, view1))
    sides = Comparison.of(both, both, temperature, "excluded")
    milder, number = _sharpened(sides, concentration), _log_number(sides)
    sharper = _sharpened(sides, 1 + concentration)
    of_positives = _log_ratio(sharper.positive_masses(), milder.positive_masses())
    of_negatives = _log_ratio(sharper.masses("negatives"), milder.masses("negatives") if concentration else number)
    known = of_positives + (math.log(prior) if prior else -math.inf)
    corrected = _log_difference(of_negatives, known) - math.log1p(-prior)
    negatives = number + torch.maximum(corrected, number.new_tensor(-1.0) / temperature)
    return against(sides.attraction()[0], sides.positive_masses(), negatives, valid=sides.relation.has_negative())


def decoupled(view0: Queries, view1: Keys, *, temperature: Temperature, sigma: float | None = None) -> RowLoss:
    """Decoupled contrast (DCL): NT-Xent without the positive in the denominator; with `sigma` DCLW.

    DCLW multiplies the positive's logit by 2 - e^(similarity / sigma) / mean of it over the rows of all
    ranks (the paper uses 0.5), so that pairs that are far apart count more; the weight passes no gradient.
    Raises ValueError for a sigma that is not above 0. Source: arXiv 2110.06848, section 3.

    >>> decoupled(torch.eye(4), torch.eye(4), temperature=1.0).value[:2]
    tensor([0.7918, 0.7918])
    """
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma is above 0, not {sigma}")
    both = stacked(*paired(view0, view1))
    mass, positive, opposed = Comparison.of(both, both, temperature, "excluded").terms("negatives")
    if sigma is not None:
        positive = positive * (2 - _relative((positive * temperature / sigma).detach()))
    return against(positive, mass, valid=opposed)


def _relative(logits: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """e^logit over its mean on all ranks; rows of -inf are 0 and not in the mean."""
    everyone = gather(logits)
    counted = (everyone != -torch.inf).sum().clamp(min=1).to(logits)
    return (_log_ratio(logits, log_sum(everyone, 0).expand_as(logits)) + counted.log()).exp()


def _sharpened(sides: Comparison, factor: float) -> Comparison:
    """The same comparison with its logits times a factor; a set with itself stays one."""
    rows = sides.rows * (factor**0.5 if sides.alone else factor)
    return replace(sides, rows=rows, columns=rows if sides.alone else sides.columns)


def _log_ratio(total: Float[Tensor, " n"], norm: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log(e^total / e^norm), -inf where both are sums of nothing."""
    return total - norm.masked_fill(norm == -torch.inf, 0)


@torch.no_grad()
def _log_number(sides: Comparison) -> Float[Tensor, " n"]:
    """The log of each query's number of negatives, or of the sum of their weights."""
    left_out, (n, m) = select(sides.relation, "negatives").left_out, sides.relation.shape
    if left_out is None or sides.relation.keys.log_weight is not None:
        return _sharpened(sides, 0.0).masses("negatives")
    rows = torch.unique(left_out[0] * m + left_out[1]) // m
    return sides.rows.new_full((n,), m).sub(rows.bincount(minlength=n)).log()


def _log_difference(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log(e^a - e^b), -inf unless a is above b."""
    gap = b - a.masked_fill(a == -torch.inf, 0)
    nothing = gap > -torch.finfo(gap.dtype).tiny
    return torch.where(nothing, -torch.inf, a + (-torch.expm1(gap.masked_fill(nothing, -1))).log())
