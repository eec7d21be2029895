"""Contrast over many views against loops over pairs of views and rows, with every way a view can be missing."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, clip
from counterpoint.objectives.views import multi_view

N, D, T = 6, 5, 0.2


def views(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        F.normalize(torch.randn(N, D, generator=generator, dtype=torch.float64)).requires_grad_() for _ in range(count)
    ]


def brute_force(views: list[Tensor], present: list[list[bool]], pairs: str) -> list[Tensor]:
    """The losses of all comparisons of a present row with a present partner among at least one other row."""
    losses = []
    for a, b in combinations(range(len(views)), 2):
        if pairs == "first" and a:
            continue
        for one, other in ((a, b), (b, a)):
            keys = [j for j in range(N) if present[other][j]]
            for i in range(N):
                if present[one][i] and present[other][i] and len(keys) > 1:
                    logits = torch.stack([views[one][i] @ views[other][j] / T for j in keys])
                    losses.append(logits.logsumexp(0) - logits[keys.index(i)])
    return losses


ALL = [True] * N
PRESENT = {
    "all": [ALL] * 4,
    "some rows": [ALL, [True, False] * 3, [False, True, True, True, False, True], [True, True, False] * 2],
    "a whole view": [ALL, ALL, [False] * N, [True, False] * 3],
    "all but one row": [ALL, [False] * 5 + [True], ALL, ALL],
    "the anchor": [[False] * N, ALL, ALL, ALL],
    "everything": [[False] * N] * 4,
}


@pytest.mark.parametrize("pairs", ["all", "first"])
@pytest.mark.parametrize("name", PRESENT)
def test_it_is_a_loop_over_pairs(name: str, pairs: str) -> None:
    four, present = views(4), PRESENT[name]
    expected = brute_force(four, present, pairs)
    loss = multi_view(four, temperature=T, pairs=pairs, present=[torch.tensor(mask) for mask in present])
    assert int(loss.valid.sum()) == len(expected)
    if not expected:
        assert loss.mean() == 0
        return
    torch.testing.assert_close(loss.mean(), torch.stack(expected).mean())
    weight = torch.linspace(0.5, 2, len(expected), dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad(x @ weight, four, allow_unused=True, materialize_grads=True)
        for x in (loss.value[loss.valid], torch.stack(expected))
    )
    torch.testing.assert_close(found, wanted)


def test_without_masks_all_are_there() -> None:
    four = views(4)
    masks = [torch.ones(N, dtype=torch.bool)] * 4
    torch.testing.assert_close(
        multi_view(four, temperature=T).value, multi_view(four, temperature=T, present=masks).value
    )


def test_two_views_are_clip() -> None:
    two = views(2)
    for pairs in ("all", "first"):
        torch.testing.assert_close(multi_view(two, temperature=T, pairs=pairs).value, clip(*two, T).value)


def test_what_a_missing_row_holds_does_not_matter() -> None:
    """Not even NaN, in value or gradient."""
    three = [view.detach().clone() for view in views(3)]
    mask = torch.tensor([True, False] * 3)
    three[2][~mask] = torch.nan
    three = [view.requires_grad_() for view in three]
    multi_view(three, temperature=T, present=[mask | True, mask | True, mask]).mean().backward()
    for view in three:
        assert view.grad is not None
        assert view.grad.isfinite().all()
    assert not three[2].grad[~mask].any()


def test_views_of_other_rows_from_the_start() -> None:
    """Embeddings of the rows a view has are the same as all rows with a mask."""
    three, row = views(3), torch.arange(N) * 7
    masks = [row > 6, row < 30, row != 14]
    everyone = [Embeddings(view, Ids(row, row)) for view in three]
    given = multi_view([view[mask] for view, mask in zip(everyone, masks, strict=True)], temperature=T)
    masked = multi_view(everyone, temperature=T, present=masks)
    torch.testing.assert_close(given.value, masked.value)
    assert given.valid.tolist() == masked.valid.tolist()


def test_ids_are_kept() -> None:
    """Rows of one class are each other's positives across views; a user's rows are not his negatives."""
    three, row = views(3), torch.arange(N)
    ids = Ids(row, row // 2, exclude=(row % 3)[:, None])
    sides = [Embeddings(view, ids) for view in three]
    expected = torch.cat([clip(a, b, T).value for a, b in combinations(sides, 2)])
    torch.testing.assert_close(multi_view(sides, temperature=T).value, expected)


def mask_cl(anchors: Tensor, masked: Tensor, t: float) -> Tensor:
    """MaskCL as its paper writes it: masked [k, B, d], the j-th masked copy of every text."""
    first = second = torch.zeros((), dtype=anchors.dtype)
    count, size = masked.shape[:2]
    for i in range(size):
        for j in range(count):
            own = (anchors[i] @ masked[j, i] / t).exp()
            first = first - (own / sum((anchors[other] @ masked[j, i] / t).exp() for other in range(size))).log()
            second = second - (own / sum((anchors[i] @ masked[j, other] / t).exp() for other in range(size))).log()
    return (first + second) / (2 * size * count)


def test_mask_cl_is_one_call() -> None:
    anchors, *copies = views(4)
    ours = multi_view([anchors, *copies], temperature=0.1, pairs="first").mean()
    theirs = mask_cl(anchors, torch.stack(copies), 0.1)
    torch.testing.assert_close(ours, theirs)
    inputs = (anchors, *copies)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))


def test_errors() -> None:
    two = views(2)
    with pytest.raises(ValueError, match="two views or more"):
        multi_view(two[:1], temperature=T)
    with pytest.raises(ValueError, match="masks of"):
        multi_view(two, temperature=T, present=[torch.ones(N, dtype=torch.bool)])
    with pytest.raises(ValueError, match="pair row by row"):
        multi_view([two[0], two[1][:3]], temperature=T)
    with pytest.raises((ValueError, TypeError), match="some"):
        multi_view(two, temperature=T, pairs="some")
