"""The engine behind every loss: queries and keys where they are compared, masses, and one formula.

Conventions, the same for every loss here:

- Vectors are used as they are; normalise them first where cosines are meant. Half precision is raised to
  fp32 on entry.
- A query without a positive is skipped and counted (`RowLoss.valid`, `RowLoss.skipped`).
- A query with a positive but without a negative, in the keys or in a further mass, has nothing to be told
  apart from: skipped too.
- A mass of nothing is -inf; it adds nothing to a denominator and passes no gradient.
- With several positives the loss is the mean over them (L_out of SupCon), each against the same denominator.
- Keys, unless they are `everywhere`, are gathered from all ranks; each rank returns the losses of its own
  queries.
- A key's `log_weight` enters denominators, never a positive's own logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.objectives.ranks import world
from counterpoint.objectives.relation import Embeddings, Itself, Keys, Queries, Relation, RowLoss, paired
from counterpoint.objectives.select import Over, positive_pairs, products, select
from counterpoint.objectives.streamed import Sheet, log_sum, masses

Temperature = float | Float[Tensor, ""]


def log_mass(
    queries: Queries, keys: Keys, *, temperature: Temperature, itself: Itself = "positive", over: Over = "all"
) -> Float[Tensor, " n"]:
    """The log-sum-exp of each query's logits with some keys: a denominator, or a part of one.

    Streamed, exact, differentiable in vectors and temperature; -inf where nothing is compared.

    >>> view = torch.nn.functional.normalize(torch.ones(3, 8))
    >>> log_mass(view, view, temperature=0.5, over="negatives").exp().log()
    tensor([2.6931, 2.6931, 2.6931])
    """
    return Comparison.of(*paired(queries, keys), temperature, itself).masses(over)


def log_masses(
    queries: Queries, keys: Keys, *, temperature: Temperature, itself: Itself = "positive", over: Over = "all"
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
    """`log_mass` of the queries over the keys and of the keys over the queries.

    One pass over the tiles; two on several ranks, where this rank's rows meet everyone's columns and the
    other way round.

    >>> view0, view1 = torch.rand(3, 8), torch.rand(5, 8)
    >>> of_rows, of_columns = log_masses(view0, view0, temperature=0.5)
    """
    left, right = paired(queries, keys)
    forth = Comparison.of(left, right, temperature, itself)
    if world() == 1:
        of_queries, of_keys = forth.masses(over, both=True).split([len(left), len(right)])
        return of_queries, of_keys
    return forth.masses(over), Comparison.of(right, left, temperature, itself).masses(over)


def attraction(
    queries: Queries, keys: Keys, *, temperature: Temperature, itself: Itself = "positive"
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The mean logit of each query's positives, -inf where it has none, and their number.

    By class sums, in O((n + m) d).

    >>> view = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> attraction(view, view, temperature=0.5)
    (tensor([2.0000, 2.0000]), tensor([1, 1]))
    """
    return Comparison.of(*paired(queries, keys), temperature, itself).attraction()


def mine(
    queries: Queries, keys: Keys, k: int, *, temperature: Temperature, itself: Itself = "positive"
) -> Float[Tensor, " n"]:
    """The log-mass of the k hardest negatives of each query, those with the largest logits; memory O(n k d).

    >>> mine(torch.eye(3), torch.eye(3), 1, temperature=1.0)
    tensor([0., 0., 0.])
    """
    sides = Comparison.of(*paired(queries, keys), temperature, itself)
    weight = sides.relation.keys.log_weight
    sheet = Sheet(sides.rows.detach(), sides.columns.detach(), select(sides.relation, "negatives"))
    found, chosen = _hardest(sheet, weight, k)
    logits = (sides.rows[:, None] * sides.columns[chosen]).sum(-1)
    if weight is not None:
        logits = logits + weight[chosen]
    return log_sum(logits.masked_fill(found == -torch.inf, -torch.inf), dim=1)


def against(
    positive: Float[Tensor, " n"], *sums: Float[Tensor, " n"], valid: Bool[Tensor, " n"] | None = None
) -> RowLoss:
    """-log(e^positive / sum of e^mass): a positive against a sum of masses; every preset ends here.

    The positive is in the denominator only if one of the masses holds it. Rows whose positive or whole
    denominator is -inf are not valid, nor are those that `valid` leaves out; a NaN stays visible.

    >>> against(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([0.0])).value
    tensor([0.6931])
    """
    total = sums[0] if len(sums) == 1 else log_sum(torch.stack(sums), dim=0)
    counted = (positive != -torch.inf) & (total != -torch.inf)
    if valid is not None:
        counted = counted & valid
    return RowLoss(torch.where(counted, total - positive, 0), counted)


def scaled(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"], temperature: Temperature
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Both sides in at least fp32, the queries over the temperature, so that their products are logits.

    A set with itself stays one: both sides are it over the root of the temperature. Raises ValueError for a
    temperature that is not above 0.

    >>> scaled(torch.ones(1, 1), torch.ones(1, 1), 0.25)
    (tensor([[4.]]), tensor([[1.]]))
    """
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"a temperature is above 0, not {temperature}")
    kind = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    if queries is keys:
        both = queries.to(kind) * temperature**-0.5
        return both, both
    scale = temperature.reciprocal() if isinstance(temperature, Tensor) else 1 / temperature
    return queries.to(kind) * scale, keys.to(kind)


@dataclass(frozen=True)
class Comparison:
    """Queries and keys where they are compared: vectors whose products are logits, and their relation."""

    rows: Float[Tensor, "n d"]
    columns: Float[Tensor, "m d"]
    relation: Relation

    @classmethod
    def of(
        cls,
        queries: Embeddings,
        keys: Embeddings,
        temperature: Temperature,
        itself: Itself,
    ) -> "Comparison":
        """This rank's queries with the keys of all ranks."""
        keys = keys.gathered()
        rows, columns = scaled(queries.vectors, keys.vectors, temperature)
        return cls(rows, columns, Relation(queries.ids, keys.ids, itself))

    @property
    def alone(self) -> bool:
        """Whether a set is compared with itself."""
        return self.rows is self.columns and self.relation.queries is self.relation.keys

    @property
    def turned(self) -> "Comparison":
        """The keys as queries."""
        relation = self.relation
        return Comparison(self.columns, self.rows, Relation(relation.keys, relation.queries, relation.itself))

    @property
    def paired_off(self) -> bool:
        """Whether row i belongs to column i and every other pair is a negative, of which there are some."""
        return len(self.rows) > 1 and world() == 1 and not self.alone and self.relation.diagonal

    def terms(
        self, over: Over, both: bool = False
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"], Bool[Tensor, " rows"]]:
        """(log-mass, mean positive logit, has a negative) of the queries, and with `both` then of the keys."""
        sides = [self, self.turned] if both else [self]
        positive = torch.cat([mean for mean, _ in self._attractions(both)])
        opposed = torch.cat([side.relation.has_negative() for side in sides])
        return self.masses(over, both), positive, opposed

    def masses(self, over: Over, both: bool = False) -> Float[Tensor, " sums"]:
        """The log-masses of the queries, and with `both` then of the keys."""
        return masses(
            self.rows,
            None if self.alone else self.columns,
            selection=select(self.relation, over),
            row_weight=self.relation.queries.log_weight,
            column_weight=self.relation.keys.log_weight,
            both=both,
        )

    def attraction(self) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
        """The mean logit of each query's positives and their number: by pairs if few, else by class sums."""
        return self._attractions(both=False)[0]

    def _attractions(self, both: bool) -> list[tuple[Float[Tensor, " rows"], Int[Tensor, " rows"]]]:
        """The attraction of the queries, and with `both` then of the keys, whose positives are the same pairs."""
        pairs = positive_pairs(self.relation)
        if pairs is None:
            sums = [side._class_sums() for side in ([self, self.turned] if both else [self])]
        else:
            logits = products(self.rows, self.columns, *pairs)
            sums = [_sums(logits, at, n) for at, n in zip(pairs, self.relation.shape[: 1 + both], strict=False)]
        return [((total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf), count) for total, count in sums]

    def positive_masses(self) -> Float[Tensor, " n"]:
        """The log-mass of each query's positives; a single one is its own mass."""
        mean, count = self.attraction()
        if self.relation.keys.log_weight is None and bool((count < 2).all()):
            return mean
        return self.masses("positives")

    def _class_sums(self) -> tuple[Tensor, Tensor]:
        """The class, without the own row, plus the own row if it counts as positive: sums over equal ids."""
        a, b = self.relation.queries, self.relation.keys
        within = [] if a.within is None or b.within is None else [(a.within, b.within)]
        row, positive = (a.row, b.row), (a.positive, b.positive)
        columns = torch.cat([self.columns, self.columns.new_ones(len(self.columns), 1)], dim=1)
        total = _group_sums([positive, *within], columns) - _group_sums([row, positive, *within], columns)
        if self.relation.itself == "positive":
            total = total + _group_sums([row, *within], columns)
        return (self.rows * total[:, :-1]).sum(1), total[:, -1].detach().round().long()


def _sums(logits: Tensor, row: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The sum of the logits of each of n rows, and their number."""
    return logits.new_zeros(n).index_add(0, row, logits), row.bincount(minlength=n)


def _group_sums(columns: Sequence[tuple[Tensor, Tensor]], vectors: Tensor) -> Tensor:
    """For each query the sum of the vectors of the keys that equal it in every (query, key) column."""
    n = len(columns[0][0])
    group = torch.zeros(n + len(vectors), dtype=torch.int64, device=vectors.device)
    known = torch.ones(n, dtype=torch.bool, device=vectors.device)
    for of_queries, of_keys in columns:
        values, column = torch.unique(torch.cat([of_queries, of_keys]), return_inverse=True)
        group = torch.unique(group * len(values) + column, return_inverse=True)[1]
        known &= of_queries >= 0
    sums = vectors.new_zeros(n + len(vectors), vectors.shape[1]).index_add(0, group[n:], vectors)
    return sums.index_select(0, group[:n]) * known[:, None]


def _hardest(sheet: Sheet, weight: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """The k largest logits of each row and their columns, -inf where there are fewer."""
    n = len(sheet.rows)
    best = sheet.rows.new_full((n, k), -torch.inf)
    chosen = torch.zeros(n, k, dtype=torch.int64, device=best.device)
    for i, j in sheet.tiles():
        logits = sheet.logits(i, j) if weight is None else sheet.logits(i, j) + weight[j]
        found, where = torch.cat([best[i], logits], dim=1).topk(k, dim=1)
        columns = torch.arange(j.start, j.stop, device=best.device).expand(len(logits), -1)
        chosen[i] = torch.cat([chosen[i], columns], dim=1).gather(1, where)
        best[i] = found
    return best, chosen
