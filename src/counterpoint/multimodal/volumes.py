"""What GRAM and TRIANGLE share: a smaller volume between a candidate and the other views is a better match."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from counterpoint.objectives import Embeddings, Relation, dense_nce
from counterpoint.training import Batch, Encoded

Score = Callable[[Sequence[Float[Tensor, "n d"]], Float[Tensor, "m d"]], Float[Tensor, "n m"]]


def both_ways(encoded: Encoded, batch: Batch, score: Score, scale: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Symmetric InfoNCE between each anchor view and the tuple of all others, mean over anchors.

    Only rows that have every view take part (the volume of fewer vectors is another quantity).
    """
    whole = torch.stack(list(encoded.present.values())).all(dim=0)
    sides = [Embeddings(v, batch.ids)[whole] for v in encoded.vectors.values()]
    everyone = [side.gathered() for side in sides]
    losses = []
    for t, (anchor, all_anchors) in enumerate(zip(sides, everyone, strict=True)):
        others = [side.vectors for i, side in enumerate(sides) if i != t]
        all_others = [side.vectors for i, side in enumerate(everyone) if i != t]
        forth = scale * score(others, all_anchors.vectors)
        back = forth.T if all_anchors is anchor or all_anchors.vectors is anchor.vectors else (
            scale * score(all_others, anchor.vectors)
        ).T  # fmt: skip
        losses.append(dense_nce(forth, Relation(anchor.ids, all_anchors.ids)).mean())
        losses.append(dense_nce(back, Relation(anchor.ids, all_anchors.ids)).mean())
    return torch.stack(losses).mean()


def gram_score(
    others: Sequence[Float[Tensor, "n d"]],
    candidates: Float[Tensor, "m d"],
    present: Sequence[Bool[Tensor, " n"]] | None = None,
) -> Float[Tensor, "n m"]:
    """Minus the volume spanned by each candidate with each row's other vectors: -sqrt(det of their Gram matrix).

    det G = det G_others * (1 - g' G_others^-1 g) with g the candidate's cosines, so that the determinant of the others
    is taken once per row. A view that is not `present` is left out, as if orthogonal to everything. A degenerate
    volume counts as 1e-4, which keeps the gradient finite.

    >>> x, y, z = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]]), torch.tensor([[0, 0, 1.0]])
    >>> gram_score([x, y], z)
    tensor([[-1.0000]])
    """
    stack = torch.stack(list(others), dim=1)
    absent = torch.zeros(stack.shape[:2], dtype=stack.dtype, device=stack.device)
    if present is not None:
        absent = (~torch.stack(list(present), dim=1)).to(stack.dtype)
        stack = stack * (1 - absent)[:, :, None]
    inner = stack @ stack.transpose(1, 2) + torch.diag_embed(absent + 1e-6)
    cosines = torch.einsum("nkd,md->nkm", stack, candidates)
    share = 1 - (cosines * torch.linalg.solve(inner, cosines)).sum(dim=1)
    volume: Tensor = (torch.linalg.det(inner)[:, None] * share).clamp(min=1e-8).sqrt()
    return -volume


def triangle_score(others: Sequence[Float[Tensor, "n d"]], candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Minus twice the squared area between a candidate and a row's two other unit vectors, as the released code has it.

    The code takes `0.5 (|u|^2 |v|^2 - <u, v>^2)` without a root, u and v being the sides that leave the candidate.

    >>> x, y, z = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]]), torch.tensor([[0, 0, 1.0]])
    >>> triangle_score([x, y], z)
    tensor([[-1.5000]])
    """
    first, second = others
    to_first, to_second = first @ candidates.T, second @ candidates.T
    between = (first * second).sum(dim=1, keepdim=True)
    corner = between - to_first - to_second + 1
    return -0.5 * ((2 - 2 * to_first) * (2 - 2 * to_second) - corner**2)
