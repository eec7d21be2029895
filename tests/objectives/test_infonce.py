"""InfoNCE and its family against brute force, in value and gradient, on every path through the engine."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import (
    Embeddings,
    Ids,
    Relation,
    against,
    attraction,
    clip,
    dense_nce,
    info_nce,
    log_mass,
    log_masses,
    mine,
    nt_xent,
    stacked,
    streamed,
    sup_con,
)
from counterpoint.objectives.infonce import multiple_negatives
from objectives import oracle

N, M, D = 10, 8, 5


def setting(name: str, dtype: torch.dtype = torch.float64, n: int = N, m: int = M) -> tuple:
    """Queries, keys and what they are to each other; a relation of a set with itself gets one set."""
    generator = torch.Generator().manual_seed(1)
    of_queries, of_keys, itself = oracle.RELATIONS[name](n, m)
    a = F.normalize(torch.randn(n, D, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
    queries = Embeddings(a, of_queries)
    if of_keys is of_queries:
        return queries, queries, itself
    b = F.normalize(torch.randn(m, D, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
    return queries, Embeddings(b, of_keys), itself


def gradients(value: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of a sum with unequal weights, so that a mix-up of rows shows."""
    finite = value[value.detach() > -torch.inf]
    weight = torch.linspace(0.5, 2.0, len(finite), dtype=value.dtype)
    return list(
        torch.autograd.grad(
            (finite * weight).sum(), inputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )


def assert_same(found: torch.Tensor, expected: torch.Tensor, *inputs: torch.Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=tolerance, atol=tolerance)
    if expected.requires_grad:
        for ours, theirs in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
            largest = float(theirs.abs().max()) + 1e-12
            torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=tolerance * max(largest, 1.0))


@pytest.mark.parametrize("temperature", [0.5, 0.005])
@pytest.mark.parametrize("over", ["all", "negatives"])
@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_info_nce_is_brute_force(name: str, over: str, temperature: float, path: str) -> None:
    queries, keys, itself = setting(name)
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    logits = queries.vectors @ keys.vectors.T / t
    value, valid = oracle.info_nce(logits, table, over, keys.ids.log_weight)
    loss = info_nce(queries, keys, temperature=t, itself=itself, over=over)
    assert loss.valid.tolist() == valid.tolist()
    assert loss.skipped == int((~valid).sum())
    assert_same(loss.value, value, queries.vectors, keys.vectors, t)


@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_symmetric_is_both_directions(name: str, path: str) -> None:
    queries, keys, itself = setting(name)
    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    loss = info_nce(queries, keys, temperature=t, itself=itself, symmetric=True)
    forth = info_nce(queries, keys, temperature=t, itself=itself)
    back = info_nce(keys, queries, temperature=t, itself=itself)
    assert loss.valid.tolist() == [*forth.valid.tolist(), *back.valid.tolist()]
    assert_same(loss.value, torch.cat([forth.value, back.value]), queries.vectors, keys.vectors, t)


@pytest.mark.parametrize("temperature", [0.5, 0.005])
@pytest.mark.parametrize("over", ["all", "negatives", "positives"])
@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_masses_are_brute_force(name: str, over: str, temperature: float, path: str) -> None:
    queries, keys, itself = setting(name)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    turned = [list(column) for column in zip(*table, strict=True)]
    logits = queries.vectors @ keys.vectors.T / temperature
    of_rows = oracle.mass(logits, table, over, keys.ids.log_weight)
    of_columns = oracle.mass(logits.T, turned, over, queries.ids.log_weight)
    one_way = log_mass(queries, keys, temperature=temperature, itself=itself, over=over)
    both = log_masses(queries, keys, temperature=temperature, itself=itself, over=over)
    assert_same(one_way, of_rows, queries.vectors, keys.vectors)
    assert_same(torch.cat(both), torch.cat([of_rows, of_columns]), queries.vectors, keys.vectors)


@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_attraction_is_brute_force(name: str, path: str) -> None:
    queries, keys, itself = setting(name)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    mean, count = attraction(queries, keys, temperature=0.1, itself=itself)
    assert count.tolist() == [row.count("positive") for row in table]
    logits = queries.vectors @ keys.vectors.T / 0.1
    positive = torch.tensor([[this == "positive" for this in row] for row in table])
    expected = torch.where(positive, logits, 0).sum(1) / positive.sum(1)
    assert_same(mean, expected.nan_to_num(nan=-torch.inf), queries.vectors, keys.vectors)


@pytest.mark.parametrize("name", oracle.RELATIONS)
@pytest.mark.parametrize("k", [1, 3, 20])
def test_mined_are_the_hardest_negatives(name: str, k: int, path: str) -> None:
    queries, keys, itself = setting(name)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    negative = torch.tensor([[this == "negative" for this in row] for row in table])
    logits = queries.vectors @ keys.vectors.T / 0.1
    logits = logits if keys.ids.log_weight is None else logits + keys.ids.log_weight
    hardest = logits.masked_fill(~negative, -torch.inf).topk(min(k, len(keys)), dim=1).values
    expected = torch.stack([row[row > -torch.inf].logsumexp(0) for row in hardest])
    assert_same(mine(queries, keys, k, temperature=0.1, itself=itself), expected, queries.vectors, keys.vectors)


@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    name=st.sampled_from(sorted(oracle.RELATIONS)),
    temperature=st.sampled_from([5.0, 0.5, 0.07, 0.01, 0.005]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    spoil=st.sampled_from(["nothing", "duplicates", "zeros", "strides"]),
)
def test_any_shape_type_and_temperature(
    n: int,
    m: int,
    name: str,
    temperature: float,
    dtype: torch.dtype,
    spoil: str,
) -> None:
    queries, keys, itself = setting(name, dtype, n, m)
    vectors = {"queries": queries.vectors.detach().clone(), "keys": keys.vectors.detach().clone()}
    for side in vectors.values():
        if spoil == "duplicates":
            side[:] = side[0]
        elif spoil == "zeros":
            side[::2] = 0
    if spoil == "strides":
        vectors = {name: side.T.contiguous().T for name, side in vectors.items()}
    a, b = (side.requires_grad_() for side in vectors.values())
    left = Embeddings(a, queries.ids)
    right = left if keys is queries else Embeddings(b, keys.ids)
    loss = info_nce(left, right, temperature=temperature, itself=itself)
    logits = left.vectors.double() @ right.vectors.double().T / temperature
    value, valid = oracle.info_nce(logits, oracle.kinds(left.ids, right.ids, itself), "all", right.ids.log_weight)
    assert loss.value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.valid.tolist() == valid.tolist()
    exact = 1e-9 if dtype == torch.float64 else 1e-5 / temperature
    torch.testing.assert_close(loss.value.double(), value, rtol=exact, atol=exact)
    # the gradient of a half-precision input is rounded to it, once
    rounding = {torch.bfloat16: 2**-7, torch.float16: 2**-9}.get(dtype, 1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(loss.mean(), (left.vectors, right.vectors), materialize_grads=True, allow_unused=True),
        torch.autograd.grad(
            (value * valid).sum() / valid.sum().clamp(min=1),
            (left.vectors, right.vectors),
            materialize_grads=True,
            allow_unused=True,
        )
        if value.requires_grad
        else [torch.zeros_like(left.vectors), torch.zeros_like(right.vectors)],
        strict=True,
    ):
        largest = float(theirs.double().abs().max()) + 1 / temperature
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=2 * largest * rounding)


def test_gradcheck(path: str) -> None:
    queries, keys, itself = setting("log weights", n=5, m=4)

    def value(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        sides = Embeddings(a, queries.ids), Embeddings(b, keys.ids)
        return info_nce(*sides, temperature=t, itself=itself, symmetric=True).value

    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (queries.vectors, keys.vectors, t))


# --- equivalences -------------------------------------------------------------------------------------------


def views(n: int = 6, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    a, b = (F.normalize(torch.randn(n, D, generator=generator, dtype=dtype)) for _ in range(2))
    return a.requires_grad_(), b.requires_grad_()


def cross_entropy(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)), reduction="none")


def simclr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    z = torch.cat([a, b])
    logits = (z @ z.T / 0.1).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(a)), reduction="none")


def as_rows(a: torch.Tensor, row: torch.Tensor | None = None) -> Embeddings:
    row = torch.arange(len(a)) if row is None else row
    return Embeddings(a, Ids(row, row))


def pairs_of(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cat([a, b]), torch.arange(len(a)).repeat(2)


SAME = {
    "info_nce = cross-entropy": (lambda a, b: info_nce(a, b, temperature=0.1).value, cross_entropy),
    "clip = both one-way": (
        lambda a, b: clip(a, b, 0.1).value,
        lambda a, b: torch.cat([cross_entropy(a, b), cross_entropy(b, a)]),
    ),
    "nt_xent = SimCLR": (lambda a, b: nt_xent(a, b, temperature=0.1).value, simclr),
    "nt_xent = info_nce on stacked views": (
        lambda a, b: nt_xent(a, b, temperature=0.1).value,
        lambda a, b: info_nce(*[stacked(as_rows(a), as_rows(b))] * 2, temperature=0.1, itself="excluded").value,
    ),
    "sup_con of pairs = nt_xent": (
        lambda a, b: sup_con(*pairs_of(a, b), temperature=0.1).value,
        lambda a, b: nt_xent(a, b, temperature=0.1).value,
    ),
    "data set ids = plain tensors": (
        lambda a, b: clip(as_rows(a), as_rows(b), 0.1).value,
        lambda a, b: clip(a, b, 0.1).value,
    ),
    "shuffled keys = keys in order": (
        lambda a, b: info_nce(as_rows(a), as_rows(b)[torch.tensor([3, 1, 5, 0, 2, 4])], temperature=0.1).value,
        lambda a, b: info_nce(a, b, temperature=0.1).value,
    ),
    "a queue in `also` = a queue among the keys": (
        lambda a, b: (
            info_nce(
                as_rows(a[:4]),
                as_rows(b[:4]),
                temperature=0.1,
                also=[log_mass(as_rows(a[:4]), as_rows(b)[4:], temperature=0.1)],
            ).value
        ),
        lambda a, b: info_nce(as_rows(a[:4]), as_rows(b), temperature=0.1).value,
    ),
    "against(positive, positive, negatives) = info_nce": (
        lambda a, b: (
            against(
                attraction(a, b, temperature=0.1)[0],
                attraction(a, b, temperature=0.1)[0],
                log_mass(a, b, temperature=0.1, over="negatives"),
            ).value
        ),
        lambda a, b: info_nce(a, b, temperature=0.1).value,
    ),
    "a weight of -inf = a key less": (
        lambda a, b: (
            info_nce(
                as_rows(a[:4]),
                Embeddings(
                    b,
                    Ids(torch.arange(6), torch.arange(6), log_weight=torch.tensor([0.0] * 5 + [-torch.inf])),
                ),
                temperature=0.1,
            ).value
        ),
        lambda a, b: info_nce(as_rows(a[:4]), as_rows(b)[:5], temperature=0.1).value,
    ),
    "no hard negatives = info_nce": (
        lambda a, b: multiple_negatives(a, b, temperature=0.1, symmetric=True).value,
        lambda a, b: clip(a, b, 0.1).value,
    ),
    "hard negatives = keys that are nobody's": (
        lambda a, b: multiple_negatives(a[:2], b[:2], b[2:5], a[3:], temperature=0.1).value,
        lambda a, b: info_nce(as_rows(a[:2]), as_rows(torch.cat([b[:5], a[3:]])), temperature=0.1).value,
    ),
    "L_in = L_out of one positive each": (
        lambda a, b: sup_con(*pairs_of(a, b), temperature=0.1, positives="inside").value,
        lambda a, b: sup_con(*pairs_of(a, b), temperature=0.1).value,
    ),
    "all negatives mined = all negatives": (
        lambda a, b: mine(a, b, 5, temperature=0.1),
        lambda a, b: log_mass(a, b, temperature=0.1, over="negatives"),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_equivalence(name: str, path: str) -> None:
    ours, theirs = SAME[name]
    a, b = views()
    assert_same(ours(a, b), theirs(a, b), a, b)


@pytest.mark.parametrize("name", ["classes", "one class", "private rows", "duplicates", "log weights"])
def test_the_mean_inside_the_log_is_brute_force(name: str, path: str) -> None:
    rows = setting(name)[0]
    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    table = oracle.kinds(rows.ids, rows.ids, "excluded")
    logits = rows.vectors @ rows.vectors.T / t
    _, valid = oracle.info_nce(logits, table, "all", rows.ids.log_weight)
    total = oracle.mass(logits, table, "all", rows.ids.log_weight)
    inside = oracle.mass(logits, table, "positives", None)
    count = torch.tensor([row.count("positive") for row in table]).clamp(min=1)
    loss = sup_con(rows, temperature=t, positives="inside")
    assert loss.valid.tolist() == valid.tolist()
    assert_same(loss.value, torch.where(valid, total - inside + count.double().log(), 0), rows.vectors, t)


def test_a_missing_modality_is_a_subset() -> None:
    image, text = views()
    rows = torch.arange(6)
    has_image, has_text = rows != 1, (rows != 1) & (rows != 4)
    loss = info_nce(as_rows(image)[has_image], as_rows(text)[has_text], temperature=0.1)
    logits = (image @ text.T / 0.1).masked_fill(~has_text, -torch.inf)
    expected = F.cross_entropy(logits, rows, reduction="none")[has_image & has_text]
    assert loss.skipped == 1, "row 4 has an image and no text"
    assert_same(loss.mean()[None], expected.mean()[None], image, text)


# --- the plain diagonal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [1000, 4])
@pytest.mark.parametrize("temperature", [0.5, 0.005])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_diagonal_path_is_the_general_one(
    symmetric: bool, temperature: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tile < 1000:
        monkeypatch.setattr(streamed, "TILE", tile)
        monkeypatch.setattr(streamed, "WHOLE", 0)
        monkeypatch.setattr(streamed, "KEPT", 0)
    a, b = views(11)
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    left, right = as_rows(a), as_rows(b)
    fast = info_nce(left, right, temperature=t, symmetric=symmetric)
    dense = dense_nce(a @ b.T / t, Relation(left.ids, right.ids))
    assert not fast.skips
    monkeypatch.setattr(Relation, "diagonal", False)
    general = info_nce(left, right, temperature=t, symmetric=symmetric)
    assert general.skips
    assert fast.valid.tolist() == general.valid.tolist()
    assert_same(fast.value, general.value, a, b, t)
    assert_same(fast.mean()[None], general.mean()[None], a, b, t)
    assert_same(dense.value, dense_nce(a @ b.T / t, Relation(left.ids, right.ids)).value, a, b, t)


def test_vectors_that_are_not_finite_take_the_general_path() -> None:
    a, b = (view.detach() for view in views())
    a[2, 0] = torch.inf
    assert info_nce(a, b, temperature=0.1, symmetric=True).skips
    assert not info_nce(a, b, temperature=0.1).value.isfinite().all(), "it stays visible"


def test_further_masses_take_the_general_path() -> None:
    a, b = views()
    assert info_nce(a, b, temperature=0.1, also=[torch.zeros(6, dtype=torch.float64)]).skips


# --- conventions --------------------------------------------------------------------------------------------


def test_one_pair_has_nothing_to_be_told_apart_from() -> None:
    for loss in (
        clip(torch.ones(1, 2), torch.ones(1, 2), 0.1),
        nt_xent(*torch.ones(2, 1, 2), temperature=0.1),
    ):
        assert loss.skipped == 2
        assert loss.mean() == 0
    a = torch.ones(1, 2, requires_grad=True)
    with_noise = info_nce(a, a, temperature=1.0, also=[torch.tensor([3.0])])
    assert with_noise.skipped == 0
    torch.testing.assert_close(with_noise.mean(), torch.tensor(math.log(math.e**2 + math.e**3) - 2))


def test_a_mass_of_nothing_adds_nothing_and_passes_no_gradient() -> None:
    a, b = views()
    nothing = (a.sum(1) * 0 - torch.inf).requires_grad_()
    loss = info_nce(a, b, temperature=0.1, also=[nothing])
    assert_same(loss.value, info_nce(a, b, temperature=0.1).value, a, b)
    everything_empty = against(nothing, nothing, nothing)
    assert everything_empty.skipped == 6
    assert not gradients(everything_empty.value, nothing)[0].any()


def test_all_rows_skipped_still_has_a_gradient_of_zero(path: str) -> None:
    queries, keys, itself = setting("all masked")
    loss = info_nce(queries, keys, temperature=0.1, itself=itself)
    loss.mean().backward()
    assert loss.mean() == 0
    assert not queries.vectors.grad.any()


def test_nan_stays_visible(path: str) -> None:
    a, b = views()
    assert info_nce(a * torch.tensor(torch.nan), b, temperature=0.1).mean().isnan()


def test_queries_alone_may_need_a_gradient(path: str) -> None:
    a, b = views()
    assert_same(log_mass(a, b.detach(), temperature=0.1), (a @ b.detach().T / 0.1).logsumexp(1), a)
    assert_same(log_mass(a.detach(), b, temperature=0.1), (a.detach() @ b.T / 0.1).logsumexp(1), b)


def test_backward_twice_gives_the_same(path: str) -> None:
    a, b = views()
    loss = clip(a, b, 0.1).mean()
    first, second = (torch.autograd.grad(loss, a, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_sums_of_half_precision_inputs_run_in_single_under_autocast_too() -> None:
    a, b = (view.detach().to(torch.bfloat16) for view in views(64))
    expected = clip(a.double(), b.double(), 0.05).mean()
    with torch.autocast("cpu", torch.bfloat16):
        found = clip(a, b, 0.05).mean()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


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
    clip(a, b, 0.1).mean().backward()
    assert max(sizes) == 64 * 64


@pytest.mark.parametrize("temperature", [0.0, -0.1])
def test_a_temperature_is_positive(temperature: float) -> None:
    a, b = views()
    with pytest.raises(ValueError, match="temperature"):
        info_nce(a, b, temperature=temperature)


def test_sup_con_of_a_plain_tensor_needs_labels() -> None:
    with pytest.raises(ValueError, match="labels"):
        sup_con(views()[0], temperature=0.1)
