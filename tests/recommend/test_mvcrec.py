"""MVCrec against its equations, written out naively in float64; the graph, the fusion forms, the readers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm, normalize

from counterpoint.errors import UserError
from counterpoint.recommend.histories import Histories, histories, instances
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.item_graph import Propagation, item_graph, relabelled
from counterpoint.recommend.mvcrec import MVCrec
from counterpoint.recommend.simulate import cycles
from counterpoint.training import Batch, Clock, Trainer
from recommend.shop import ITEMS, shop

SMALL = {"dim": 8, "epochs": 1, "batch_size": 8, "dropout": 0.0, "max_length": 5}
CLOCK = Clock(0, "fit prefixes", 0, 0, 1)


def made(data: Interactions, **options: Any) -> MVCrec:
    """A method in float64 whose every number matters: the small start of the release hides mistakes."""
    method = MVCrec(**{**SMALL, **options})
    method.prepare(method.measure(data))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
    return method.double().eval()


# --- the equations, naively


def dense_graph(data: Interactions, distance: int) -> Tensor:
    a = np.zeros((ITEMS + 1, ITEMS + 1))
    for begin, end in zip(data.starts, data.starts[1:], strict=False):
        for i in range(begin, end):
            for j in range(begin, end):
                if 0 < abs(i - j) <= distance:
                    a[data.items[i], data.items[j]] += 1
    a = ((a + np.identity(len(a))) != 0).astype(float)
    degree = a.sum(1)
    return torch.from_numpy(a / np.sqrt(degree[:, None] * degree[None]))


def naive_tables(method: MVCrec, data: Interactions) -> dict[str, Tensor]:
    tables = {view: method.embeddings[view].weight for view in method.views}
    if "graph" in tables:
        step, graph = tables["graph"], dense_graph(data, method.options.distance)
        for _ in range(method.options.graph_layers):
            step = graph @ step
            tables["graph"] = tables["graph"] + step
    return tables


def naive_read(reader: Any, x: Tensor, causal: bool = False) -> Tensor:
    """The state of the last place, one history, head by head and place by place."""
    n, dim = x.shape
    x = x + reader.positions.weight[:n]
    for block in reader.blocks:
        queries, keys, values = (x @ block.project.weight.T + block.project.bias).split(dim, dim=1)
        rows = []
        for place in range(n):
            seen = place + 1 if causal else n
            parts = []
            for head in range(2):
                own = slice(head * dim // 2, (head + 1) * dim // 2)
                logits = keys[:seen, own] @ queries[place, own] / (dim // 2) ** 0.5
                parts.append(logits.softmax(0) @ values[:seen, own])
            rows.append(torch.cat(parts))
        first, second = block.after_attention, block.after_feed
        x = layer_norm(x + torch.stack(rows), (dim,), first.weight, first.bias)
        x = layer_norm(x + block.feed(x), (dim,), second.weight, second.bias)
    return x[-1]


def naive_vectors(method: MVCrec, tables: dict[str, Tensor], rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    causal = method.options.positions == "all"
    return {
        view: torch.stack([naive_read(method.readers[view], table[list(row)], causal) for row in rows])
        for view, table in tables.items()
    }


def naive_aff(module: Any, x: Tensor, r: Tensor) -> Tensor:
    m = x + r
    local = m @ module.local.weight.T + module.local.bias
    c, e = module.overall.weight[0, 0], module.overall.bias[0]
    w = torch.sigmoid(local + (c * m.mean(1) + e)[:, None])
    return 2 * w * x + 2 * (1 - w) * r


def naive_ntx(p: Tensor, q: Tensor, temperature: float, users: list[int], items: list[int], options: Any) -> Tensor:
    """Row by row over Z = [P; Q]; a row without negatives is left out."""
    z, n = torch.cat([p, q]), len(p)
    scores = z @ z.T / temperature
    losses = []
    for i in range(2 * n):
        positives, negatives = [], []
        for j in range(2 * n):
            a, b = i % n, j % n
            if j == i:
                continue
            if a == b or (options.same_item == "positive" and items[a] == items[b]):
                positives.append(j)
                continue
            same = {"user": users[a] == users[b], "item": items[a] == items[b]}
            if not any(same[what] and getattr(options, f"same_{what}") == "excluded" for what in same):
                negatives.append(j)
        if negatives:
            mass = scores[i, positives + negatives].exp().sum().log()
            losses.append(mass - scores[i, positives].mean())
    return torch.stack(losses).mean()


def rows_of(given: Histories) -> list[list[int]]:
    return [part.tolist() for part in given.items.split(given.lengths.tolist())]


def naive_losses(method: MVCrec, data: Interactions, batch: Batch) -> dict[str, Tensor]:
    options, tables = method.options, naive_tables(method, data)
    h = naive_vectors(method, tables, rows_of(batch.views["history"]))
    o = naive_aff(method.fusions["graph"], h["graph"], h["id"])
    o2 = naive_aff(method.fusions["id"], h["id"], h["graph"])
    kept = slice(None) if options.padding_in_softmax else slice(-1)
    scores = o2 @ tables["id"][kept].T + o @ tables["graph"][kept].T
    found = {"next": cross_entropy(scores, batch.views["targets"])}
    a, b = (naive_vectors(method, tables, rows_of(batch.views[name])) for name in ("a", "b"))
    if options.similarity == "cosine":
        a, b = ({view: normalize(v, dim=1) for view, v in copy.items()} for copy in (a, b))
    users, items = batch.views["user"].tolist(), batch.views["item"].tolist()

    def ntx(p: Tensor, q: Tensor) -> Tensor:
        return options.contrast_weight * naive_ntx(p, q, options.temperature, users, items, options)

    found["id"], found["graph"] = ntx(a["id"], b["id"]), ntx(a["graph"], b["graph"])
    found["cross"] = ntx(a["graph"], b["id"])
    if options.symmetric_cross:
        found["cross"] = (found["cross"] + ntx(b["graph"], a["id"])) / 2
    return {name: value for name, value in found.items() if name == "next" or name in options.terms}


RELEASE = {"same_user": "negative", "same_item": "negative"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        RELEASE | {"padding_in_softmax": True},
        {"same_item": "excluded", "similarity": "cosine", "temperature": 0.2, "symmetric_cross": True},
        {"same_user": "negative", "graph_layers": 1, "distance": 1, "layers": 1, "terms": ("cross", "id")},
    ],
)
def test_every_term_is_the_cards(options: dict[str, Any]) -> None:
    data = shop(12, 1, complete=True)
    method = made(data, contrast_weight=0.7, **options)
    batch = method.batch(data, torch.arange(0, 40, 2), torch.Generator().manual_seed(3))
    found, expected = method.losses(batch, CLOCK), naive_losses(method, data, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=name)
    parameters = dict(method.named_parameters())
    ours = torch.autograd.grad(sum(found.values()), list(parameters.values()), allow_unused=True)
    theirs = torch.autograd.grad(sum(expected.values()), list(parameters.values()), allow_unused=True)
    for name, mine, other in zip(parameters, ours, theirs, strict=True):
        assert (mine is None) == (other is None), name
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8, msg=name)


def test_the_clean_history_is_what_is_learned_from() -> None:
    """The release altered it in place; here neither the data nor the inputs feel the copies."""
    data = shop(12, 1, complete=True)
    before, method = data.items.copy(), made(data)
    batch = method.batch(data, torch.arange(20), torch.Generator().manual_seed(3))
    plain = instances(data, False, 5).rows(torch.arange(20)).inputs(data)
    assert torch.equal(batch.views["history"].items, plain.items)
    assert torch.equal(batch.views["history"].starts, plain.starts)
    assert (data.items == before).all()
    assert any(rows_of(batch.views[name]) != rows_of(plain) for name in ("a", "b"))
    assert "a" not in made(data, contrast_weight=0.0).batch(data, torch.arange(20), torch.Generator()).views


def test_one_user_s_other_prefixes_are_no_negatives() -> None:
    """With rows of one user alone nothing is left to repel, and what the release would count wrong is noted."""
    data = Interactions.of(["u"] * 6 + ["v"] * 3, list("abcdea" + "fgb"))
    method = made(data, contrast_weight=1.0)
    terms = method.losses(method.batch(data, torch.arange(5), torch.Generator()), CLOCK)
    assert all(terms[name].detach() == 0 for name in ("id", "graph", "cross"))
    assert method.notes["same_user"] == 1.0
    assert method.notes["same_item"] == 0.0
    assert method.notes["length_id"] > 0
    terms = method.losses(method.batch(data, torch.tensor([0, 6]), torch.Generator()), CLOCK)
    assert method.notes["same_item"] == 1.0, "both rows want b"
    assert all(terms[name].detach() == 0 for name in ("id", "graph", "cross"))
    other = made(data, contrast_weight=1.0, **RELEASE)
    assert other.losses(other.batch(data, torch.arange(5), torch.Generator()), CLOCK)["id"].detach() > 0


@pytest.mark.parametrize("fusion", ["aff", "scalar_softmax_bug", "sigmoid_gate", "mlp", "none"])
def test_the_fusion_forms(fusion: Any) -> None:
    data = shop(12, 1, complete=True)
    method = made(data, fusion=fusion)
    rows = [[3, 4], [7, 1, 2]]
    h = naive_vectors(method, naive_tables(method, data), rows)
    expected = []
    for view, other in (("graph", "id"), ("id", "graph")):
        module, x, r = method.fusions[view], h[view], h[other]
        if fusion == "aff":
            expected.append(naive_aff(module, x, r))
        elif fusion == "sigmoid_gate":
            a = 1 / (1 + torch.exp(-((x + r) @ module.score.weight[0] + module.score.bias)))[:, None]
            expected.append(a * x + (1 - a) * r)
        elif fusion == "mlp":
            first, _, last = module.layers
            hidden = (torch.cat([x, r], 1) @ first.weight.T + first.bias).clamp(min=0)
            expected.append(hidden @ last.weight.T + last.bias)
        else:
            expected.append(x)  # the softmax over one number is 1: the release's fusion does nothing
    torch.testing.assert_close(method.vectors(Histories.of(rows)), torch.cat(expected, dim=1))


@pytest.mark.parametrize("view", ["id", "graph"])
def test_a_view_alone(view: Any) -> None:
    """Half as many numbers in a vector, the same parts from the same start, and only its own contrastive term."""
    data = shop(12, 1, complete=True)
    alone, both = MVCrec(**SMALL, views=view), MVCrec(**SMALL)
    for method in (alone, both):
        method.prepare(method.measure(data))
    shared = alone.state_dict()
    assert all(torch.equal(value, both.state_dict()[name]) for name, value in shared.items())
    assert not any(name.startswith("fusions") for name in shared)
    assert ("edges" in alone.facts) == (view == "graph")
    batch = alone.batch(data, torch.arange(16), torch.Generator())
    assert set(alone.losses(batch, CLOCK)) == {"next", view}
    assert alone.item_vectors().shape == (ITEMS, 8)
    assert both.item_vectors().shape == (ITEMS, 16)
    assert set(MVCrec(**SMALL, views=view, terms=("cross",)).contrasts) == set()


def test_all_positions_are_read_causally() -> None:
    """Every next event of a stretch is learned from its past alone, which is what lists are made from."""
    data = shop(9, 1, complete=True)
    method = made(data, positions="all", contrast_weight=0.0)
    chosen = instances(data, True, 5)
    batch = method.batch(data, torch.arange(len(chosen)), torch.Generator())
    terms = []
    for first, last in zip(chosen.first, chosen.last, strict=True):
        for event in range(first + 1, last + 1):
            row = histories(data, np.array([first]), np.array([event]))
            vectors = naive_vectors(method, naive_tables(method, data), rows_of(row))
            torch.testing.assert_close(method._vectors(row, method._tables())["id"], vectors["id"])
            logits = method.vectors(row) @ method.item_vectors().T
            terms.append(cross_entropy(logits, torch.tensor([int(data.items[event])])))
    torch.testing.assert_close(method.losses(batch, CLOCK)["next"], torch.stack(terms).mean())


def test_padding_changes_nothing_and_the_end_is_the_last_place() -> None:
    method = made(shop(20, 0))
    rows = [[3, 7, 1, 9, 4], [3, 7], [5]]
    together = method.vectors(Histories.of(rows))
    for place, row in enumerate(rows):
        torch.testing.assert_close(together[place], method.vectors(Histories.of([row]))[0])
    torch.testing.assert_close(method.vectors(Histories.of([[9, 9, *rows[0]]]))[0], together[0])
    reader, x = method.readers["id"], torch.randn(2, 4, 8, dtype=torch.float64)
    there = torch.tensor([[True] * 4, [True, True, False, False]])
    whole = reader(x, there)
    torch.testing.assert_close(reader.last(x, there), torch.stack([whole[0, 3], whole[1, 1]]))


# --- the graph


@pytest.mark.parametrize("distance", [1, 3])
def test_the_graph_is_the_cards(distance: int) -> None:
    data = shop(10, 4)
    graph, dense = item_graph(data, distance), dense_graph(data, distance)
    found = graph @ torch.from_numpy(np.identity(ITEMS + 1, dtype=np.float32))
    torch.testing.assert_close(found.double(), dense, rtol=1e-6, atol=1e-7)
    assert len(graph.value) == int((dense != 0).sum()) == MVCrec(distance=distance).measure(data)["edges"]
    assert len(item_graph(Interactions.of([1, 2], ["a", "b"]), distance).value) == 3, "one event a user: loops alone"


def test_the_placebo_joins_other_items() -> None:
    data, order = shop(10, 4), torch.randperm(ITEMS + 1, generator=torch.Generator().manual_seed(0))
    graph, unit = item_graph(data, 3), torch.from_numpy(np.identity(ITEMS + 1, dtype=np.float32))
    dense = graph @ unit
    torch.testing.assert_close((relabelled(graph, order) @ unit)[order][:, order], dense)
    placebo = MVCrec(**SMALL, shuffled_graph=True)
    placebo.prepare(placebo.measure(data), seed=3)
    shuffled = placebo.propagation.graph.matrix() @ unit
    assert not torch.equal(shuffled, dense)
    assert torch.equal(shuffled[-1], dense[-1]), "padding stays alone"
    torch.testing.assert_close(shuffled.diagonal().sort().values, dense.diagonal().sort().values)


def test_the_sum_is_kept_until_something_changes() -> None:
    data = shop(10, 4)
    graph = item_graph(data, 2)
    propagation = Propagation(ITEMS + 1, len(graph.value), 2).eval()
    propagation.graph.fill(graph)
    table = torch.nn.Parameter(torch.randn(ITEMS + 1, 4))
    dense = dense_graph(data, 2).float()

    def expected() -> Tensor:
        return table + dense @ table + dense @ (dense @ table)

    with torch.no_grad():
        first = propagation(table)
        assert propagation(table) is first
        torch.testing.assert_close(first, expected())
    propagation(table).sum().backward()
    propagation.train()
    torch.optim.AdamW([table], fused=True).step()
    propagation.eval()
    with torch.no_grad():
        torch.testing.assert_close(propagation(table), expected())
        propagation.graph.value.mul_(0)
        torch.testing.assert_close(propagation(table), table)
    assert propagation(table).requires_grad


# --- as a user has it


def test_it_learns_what_follows_what() -> None:
    parts = cycles(40, items=10, seed=0, length=8).divide("leave-one-out")
    options = {"dim": 16, "epochs": 3, "batch_size": 32, "optim": {"lr": 0.02}}
    method = MVCrec(**options).fit(parts["train"], trainer=Trainer(progress=False))
    assert method.judge(method, parts["test"]).value("hr5") > 0.95
    with pytest.raises(UserError, match="dim=9 is not divisible by heads=2"):
        MVCrec(dim=9).fit(parts["train"])
