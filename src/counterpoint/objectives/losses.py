"""The objectives as modules: `TripletLoss(margin=0.3)(queries, keys)` is `triplet` of unit vectors, its mean.

Options of a class are the keyword arguments of its function and mean the same. What belongs to a batch is given per
call: vectors, labels, `also`, `present`, `generator`, `queues`. Beyond that a module

- normalises vectors (`normalise=True`; off by default where a loss is about their lengths or has none);
- may learn its temperature or scale: "learned", or a `LogScale`, which is clamped to its maximum at each call;
- returns the mean over the rows of all ranks, a scalar. For values per row call the function.

Unknown options raise TypeError, unusable values the ValueError of the function.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, Signature, signature
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.objectives.infonce import clip, info_nce, moco, multiple_negatives, nt_xent, sup_con
from counterpoint.objectives.linear import linear_contrast, spectral_contrast
from counterpoint.objectives.mining import contrastive_margin, multi_similarity, triplet
from counterpoint.objectives.regularisers import (
    alignment,
    barlow_twins,
    canonical,
    cosine,
    orthogonality,
    uniformity,
    vicreg,
)
from counterpoint.objectives.relation import Embeddings, RowLoss
from counterpoint.objectives.sigmoid import siglip
from counterpoint.objectives.softmax import soft_nce, softmax_over
from counterpoint.objectives.symile import symile
from counterpoint.objectives.temperature import LogScale
from counterpoint.objectives.transport import swav
from counterpoint.objectives.views import multi_view
from counterpoint.objectives.weighted import debiased, decoupled, hardness_weighted

OF_A_BATCH = ("labels", "also", "present", "generator", "queues")
"""Arguments with a default that are given per call and not as options."""


def _is_option(parameter: Parameter) -> bool:
    """What has a default or must be named, the temperature included, unless it belongs to a batch."""
    if parameter.name in OF_A_BATCH or parameter.kind is Parameter.VAR_POSITIONAL:
        return False
    named = parameter.kind is Parameter.KEYWORD_ONLY or parameter.default is not Parameter.empty
    return named or parameter.name == "temperature"


def _is_learned(value: Any) -> bool:
    return isinstance(value, LogScale) or (isinstance(value, str) and value == "learned")


def _unit(value: Any) -> Any:
    """Vectors at length one, in at least fp32: those of Embeddings, of a tensor or of each view; else as it is."""
    if isinstance(value, Embeddings):
        return replace(value, vectors=_unit(value.vectors))
    if isinstance(value, Tensor) and value.is_floating_point():
        return F.normalize(value.to(torch.promote_types(value.dtype, torch.float32)), dim=-1)
    if isinstance(value, list | tuple):
        return [_unit(view) for view in value]
    return value


class Loss(nn.Module):
    """What the modules share: options checked when the module is made, unit vectors, a learned scale, the mean.

    A subclass names its function, and defaults of its own: `class TripletLoss(Loss, of=triplet)`.

    >>> TripletLoss(margin=0.5, mining="hard")
    TripletLoss(margin=0.5, mining='hard', distance='cosine', normalise=True)
    """

    objective: ClassVar[Callable[..., RowLoss | Tensor]]
    signature: ClassVar[Signature]
    __signature__: ClassVar[Signature]
    learnable: ClassVar[Mapping[str, Callable[[], nn.Module | nn.Parameter]]] = {
        "temperature": LogScale,
        "scale": LogScale,
    }

    def __init_subclass__(cls, of: Callable[..., RowLoss | Tensor] | None = None, **defaults: Any) -> None:
        super().__init_subclass__()
        if of is None:  # a class of the user's own, with the function and the defaults of its parent
            return
        cls.objective = staticmethod(of)
        defaults = {"normalise": True} | defaults
        options = [p for p in signature(of).parameters.values() if _is_option(p)]
        options += [Parameter("normalise", Parameter.KEYWORD_ONLY, annotation=bool)]
        cls.signature = Signature(
            [p.replace(kind=Parameter.KEYWORD_ONLY, default=defaults.get(p.name, p.default)) for p in options]
        )
        if "__init__" not in vars(cls):
            cls.__signature__ = cls.signature

    def __init__(self, **options: Any) -> None:
        super().__init__()
        try:
            chosen = self.signature.bind(**options)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}, of {', '.join(self.signature.parameters)}") from None
        chosen.apply_defaults()
        self.options = dict(chosen.arguments)
        self.normalise: bool = self.options.pop("normalise")
        self.learned = [name for name, value in self.options.items() if _is_learned(value)]
        for name in self.learned:
            value = self.options.pop(name)
            if name not in self.learnable:
                raise TypeError(f"{type(self).__name__} cannot learn its {name}")
            setattr(self, name, value if isinstance(value, LogScale) else self.learnable[name]())

    def forward(self, *inputs: Any, **of_a_batch: Any) -> Float[Tensor, ""]:
        """The mean loss of a batch, given as to the function."""
        return self._mean([_unit(value) for value in inputs] if self.normalise else inputs, of_a_batch)

    def _mean(self, inputs: Sequence[Any], of_a_batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """The function of inputs as they are, with the options, over the rows of all ranks."""
        learned = {name: self._now(name) for name in self.learned}
        found = self.objective(*inputs, **self.options, **learned, **of_a_batch)
        return found.mean() if isinstance(found, RowLoss) else found

    def _now(self, name: str) -> Tensor:
        value: LogScale | Tensor = getattr(self, name)
        if isinstance(value, Tensor):
            return value
        value.clamp_()
        return value.temperature if name == "temperature" else value.scale

    def extra_repr(self) -> str:
        """The options, those that are learned as "learned"."""
        stated = self.options | dict.fromkeys(self.learned, "learned") | {"normalise": self.normalise}
        return ", ".join(f"{name}={stated[name]!r}" for name in self.signature.parameters)


class InfoNCELoss(Loss, of=info_nce):
    """`info_nce`: each query finds its positives among the keys.

    >>> InfoNCELoss(temperature=0.1)(torch.eye(4), torch.eye(4))
    tensor(0.0001)
    """


class CLIPLoss(Loss, of=clip, temperature="learned"):
    """`clip`: symmetric InfoNCE between two views, its temperature learned as in the paper.

    >>> CLIPLoss()
    CLIPLoss(
      temperature='learned', normalise=True
      (temperature): LogScale()
    )
    """


class NTXentLoss(Loss, of=nt_xent):
    """`nt_xent`, the loss of SimCLR: both views in one set.

    >>> NTXentLoss(temperature=0.5)(torch.eye(4), torch.eye(4))
    tensor(0.5944)
    """


class SupConLoss(Loss, of=sup_con):
    """`sup_con`: rows of one class are each other's positives.

    >>> SupConLoss(temperature=1.0)(torch.eye(4), torch.tensor([0, 0, 1, 1]))
    tensor(1.0986)
    """


class MultipleNegativesLoss(Loss, of=multiple_negatives):
    """`multiple_negatives`: InfoNCE with any number of hard negatives.

    >>> MultipleNegativesLoss(temperature=1.0)(torch.eye(4)[:2], torch.eye(4)[:2], torch.eye(4)[2:])
    tensor(0.7437)
    """


class MoCoLoss(Loss, of=moco):
    """`moco`: the query's key against a queue.

    >>> from counterpoint.objectives.relation import Ids
    >>> row, view = torch.arange(2), torch.eye(4)
    >>> now, queue = Embeddings(view[:2], Ids(row, row)), Embeddings(view[2:], Ids(row + 2, row + 2))
    >>> MoCoLoss(temperature=1.0)(now, now, queue)
    tensor(0.5514)
    """


class DebiasedLoss(Loss, of=debiased):
    """`debiased`: InfoNCE corrected for the share of negatives that are positives.

    >>> DebiasedLoss(temperature=1.0, prior=0.1)(torch.eye(4), torch.eye(4))
    tensor(1.0246)
    """


class HardnessWeightedLoss(Loss, of=hardness_weighted):
    """`hardness_weighted`: InfoNCE with near negatives counting more.

    >>> HardnessWeightedLoss(temperature=1.0, concentration=0.5)(torch.eye(4), torch.eye(4))
    tensor(1.0246)
    """


class DecoupledLoss(Loss, of=decoupled):
    """`decoupled`: DCL, the positive not in the denominator; DCLW with a `sigma`.

    >>> DecoupledLoss(temperature=1.0)(torch.eye(4), torch.eye(4))
    tensor(0.7918)
    """


class SigLIPLoss(Loss, of=siglip, scale="learned", bias="learned"):
    """`siglip`: a sigmoid per pair, its scale and bias learned from 10 and -10 as in the paper.

    >>> sorted(name for name, _ in SigLIPLoss().named_parameters())
    ['bias', 'scale.log_scale']
    """

    learnable: ClassVar = {
        "scale": lambda: LogScale(10.0, maximum=math.inf),
        "bias": lambda: nn.Parameter(torch.tensor(-10.0)),
    }


class SoftmaxOverLoss(Loss, of=softmax_over, normalise=False):
    """`softmax_over` a table given per call; vectors as they are, unless `normalise`.

    >>> SoftmaxOverLoss()(torch.eye(3), torch.eye(3), torch.tensor([0, 1, 2]))
    tensor(0.5514)
    """


class SoftNCELoss(Loss, of=soft_nce):
    """`soft_nce`: towards a teacher's similarities.

    >>> SoftNCELoss(temperature=1.0, teacher_temperature=1.0)(*[torch.eye(3)] * 4)
    tensor(0.9753)
    """


class SymileLoss(Loss, of=symile):
    """`symile` of a sequence of views; `negatives="n"` takes a `generator` per call.

    >>> SymileLoss(scale=1.0, negatives="n_squared")([torch.eye(3)] * 3).shape
    torch.Size([])
    """


class MultiViewLoss(Loss, of=multi_view):
    """`multi_view` of a sequence of views, `present` per call.

    >>> MultiViewLoss(temperature=0.1)([torch.eye(3)] * 3).shape
    torch.Size([])
    """


class TripletLoss(Loss, of=triplet):
    """`triplet`: a margin between positives and negatives, with mining.

    >>> TripletLoss(margin=1.5)(torch.eye(3), torch.eye(3))
    tensor(0.5000)
    """


class MultiSimilarityLoss(Loss, of=multi_similarity):
    """`multi_similarity`: soft thresholds on mined pairs.

    >>> MultiSimilarityLoss(epsilon=None)(torch.eye(2), torch.eye(2))
    tensor(0.1566)
    """


class ContrastiveMarginLoss(Loss, of=contrastive_margin):
    """`contrastive_margin`: positives together, negatives a margin apart.

    >>> ContrastiveMarginLoss(margin=2.0)(torch.eye(2), torch.eye(2))
    tensor(0.1716)
    """


class AlignmentLoss(Loss, of=alignment):
    """`alignment`: how far apart the views of a row are.

    >>> AlignmentLoss()(torch.eye(2), torch.eye(2))
    tensor(0.)
    """


class UniformityLoss(Loss, of=uniformity):
    """`uniformity`: how evenly the rows cover the sphere.

    >>> UniformityLoss()(torch.eye(3))
    tensor(-4.)
    """


class BarlowTwinsLoss(Loss, of=barlow_twins, normalise=False):
    """`barlow_twins`: which standardises each dimension itself.

    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> BarlowTwinsLoss(epsilon=0.0)(view, -view)
    tensor(8.)
    """


class CanonicalLoss(Loss, of=canonical, normalise=False):
    """`canonical`: which standardises each dimension itself.

    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> CanonicalLoss(epsilon=0.0)(view, -view)
    tensor(8.)
    """


class VICRegLoss(Loss, of=vicreg, normalise=False):
    """`vicreg`: which wants a variance that unit vectors do not have.

    >>> VICRegLoss()(torch.zeros(4, 2), torch.zeros(4, 2)) > 0
    tensor(True)
    """


class CosineLoss(Loss, of=cosine, normalise=False):
    """`cosine`, of BYOL and SimSiam: a prediction towards a target without gradient, normalised by the function.

    >>> CosineLoss()(torch.eye(2), torch.eye(2))
    tensor(0.)
    """


class LinearContrastLoss(Loss, of=linear_contrast):
    """`linear_contrast`: cosines with negatives minus cosines with positives, no temperature.

    >>> LinearContrastLoss()(2 * torch.eye(3), torch.eye(3))
    tensor(-1.)
    """


class SpectralContrastLoss(Loss, of=spectral_contrast, normalise=False):
    """`spectral_contrast` of vectors as they are.

    >>> SpectralContrastLoss()(torch.eye(3), torch.eye(3))
    tensor(-2.)
    """


class OrthogonalityLoss(Loss, of=orthogonality, normalise=False):
    """`orthogonality` of two parts of a representation, as they are.

    >>> OrthogonalityLoss()(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    tensor(0.)
    """


class SwAVLoss(Loss, of=swav):
    """`swav` with prototypes of its own, unit vectors as the views are: so many, of the vectors' dimension.

    >>> SwAVLoss(dim=8, prototypes=5)(torch.rand(4, 8), torch.rand(4, 8)).shape
    torch.Size([])
    """

    def __init__(self, dim: int, prototypes: int, **options: Any) -> None:
        super().__init__(**options)
        self.prototypes = nn.Linear(dim, prototypes, bias=False)

    def forward(self, *views: Any, **of_a_batch: Any) -> Float[Tensor, ""]:
        """The mean loss of two views or more."""
        vectors = [_unit(view) for view in views] if self.normalise else views
        prototypes = _unit(self.prototypes.weight)
        return self._mean([view @ prototypes.T for view in vectors], of_a_batch)
