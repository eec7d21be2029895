"""Multiplying by a sparse matrix: graphs in compressed rows, with a backward that multiplies by the transpose."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Sparse:
    """A matrix in compressed rows; `mirror` is its transpose, None for one that is symmetric.

    Only the dense factor of a product has a gradient.

    >>> swap = Sparse.of(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.ones(2), (2, 2))
    >>> swap @ torch.tensor([[1.0], [2.0]])
    tensor([[2.],
            [1.]])
    """

    crow: Int[Tensor, " n1"]
    col: Int[Tensor, " e"]
    value: Float[Tensor, " e"]
    columns: int
    mirror: "Sparse | None" = None

    @classmethod
    def of(
        cls,
        rows: Int[Tensor, " e"],
        columns: Int[Tensor, " e"],
        values: Float[Tensor, " e"],
        shape: tuple[int, int],
        symmetric: bool = False,
    ) -> "Sparse":
        """From entries in any order, each at most once; `symmetric` says that the matrix is its own transpose."""
        one = cls(*_compressed(rows, columns, values, shape[0]), shape[1])
        if symmetric:
            return one
        other = cls(*_compressed(columns, rows, values, shape[1]), shape[0])
        return cls(one.crow, one.col, one.value, one.columns, other)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return len(self.crow) - 1, self.columns

    @property
    def T(self) -> "Sparse":  # noqa: N802 - as tensors call it
        """The transpose."""
        if self.mirror is None:
            return self
        plain = Sparse(self.crow, self.col, self.value, self.columns)
        return Sparse(self.mirror.crow, self.mirror.col, self.mirror.value, self.mirror.columns, plain)

    def at(self, rows: Int[Tensor, " r"]) -> "Sparse":
        """Some of its rows, each named once.

        >>> eye = Sparse.of(torch.arange(3), torch.arange(3), torch.ones(3), (3, 3))
        >>> eye.at(torch.tensor([2, 0])) @ torch.tensor([[1.0], [2.0], [3.0]])
        tensor([[3.],
                [1.]])
        """
        lengths = self.crow.diff()[rows]
        crow = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        entry = torch.arange(int(crow[-1]), device=rows.device)
        entry += torch.repeat_interleave(self.crow[rows] - crow[:-1], lengths)
        place = torch.full((self.shape[0],), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        other = self.T
        column = place[other.col]
        kept = (column >= 0).nonzero()[:, 0]
        mirror = Sparse(torch.searchsorted(kept, other.crow), column[kept], other.value[kept], len(rows))
        return Sparse(crow, self.col[entry], self.value[entry], self.columns, mirror)

    def __matmul__(self, dense: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The product with a dense matrix."""
        found: Tensor = _Product.apply(dense, self)  # type: ignore[no-untyped-call]
        return found


def summed_steps(matrix: Sparse, dense: Float[Tensor, "n d"], steps: int) -> Float[Tensor, "n d"]:
    """The sum of what is reached in 0 to `steps` steps: X + A X + A A X + ..., for a square matrix A.

    >>> one = Sparse.of(torch.tensor([0]), torch.tensor([0]), torch.tensor([2.0]), (1, 1))
    >>> summed_steps(one, torch.ones(1, 1), 3)
    tensor([[15.]])
    """
    found: Tensor = _SummedSteps.apply(dense, matrix, steps)  # type: ignore[no-untyped-call]
    return found


class SparseBuffer(nn.Module):
    """Room for a fixed number of entries of a matrix, filled once and saved with the network."""

    crow: Tensor
    col: Tensor
    value: Tensor

    def __init__(self, size: int, entries: int, symmetric: bool = True, columns: int | None = None) -> None:
        super().__init__()
        self.symmetric, self.columns = symmetric, size if columns is None else columns
        self.register_buffer("crow", torch.zeros(size + 1, dtype=torch.int64))
        self.register_buffer("col", torch.zeros(entries, dtype=torch.int64))
        self.register_buffer("value", torch.zeros(entries))
        self._matrix: Sparse | None = None

    def fill(self, matrix: Sparse) -> None:
        """Put a matrix in; it has as many entries as there is room for."""
        for name in ("crow", "col", "value"):
            getattr(self, name).copy_(getattr(matrix, name))
        self._matrix = None

    def matrix(self) -> Sparse:
        """The matrix; the transpose is made once."""
        held = self._matrix
        if held is None or held.crow.data_ptr() != self.crow.data_ptr():
            mirror = None
            if not self.symmetric:
                rows = torch.repeat_interleave(self.crow.diff())
                mirror = Sparse(*_compressed(self.col, rows, self.value, self.columns), len(self.crow) - 1)
            held = self._matrix = Sparse(self.crow, self.col, self.value, self.columns, mirror)
        return held

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._matrix = None

    def forward(self, dense: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The product with a dense matrix."""
        return self.matrix() @ dense


def adjacency(
    edges: Int[Tensor, "2 e"],
    nodes: int,
    weights: Float[Tensor, " e"] | None = None,
    loops: bool = True,
    scale: Literal["symmetric", "rows", "none"] = "symmetric",
    both: bool = True,
) -> Sparse:
    """The adjacency of a graph, normalised: D^-1/2 A D^-1/2, D^-1 A, or as it is.

    Edges that are there several times count once where there are no weights, else their weights are added. `both` adds
    each edge's way back, `loops` an edge of weight 1 from each node to itself (in place of what is there). A node
    without edges keeps a row of zeros. Source: arXiv 1609.02907, section 2.2.

    >>> adjacency(torch.tensor([[0], [1]]), 2).value
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    rows, columns = edges
    value = torch.ones(len(rows)) if weights is None else weights.to(torch.float32)
    if both:
        rows, columns, value = torch.cat([rows, columns]), torch.cat([columns, rows]), value.repeat(2)
    if loops:
        kept, own = rows != columns, torch.arange(nodes)
        rows, columns = torch.cat([rows[kept], own]), torch.cat([columns[kept], own])
        value = torch.cat([value[kept], torch.ones(nodes)])
    keys, place = torch.unique(rows * nodes + columns, return_inverse=True)
    total = torch.zeros(len(keys), dtype=torch.float64).index_add_(0, place, value.to(torch.float64))
    if weights is None:
        total = torch.ones_like(total)
    rows, columns = keys // nodes, keys % nodes
    if scale != "none":
        degree = torch.zeros(nodes, dtype=torch.float64).index_add_(0, rows, total)
        inverse = torch.where(degree > 0, 1 / degree.clamp(min=1e-12), torch.zeros_like(degree))
        total = total * (inverse[rows] if scale == "rows" else (inverse[rows] * inverse[columns]).sqrt())
    mirrored = both and scale != "rows"
    return Sparse.of(rows, columns, total.to(torch.float32), (nodes, nodes), symmetric=mirrored)


def _compressed(
    rows: Int[Tensor, " e"], columns: Int[Tensor, " e"], values: Float[Tensor, " e"], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row starts, columns and values, sorted by row, then column."""
    order = torch.argsort(columns, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    crow = torch.zeros(count + 1, dtype=torch.int64, device=rows.device)
    crow[1:] = torch.bincount(rows, minlength=count).cumsum(0)
    return crow, columns[order], values[order]


class _Product(torch.autograd.Function):
    """A @ X; the gradient of X is A^T times the gradient."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Sparse) -> Tensor:
        ctx.matrix = matrix
        return _multiply(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, None]:
        return _Product.apply(gradients[0], ctx.matrix.T), None  # type: ignore[no-untyped-call]


class _SummedSteps(torch.autograd.Function):
    """(I + A + ... + A^k) X without a sum on the way being kept; the gradient is the same of A^T."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Sparse, steps: int) -> Tensor:
        ctx.matrix, ctx.steps = matrix, steps
        total = dense.clone() if not steps else dense
        for _ in range(steps):
            total = _multiply(matrix, total).add_(dense)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, None, None]:
        return _SummedSteps.apply(gradients[0], ctx.matrix.T, ctx.steps), None, None  # type: ignore[no-untyped-call]


def _multiply(matrix: Sparse, dense: Tensor) -> Tensor:
    # Where the library has it, its kernel that reduces row by row is faster than the general product.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        kept = torch.sparse_csr_tensor(
            matrix.crow, matrix.col, matrix.value.to(dense.dtype), matrix.shape, device=dense.device
        )
        if dense.device.type == "cpu":
            found: Tensor = torch.sparse.mm(kept, dense.contiguous(), "sum")
            return found
        return kept @ dense
