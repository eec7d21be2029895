"""Every method's loss against a few dense lines, and what it does on graphs with a known answer."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from counterpoint.errors import UserError
from counterpoint.graphs.barlow_graph import BarlowGraph
from counterpoint.graphs.bgrl import BGRL
from counterpoint.graphs.cca_ssg import CCASSG, EPSILON
from counterpoint.graphs.dgi import DGI
from counterpoint.graphs.gca import GCA
from counterpoint.graphs.gcn import SupervisedGCN
from counterpoint.graphs.grace import GRACE
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.graphmae import GraphMAE
from counterpoint.graphs.inputs import Permuted
from counterpoint.graphs.judge import held_out_edges, node_classes, nodes_or_edges, pairs_without_edge
from counterpoint.graphs.sgc import SGC
from counterpoint.graphs.simulate import citations
from counterpoint.graphs.text_logistic import TextLogistic
from counterpoint.training import Clock, Trainer, rng
from graphs.little import little

CLOCK = Clock(0, "fit", 0, 0, 10)
BASE = {"base": "hashed", "dim": 6}


def ready(method: Any, rows: int = 20) -> tuple[Any, Any]:
    """A method with its network, in float64, and a batch."""
    graph = little(30, 0)
    method.prepare(method.measure(graph))
    batch = method.batch(graph, torch.arange(rows), rng(0))
    batch.context |= {k: v.double() for k, v in batch.context.items() if isinstance(v, Tensor)}
    return method.double(), batch


def views(method: Any, batch: Any) -> list[Tensor]:
    """What the encoder makes of the two views of this clock."""
    return [method.encoder(*method._view(batch, k, CLOCK.shared_rng(f"view {k}"))) for k in range(2)]


@pytest.mark.parametrize("kind", [GRACE, GCA])
def test_grace_is_the_papers_sum(kind: type) -> None:
    method, batch = ready(kind(**BASE, batch_size=20))
    one, other = (normalize(method.projection(h[:20]), dim=1) for h in views(method, batch))

    def half(u: Tensor, v: Tensor) -> Tensor:
        between, within = (u @ v.T / 0.4).exp(), (u @ u.T / 0.4).exp()
        return -(between.diag() / (between.sum(1) + within.sum(1) - within.diag())).log()

    expected = (half(one, other) + half(other, one)).mean() / 2
    assert method.losses(batch, CLOCK)["contrast"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_gca_drops_what_matters_less_often() -> None:
    method, batch = ready(GCA(**BASE, cut=1.0))
    method.set_params(drop_edges=(0.5, 0.5))
    structure, kept = batch.context["structure"], torch.zeros(30, 30)
    for seed in range(300):
        matrix = method._view(batch, 0, rng(seed))[1]
        row = torch.repeat_interleave(matrix.crow.diff())
        kept[row, matrix.col] += 1
    left, right = structure.ends()
    central = structure.degrees[left] + structure.degrees[right]
    stays = kept[left, right]
    assert np.corrcoef(central.numpy(), stays.numpy())[0, 1] > 0.6


def test_dgi_is_binary_cross_entropy() -> None:
    method, batch = ready(DGI(**BASE))
    x, matrix = batch.context["features"], batch.context["structure"].matrix()
    order = torch.randperm(30, generator=CLOCK.shared_rng("corruption"))
    true, false = method.encoder(x, matrix), method.encoder(Permuted(x, order), matrix)
    torch.testing.assert_close(false, method.encoder(x[order], matrix))
    summary = method.score.weight @ torch.sigmoid(true.mean(0))
    expected = (softplus(-(true @ summary))[:20] + softplus(false @ summary)[:20]).mean() / 2
    assert method.losses(batch, CLOCK)["infomax"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_bgrl_follows_its_slow_copy_without_a_gradient() -> None:
    method, batch = ready(BGRL(**BASE, predictor=5, decay=0.9))
    terms = method.losses(batch, CLOCK)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None for p in method.predictor.parameters())
    with torch.no_grad():
        method.encoder.weights[0].add_(1)
    before = method.target.average.weights[0].clone()
    method.after(batch, CLOCK)
    torch.testing.assert_close(method.target.average.weights[0] - before, torch.full_like(before, 0.1))
    method.after(batch, Clock(0, "fit", 0, 10, 10))
    torch.testing.assert_close(method.target.average.weights[0] - before, torch.full_like(before, 0.1))


@pytest.mark.parametrize("kind", [BarlowGraph, CCASSG])
def test_decorrelating_methods_are_dense_correlations(kind: type) -> None:
    from counterpoint.graphs.augment import two_views

    method, batch = ready(kind(**BASE))
    pair = two_views(method.encoder, method.options, batch, CLOCK)
    epsilon = 1e-5 if kind is BarlowGraph else EPSILON
    one, other = ((h - h.mean(0)) / (h.var(0, correction=0) + epsilon).sqrt() / 20**0.5 for h in pair)
    identity = torch.eye(6, dtype=torch.float64)
    if kind is BarlowGraph:
        apart = (one.T @ other - identity).square()
        expected = apart.diag().sum() + (apart.sum() - apart.diag().sum()) / 6
    else:
        alike = sum((h.T @ h - identity).square().sum() for h in (one, other))
        expected = (one - other).square().sum() + 1e-3 * alike
    assert next(iter(method.losses(batch, CLOCK).values())).item() == pytest.approx(expected.item(), rel=1e-6)


def test_graphmae_makes_up_masked_features_only() -> None:
    method, batch = ready(GraphMAE(**BASE, foreign=0.0, power=2.0))
    x, matrix = batch.context["features"], batch.context["structure"].matrix()
    masked = method._drawn(batch.context["structure"], CLOCK)[0]
    hidden = method.bridge(method.encoder(torch.where(masked[:, None], method.token, x), matrix))
    made = method.decoder(torch.where(masked[:, None], 0.0, hidden), matrix)
    cosine = torch.nn.functional.cosine_similarity(made, x)
    asked = masked & (x.norm(dim=1) > 0) & (made.norm(dim=1) > 0) & (torch.arange(30) < 20)
    assert method.losses(batch, CLOCK)["features"].item() == pytest.approx((1 - cosine)[asked].square().mean().item())


def test_sgc_and_text_are_their_definitions() -> None:
    graph = little(30, 0)
    x = TextLogistic(base="hashed").fit(graph).embed(graph)
    structure = graph.held["structure"]
    twice = structure.matrix() @ (structure.matrix() @ x)
    torch.testing.assert_close(SGC(base="hashed").fit(graph).embed(graph), twice)
    ppr = SGC(base="hashed", alpha=0.5, steps=1).fit(graph).embed(graph)
    torch.testing.assert_close(ppr, 0.5 * (x + 0.5 * (structure.matrix() @ x)))


@pytest.mark.parametrize("kind", [GRACE, DGI, BGRL, BarlowGraph, CCASSG, GraphMAE, SupervisedGCN])
def test_communities_are_found(kind: type) -> None:
    """Three classes whose words overlap a little, with edges inside: better than the words alone."""
    graph = citations(200, classes=3, homophily=0.9, signal=3, noise=6, seed=0)
    parts = graph.split({"train": 0.6, "validation": 0.2, "test": 0.2})
    alone = node_classes(TextLogistic(base="hashed").fit(parts["train"]), parts["test"]).value("accuracy")
    options = {"base": "hashed", "dim": 32, "epochs": 40, "optim": {"lr": 5e-3}}
    made = kind(**options).fit(parts["train"], trainer=Trainer(progress=False))
    assert node_classes(made, parts["test"]).value("accuracy") > alone + 0.05
    said = made.predict(parts["test"])
    assert set(said.labels) <= {"0", "1", "2"}


def test_a_graph_drawn_around_the_nodes_teaches_too() -> None:
    graph = citations(200, classes=3, homophily=0.9, signal=3, noise=6, seed=0)
    method = GRACE(base="hashed", dim=16, neighbours=4, batch_size=32, epochs=2).fit(
        graph, trainer=Trainer(progress=False)
    )
    batch = method.batch(graph, torch.tensor([3, 50, 7]), rng(0))
    assert batch.context["structure"].nodes < 70
    features = batch.context["features"][batch.views["place"]]
    torch.testing.assert_close(features, method._prepared(graph)[0][[3, 50, 7]])


def test_edges_taken_out_are_ranked_among_pairs_without() -> None:
    graph = citations(150, classes=3, homophily=0.95, signal=3, noise=3, seed=0).without_edges(0.2)
    method = SGC(base="hashed").fit(graph)
    found = held_out_edges(method, graph)
    assert graph.asked is not None
    assert len(found.ids) == graph.asked.shape[1]
    others = pairs_without_edge(graph)
    taken = set(map(tuple, np.concatenate([graph.edges, graph.asked], axis=1).T.tolist()))
    assert not taken & set(map(tuple, others.T.tolist()))
    own, rest = method.edge_scores(graph, graph.asked), method.edge_scores(graph, others.numpy())
    auc = (own[:, None] > rest).double().mean() + 0.5 * (own[:, None] == rest).double().mean()
    assert found.value("auc") == pytest.approx(float(auc), abs=1e-9)
    assert found.value("auc") > 0.6


def test_without_classes_the_edges_that_were_seen_are_ranked() -> None:
    whole = citations(150, classes=3, homophily=0.95, signal=3, noise=3, seed=0)
    plain = AttributedGraph.of(whole.edges, texts=whole.texts)
    found = nodes_or_edges(SGC(base="hashed").fit(plain), plain)
    assert set(found.summary()) == {"auc of seen edges"}
    assert len(found.ids) == plain.edges.shape[1]
    assert found.value("auc of seen edges") > 0.8
    assert any("held_out=0.1" in line for line in plain.warnings())


def test_who_is_judged_and_what_cannot_be() -> None:
    graph = little(30, 0)
    method = TextLogistic(base="hashed").fit(graph)
    outcome = node_classes(method, graph)
    labelled = sum(name is not None for name in graph.labels)
    assert len(outcome.ids) == labelled - labelled // 5
    parts = graph.split({"train": 0.5, "test": 0.5})
    assert set(node_classes(method, parts["test"]).ids.tolist()) <= set(parts["test"].ids.tolist())
    plain = AttributedGraph.of([[0], [1]], texts=["a", "b"])
    with pytest.raises(UserError, match="no column of classes"):
        node_classes(method, plain)
    with pytest.raises(UserError, match="no two classes"):
        TextLogistic(base="hashed").fit(plain).predict(plain)
    with pytest.raises(UserError, match="no two classes"):
        SupervisedGCN(**BASE).fit(plain)
    with pytest.raises(UserError, match="2 features and the run was fitted on 256"):
        method.embed(AttributedGraph.of([[0], [1]], features=np.eye(2)))
    with pytest.raises(UserError, match="a graph of 1 node"):
        GRACE(**BASE).fit(AttributedGraph.of(np.zeros((2, 0)), texts=["a"]))


def test_a_graph_without_edges_is_learned_from() -> None:
    graph = AttributedGraph.of(np.zeros((2, 0)), texts=["a b", "b c", "c d", "d a"], columns={"label": [0, 0, 1, 1]})
    for kind in (GRACE, GCA, DGI, BGRL):
        assert torch.isfinite(kind(**BASE, epochs=2).fit(graph, trainer=Trainer(progress=False)).embed(graph)).all()
