"""What every method of the wing has: graphs in, vectors of nodes and classes out, judged by the wing's protocol."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.heads import LogisticHead
from counterpoint.graphs.inputs import cast, prepared, rows_of, width_of
from counterpoint.graphs.judge import assess, nodes_or_edges, pair_scores
from counterpoint.graphs.structure import Structure, neighbourhood
from counterpoint.objectives import Ids
from counterpoint.training import Batch, Clock, MethodConfig, Optim, Phase, Predictions, SGDConfig
from counterpoint.training.sparse import Sparse

BASE = "frozen encoder of texts, for nodes without features: static, minilm, hashed, a folder or a hub name"


class NodesConfig(MethodConfig):
    """Options of every method of nodes."""

    base: str = Field("static", description=BASE)


class GraphConfig(SGDConfig):
    """Options of every method of nodes that learns by gradient steps; an epoch is one step over the whole graph."""

    optim: Optim = Optim(lr=1e-3, weight_decay=1e-5)
    epochs: int = Field(200, ge=1, description="steps, each over the whole graph, or around the nodes it compares")
    batch_size: int = Field(2048, ge=2, description="nodes that a step compares, drawn at random; all, when fewer")
    base: str = Field("static", description=BASE)
    dim: int = Field(256, ge=2, description="numbers in a vector")
    neighbours: int = Field(
        0, ge=0, description="neighbours drawn per node and layer, for graphs too large for a step; 0: all of the graph"
    )


class Nodes:
    """Graphs in; vectors, classes and edges of nodes out.

    Whoever mixes it in before `Method` sets `inside` (numbers in a vector) and calls `_build_head(facts)` in `build`,
    and has `_vectors(features, structure)`, which makes the vectors of all nodes of a graph.
    """

    Data = AttributedGraph
    judge, assess = staticmethod(nodes_or_edges), staticmethod(assess)
    supervised: ClassVar[bool] = False
    head: LogisticHead | None
    options: Any
    facts: dict[str, Any]
    phase: Any
    require_fitted: Any

    def measure(self, data: AttributedGraph) -> dict[str, Any]:
        """How many features nodes have, and which classes; raises `UserError` for a graph of fewer than two nodes."""
        if data.nodes < 2:
            raise UserError(f"{data.source}: a graph of {data.nodes} node teaches nothing")
        labels = data.labels[data.learnable()]
        return {
            "width": self._width(self._prepared(data)[0]),
            "texts": data.features is None,
            "classes": sorted(set(labels.tolist())),
        }

    def _prepared(self, data: AttributedGraph) -> tuple[Tensor | Sparse, Structure]:
        return prepared(data, self.options.base)

    def _width(self, features: Tensor | Sparse) -> int:
        """Numbers per node that the first layer takes."""
        return width_of(features)

    def _build_head(self, facts: dict[str, Any], inside: int) -> None:
        """The linear classifier of frozen vectors, where there are two classes to learn."""
        self.head = LogisticHead(inside, len(facts["classes"])) if len(facts["classes"]) > 1 else None

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        """The vectors of all nodes of a graph."""
        raise NotImplementedError(f"{type(self).__name__}._vectors")

    # Learning -------------------------------------------------------------------------------------------------------

    def phases(self, data: AttributedGraph) -> Sequence[Phase]:
        """What a method learns, then the linear classifier of its vectors."""
        return [*self._learning(data), *self._classifying(data)]

    def _learning(self, data: AttributedGraph) -> Sequence[Phase]:
        """The phases of gradient steps."""
        return []

    def _classifying(self, data: AttributedGraph) -> Sequence[Phase]:
        """One pass that solves the classifier on the labelled nodes."""
        if self.head is None:
            return []
        features, structure = self._prepared(data)
        nodes = data.learnable()
        place = {name: number for number, name in enumerate(self.facts["classes"])}
        labels = torch.tensor([place[name] for name in data.labels[nodes]])
        given = {"features": features, "structure": structure, "nodes": torch.from_numpy(nodes), "labels": labels}

        def visit(batch: dict[str, Any], clock: Clock) -> None:
            assert self.head is not None
            vectors = self._all(batch["features"], batch["structure"])
            self.head.solve(vectors[batch["nodes"]], batch["labels"])

        return [Phase("classify", plan=lambda _: [torch.from_numpy(nodes)], batch=lambda *_: given, visit=visit)]

    def _all(self, features: Tensor | Sparse, structure: Structure) -> Float[Tensor, "n d"]:
        """The vectors of all nodes in the network's precision."""
        held = next(t for t in (*self._tensors(), structure.value) if t.is_floating_point())
        return self._vectors(cast(features, held.dtype), structure)

    def _tensors(self) -> Sequence[Tensor]:
        module: Any = self
        return [*module.parameters(), *module.buffers()]

    # Use ------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def embed(self, data: AttributedGraph) -> Float[Tensor, "r d"]:
        """A vector per row, from the whole graph around it; raises `UserError` when nodes have other features."""
        self.require_fitted()
        features, structure = self._prepared(data)
        if (width := self._width(features)) != self.facts["width"]:
            raise UserError(
                f"{data.source}: nodes have {width} features and the run was fitted on {self.facts['width']}"
            )
        return self._all(features, structure)[torch.from_numpy(data.focus)]

    def predict(self, data: AttributedGraph) -> Predictions:
        """The class of each row, by logistic regression on its vector; raises `UserError` when no class was learned."""
        self.require_fitted()
        if self.head is None:
            raise UserError("the training nodes had no two classes, so none can be predicted; name classes=COLUMN")
        vectors = self.embed(data)
        return Predictions.of_classes(self.facts["classes"], self.head(vectors.to(self.head.weight)))

    def edge_scores(self, data: AttributedGraph, pairs: Int[np.ndarray, "2 p"]) -> Float[Tensor, " p"]:
        """How likely an edge between the nodes of each pair is, by the cosine of their vectors."""
        return pair_scores(self.embed(data.rows_of_all()), torch.from_numpy(np.asarray(pairs)))


class LearnedNodes(Nodes):
    """Nodes whose vectors are learned by gradient steps over the whole graph, or over graphs drawn around some nodes.

    Whoever mixes it in has `losses` over batches whose `views["place"]` are the places of the compared nodes in the
    graph of the step; `hops` is how far its network looks.
    """

    hops: ClassVar[int] = 2

    def _learning(self, data: AttributedGraph) -> Sequence[Phase]:
        return [self.phase("fit", data)]

    def plan(self, data: AttributedGraph, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        """One batch of nodes, drawn from the whole graph: an epoch is one step, as is the custom with graphs."""
        return [torch.randperm(data.nodes, generator=generator)[: self.options.batch_size]]

    def batch(self, data: AttributedGraph, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """The compared nodes, and the graph of the step: all of it, or what is drawn around them."""
        features, structure = self._prepared(data)
        ids = Ids(row=rows, positive=rows)
        if not self.options.neighbours:
            key = ("given", type(self).__name__, repr(self.options))
            if key not in data.held:
                data.held[key] = self._given(features, structure)
            return Batch(ids, {"place": rows}, {"features": features, "structure": structure, **data.held[key]})
        small, met = neighbourhood(structure, rows, self.hops, self.options.neighbours, generator)
        some = rows_of(features, met)
        context = {"features": some, "structure": small, **self._given(some, small)}
        return Batch(ids, {"place": torch.searchsorted(met, rows)}, context)

    def _given(self, features: Tensor | Sparse, structure: Structure) -> dict[str, Any]:
        """What else a step needs of a graph; found once for the whole one."""
        return {}

    def _carried(self, features: Tensor | Sparse, structure: Structure) -> dict[str, Any]:
        """A X of dense features, for methods that alter neither; sparse ones are multiplied quicker as they are."""
        return {"carried": structure.matrix() @ features} if isinstance(features, Tensor) else {}
