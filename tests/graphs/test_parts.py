"""Structure, network, views, filters and the classifier against dense float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.graphs.augment import adaptive, centrality, view
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.heads import STRENGTH, LogisticHead
from counterpoint.graphs.inputs import Masked, Permuted, Replaced, dense, hashed, prepared, sparse_rows, text_vectors
from counterpoint.graphs.spectral import diagnosis, dirichlet, low_share, personalised
from counterpoint.graphs.structure import Structure, neighbourhood
from counterpoint.training import rng
from counterpoint.training.sparse import Sparse


def some(nodes: int = 12, count: int = 20, seed: int = 0) -> Tensor:
    """Different undirected edges."""
    random = np.random.default_rng(seed)
    pairs = {tuple(sorted(random.choice(nodes, 2, replace=False).tolist())) for _ in range(count)}
    return torch.tensor(sorted(pairs), dtype=torch.int64).reshape(-1, 2).T


def normalised(edges: Tensor, nodes: int) -> Tensor:
    """D^-1/2 (A + I) D^-1/2, dense."""
    whole = torch.eye(nodes, dtype=torch.float64)
    whole[edges[0], edges[1]] = whole[edges[1], edges[0]] = 1
    scale = whole.sum(1).rsqrt()
    return scale[:, None] * whole * scale


@given(st.integers(0, 50), st.integers(0, 30))
def test_leaving_edges_out_is_the_graph_of_the_others(seed: int, count: int) -> None:
    edges = some(count=count, seed=seed)
    structure = Structure.of(edges, 12)
    assert torch.equal(structure.ends(), edges)
    kept = torch.rand(edges.shape[1], generator=rng(seed)) < 0.5
    for matrix, left in ((structure.matrix(), edges), (structure.without(kept), edges[:, kept])):
        found = matrix @ torch.eye(12, dtype=torch.float64)
        torch.testing.assert_close(found, normalised(left, 12), rtol=1e-6, atol=1e-6)


def test_the_network_is_the_dense_one_and_pygs() -> None:
    edges, x = some(), torch.randn(12, 5, generator=rng(0), dtype=torch.float64)
    structure = Structure.of(edges, 12)
    network = GCN([5, 7, 3], "relu").double()
    whole = normalised(edges, 12)
    hidden = x.clone().requires_grad_()
    expected = hidden
    for weight in network.weights:
        expected = torch.relu(whole @ expected @ weight)
    found = network(hidden, structure.matrix())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    theirs = torch.autograd.grad(expected.square().sum(), network.weights[0])[0]
    ours = torch.autograd.grad(network(hidden, structure.matrix()).square().sum(), network.weights[0])[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(network(structure.matrix() @ x, structure.matrix(), propagated=True), found)
    layer = pytest.importorskip("torch_geometric.nn").GCNConv(5, 7).double()
    layer.lin.weight.data = network.weights[0].data.T
    both = torch.cat([edges, edges.flip(0)], dim=1)
    torch.testing.assert_close(torch.relu(layer(x, both)), GCNfirst(network, x, structure), rtol=1e-6, atol=1e-6)


def GCNfirst(network: GCN, x: Tensor, structure: Structure) -> Tensor:  # noqa: N802
    return torch.relu(structure.matrix() @ (x @ network.weights[0]) + network.biases[0])


def test_features_in_disguise_multiply_as_what_they_stand_for() -> None:
    x, weight = torch.randn(6, 4, generator=rng(0)), torch.randn(4, 3, generator=rng(1))
    order, nodes, token = (
        torch.randperm(6, generator=rng(2)),
        torch.arange(6) % 2 == 0,
        torch.randn(4, generator=rng(3)),
    )
    kept = torch.tensor([1.0, 0.0, 1.0, 0.0])
    torch.testing.assert_close(Masked(x, kept) @ weight, (x * kept) @ weight)
    torch.testing.assert_close(Permuted(x, order) @ weight, x[order] @ weight)
    torch.testing.assert_close(Replaced(x, nodes, token) @ weight, torch.where(nodes[:, None], token, x) @ weight)
    row, column = x.clamp(min=0).nonzero().T
    sparse = Sparse.of(row, column, x.clamp(min=0)[row, column], (6, 4))
    torch.testing.assert_close(dense(sparse), x.clamp(min=0))
    torch.testing.assert_close(dense(sparse_rows(sparse, order[:4].numpy())), x.clamp(min=0)[order[:4]])


def test_bags_of_words_are_divided_by_their_sum() -> None:
    words = Sparse.of(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([1.0, 3.0]), (2, 2))
    found, _ = prepared(AttributedGraph.of([[0], [1]], features=words), "static")
    assert dense(found).tolist() == [[0.25, 0.75], [0, 0]]


def test_hashed_vectors_are_about_bags_of_words() -> None:
    made = hashed(["a b c d", "d C b a", "a b x y", "p q r s"])
    torch.testing.assert_close(made[0], made[1])
    cosines = made[0] @ made.T
    assert 0.35 < cosines[2] < 0.65
    assert cosines[3].abs() < 0.2
    assert not text_vectors([None, ""], "hashed").any()


def test_adaptive_chances_are_the_papers() -> None:
    edges = some()
    structure, x = Structure.of(edges, 12), torch.rand(12, 5, generator=rng(0))
    degree = torch.bincount(edges.flatten(), minlength=12).float()
    torch.testing.assert_close(centrality(structure, "degree"), degree)
    weights = {"edges": (degree[edges[0]] + degree[edges[1]]) / 2, "columns": (x * degree[:, None]).sum(0)}
    found = adaptive(x, structure, "degree")
    for name, weight in weights.items():
        score = weight.log()
        torch.testing.assert_close(found[name], (score.max() - score) / (score.max() - score.mean()))
        assert found[name].mean() == pytest.approx(1, abs=1e-5)


def test_centralities_are_those_of_the_dense_matrix() -> None:
    edges = some(count=40)
    structure = Structure.of(edges, 12)
    whole = torch.zeros(12, 12)
    whole[edges[0], edges[1]] = whole[edges[1], edges[0]] = 1
    first = torch.linalg.eigh(whole).eigenvectors[:, -1].abs()
    torch.testing.assert_close(centrality(structure, "eigenvector"), first / first.sum(), rtol=1e-3, atol=1e-4)
    walk = whole / whole.sum(1, keepdim=True)
    rank = torch.linalg.solve(torch.eye(12) - 0.85 * walk.T, torch.full((12,), 0.15 / 12))
    torch.testing.assert_close(centrality(structure, "pagerank"), rank / rank.sum(), rtol=1e-4, atol=1e-5)


def test_a_view_leaves_out_the_share_that_is_asked() -> None:
    structure = Structure.of(some(200, 3000), 200)
    masked, matrix = view(torch.ones(200, 400), structure, 0.3, 0.2, rng(0))
    assert masked.kept.mean() == pytest.approx(0.8, abs=0.06)
    left = (len(matrix.col) - 200) / 2 / structure.edges
    assert left == pytest.approx(0.7, abs=0.05)


def test_filter_energy_and_low_frequencies_are_dense_algebra() -> None:
    edges, x = some(), torch.randn(12, 3, generator=rng(0))
    structure, whole = Structure.of(edges, 12), normalised(some(), 12)
    powers = sum(0.2 * 0.8**k * torch.linalg.matrix_power(whole, k) for k in range(5))
    assert isinstance(powers, Tensor)
    torch.testing.assert_close(
        personalised(structure.matrix(), x, 0.8, 4).double(), powers @ x.double(), rtol=1e-5, atol=1e-5
    )
    laplacian = torch.eye(12, dtype=torch.float64) - whole
    energy = torch.trace(x.double().T @ laplacian @ x.double()) / x.double().square().sum()
    assert float(dirichlet(structure.matrix(), x)) == pytest.approx(float(energy), rel=1e-5)
    values, vectors = torch.linalg.eigh(laplacian)
    below = (vectors[:, :6].T @ x.double()).square().sum() / x.double().square().sum()
    assert low_share(structure, x)[0] == pytest.approx(float(below), rel=1e-6)
    assert float(dirichlet(structure.matrix(), torch.zeros(12, 3))) == 0
    smooth = structure.degrees.add(1).float().sqrt()[:, None]
    assert float(dirichlet(structure.matrix(), smooth)) == pytest.approx(0, abs=1e-6)
    found = diagnosis(structure, {"signal": smooth, "noise": smooth}, rng(0))
    assert found["pairwise cosine signal"] == pytest.approx(1, abs=1e-5)
    assert found["cosine of signal and noise"] == pytest.approx(1, abs=1e-5)
    assert values.min() > -1e-9


def test_drawn_neighbourhoods_are_part_of_the_graph() -> None:
    structure = Structure.of(some(60, 300), 60)
    pairs = set(map(tuple, structure.ends().T.tolist()))
    small, met = neighbourhood(structure, torch.tensor([3, 40]), 2, 2, rng(0))
    drawn = {tuple(met[pair].tolist()) for pair in small.ends().T}
    assert {3, 40} <= set(met.tolist())
    assert drawn <= pairs
    assert len(met) <= 2 + 2 * 2 + 4 * 2


def test_all_drawn_neighbours_are_those_of_pyg() -> None:
    from torch_geometric.utils import k_hop_subgraph

    pairs = torch.cat([some(60, 50), torch.tensor([[57], [58]])], dim=1)
    structure = Structure.of(pairs.sort(dim=0).values.unique(dim=1), 60)
    ends = structure.ends()
    both = torch.cat([ends, ends.flip(0)], dim=1)
    for seeds in ([3, 40], [57], [structure.degrees.argmin().item()]):
        small, met = neighbourhood(structure, torch.tensor(seeds), 2, 500, rng(1))
        expected, _, _, _ = k_hop_subgraph(torch.tensor(seeds), 2, both, num_nodes=60)
        assert met.tolist() == expected.tolist()
        inner = k_hop_subgraph(torch.tensor(seeds), 1, both, num_nodes=60)[0]
        wanted = {tuple(pair) for pair in ends.T.tolist() if pair[0] in inner or pair[1] in inner}
        assert {tuple(met[pair].tolist()) for pair in small.ends().T} == wanted


def test_neighbours_are_drawn_alike_often() -> None:
    star = Structure.of(torch.tensor([[0, 1, 2, 2], [2, 2, 3, 4]]), 5)
    drawn = torch.cat([neighbourhood(star, torch.tensor([2]), 1, 1, rng(seed))[1] for seed in range(400)])
    counts = drawn.bincount(minlength=5)
    assert counts[2] == 400
    assert all(70 < count < 130 for count in counts[[0, 1, 3, 4]])


def test_the_classifier_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    x = torch.randn(60, 4, generator=rng(0))
    y = (x[:, 0] + 0.5 * torch.randn(60, generator=rng(1)) > 0).long() + 2 * (x[:, 1] > 1).long()
    y = torch.unique(y, return_inverse=True)[1]
    head = LogisticHead(4, int(y.max()) + 1)
    head.solve(x, y)
    unit = torch.nn.functional.normalize(x, dim=1).double().numpy()
    model = LogisticRegression(C=STRENGTH, tol=1e-10, max_iter=5000).fit(unit, y.numpy())
    np.testing.assert_allclose(head(x).numpy(), model.predict_proba(unit), atol=1e-4)
