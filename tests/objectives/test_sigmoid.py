"""The pairwise sigmoid loss against brute force in float64, on every path through the tiles."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import Embeddings, Ids, streamed
from counterpoint.objectives.sigmoid import siglip
from objectives import oracle
from objectives.test_infonce import assert_same, setting, views

RELATIONS = [name for name, make in oracle.RELATIONS.items() if make(4, 4)[2] == "positive"]


def brute(
    queries: Embeddings, keys: Embeddings, scale: torch.Tensor | float, bias: torch.Tensor | float
) -> tuple[torch.Tensor, list[bool]]:
    table = oracle.kinds(queries.ids, keys.ids, "positive")
    logits = queries.vectors.double() @ keys.vectors.double().T * scale + bias
    weight = torch.zeros(len(keys)) if keys.ids.log_weight is None else keys.ids.log_weight
    values = []
    for i, row in enumerate(table):
        terms = [logits.new_tensor(0.0)]
        terms += [-F.logsigmoid(logits[i, j]) for j, kind in enumerate(row) if kind == "positive"]
        terms += [
            -F.logsigmoid(-logits[i, j] - weight[j])
            for j, kind in enumerate(row)
            if kind == "negative" and weight[j] > -torch.inf
        ]
        values.append(torch.stack(terms).sum())
    return torch.stack(values), [any(row) for row in table]


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (1.0, 0.5), (100.0, -3.0)])
@pytest.mark.parametrize("name", RELATIONS)
def test_siglip_is_brute_force(name: str, scale: float, bias: float, path: str) -> None:
    queries, keys, _ = setting(name)
    learned = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (scale, bias)]
    value, valid = brute(queries, keys, *learned)
    loss = siglip(queries, keys, scale=learned[0], bias=learned[1])
    assert loss.valid.tolist() == valid
    assert_same(loss.value, value, queries.vectors, keys.vectors, *learned)
    fixed = siglip(queries, keys, scale=scale, bias=bias)
    assert_same(fixed.value, loss.value, queries.vectors, keys.vectors)


def test_the_mean_is_the_formula_of_the_paper(path: str) -> None:
    a, b = views()
    sign = 2 * torch.eye(len(a), dtype=torch.float64) - 1
    expected = -F.logsigmoid(sign * (a @ b.T * 10.0 - 10.0)).sum() / len(a)
    assert_same(siglip(a, b, scale=10.0, bias=-10.0).mean()[None], expected[None], a, b)


def test_both_directions_are_one(path: str) -> None:
    a, b = views()
    forth, back = siglip(a, b, scale=5.0, bias=-1.0).mean(), siglip(b, a, scale=5.0, bias=-1.0).mean()
    assert_same(forth[None], back[None], a, b)


def test_a_set_with_itself(path: str) -> None:
    a, _ = views()
    rows = Embeddings(a, Ids(torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2])))
    value, _ = brute(rows, rows, 4.0, -1.0)
    assert_same(siglip(rows, rows, scale=4.0, bias=-1.0).value, value, a)


@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    name=st.sampled_from(RELATIONS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    scale=st.sampled_from([0.1, 10.0, 200.0]),
    bias=st.sampled_from([-10.0, 0.0, 30.0]),
)
def test_half_and_single_precision(n: int, m: int, name: str, dtype: torch.dtype, scale: float, bias: float) -> None:
    queries, keys, _ = setting(name, dtype, n, m)
    value, valid = brute(queries, keys, scale, bias)
    loss = siglip(queries, keys, scale=scale, bias=bias)
    assert loss.value.dtype == torch.float32
    assert loss.valid.tolist() == valid
    torch.testing.assert_close(loss.value.double(), value, rtol=1e-5, atol=1e-6 * (scale + abs(bias)))


def test_a_solved_batch_keeps_its_small_loss() -> None:
    """The positives' terms are not differences of large numbers."""
    a = torch.eye(64)
    exact = siglip(a.double(), a.double(), scale=40.0, bias=-20.0)
    torch.testing.assert_close(siglip(a, a, scale=40.0, bias=-20.0).value.double(), exact.value, rtol=1e-6, atol=0)


def test_gradcheck() -> None:
    queries, keys, _ = setting("log weights", n=5, m=4)
    learned = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -1.0)]

    def value(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return siglip(Embeddings(a, queries.ids), Embeddings(b, keys.ids), scale=scale, bias=bias).value

    assert torch.autograd.gradcheck(value, (queries.vectors, keys.vectors, *learned))


def test_one_side_alone_may_need_a_gradient(path: str) -> None:
    a, b = views()
    expected = brute(*(Embeddings(side, Ids(torch.arange(6), torch.arange(6))) for side in (a, b)), 3.0, -1.0)[0]
    for side, pair in ((a, (a, b.detach())), (b, (a.detach(), b))):
        found = torch.autograd.grad(siglip(*pair, scale=3.0, bias=-1.0).mean(), side)[0]
        torch.testing.assert_close(found, torch.autograd.grad(expected.mean(), side, retain_graph=True)[0])


def test_a_row_that_is_compared_with_nothing_is_skipped() -> None:
    a, b = (view.detach() for view in views(3))
    nothing = Ids(torch.arange(3), torch.arange(3), within=torch.tensor([0, 0, -1]))
    loss = siglip(Embeddings(a, nothing), Embeddings(b, nothing), scale=1.0, bias=0.0)
    assert loss.valid.tolist() == [True, True, False]
    alone = siglip(Embeddings(a[:1], nothing[:1]), Embeddings(b[1:2], nothing[1:2]), scale=1.0, bias=0.0)
    assert alone.skipped == 0, "a negative alone is judged too"


def test_memory_does_not_hold_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "WHOLE", 0)
    monkeypatch.setattr(streamed, "KEPT", 0)
    monkeypatch.setattr(streamed, "TILE", 64)
    sizes: list[int] = []
    new_memory = streamed.Sheet.memory

    def watched(sheet: streamed.Sheet, use: str, i: slice, j: slice) -> torch.Tensor:
        tile = new_memory(sheet, use, i, j)
        sizes.append(tile.numel())
        return tile

    monkeypatch.setattr(streamed.Sheet, "memory", watched)
    a, b = views(300)
    siglip(a, b, scale=10.0, bias=-10.0).mean().backward()
    assert max(sizes) == 64 * 64


def test_nan_stays_visible(path: str) -> None:
    a, b = views()
    assert siglip(a * torch.tensor(torch.nan), b, scale=1.0, bias=0.0).mean().isnan()


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_is_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        siglip(*views(), scale=scale, bias=0.0)
