"""Networks for sequences of events: one that learns, and a summary for closed forms."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from counterpoint.multimodal.items import Items, Made
from counterpoint.multimodal.kinds.frozen import vectors_of
from counterpoint.multimodal.kinds.kind import Front, Index
from counterpoint.multimodal.table import View

SUMMED = 50
"""Types in the summary that closed forms take."""
TYPE, UNITS = 32, 64
VALUE, TIME, KIND = 0, 1, 2


class Sequences(Front):
    """n x l x 3 values, times and types, NaN behind the end; what a row has of them is for subclasses to say.

    Values are scaled per type and times together, by the training rows. A type that was not met there has a number of
    its own, the last one; an event without a value has the type's mean, and says so.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.types: list[str] = facts["types"]
        self.length: int = facts["length"]
        self._key = ("events", self.length, repr(self.types))
        self.register_buffer("mean", torch.tensor(facts["mean"], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(facts["scale"], dtype=torch.float32))
        self.time_mean, self.time_scale = float(facts["time"][0]), float(facts["time"][1])

    def tensor(self, view: View, index: Index) -> Float32[Tensor, "n l 3"]:
        """The last events of some rows."""
        assert view.items is not None
        items = view.items
        shape = (self.length, 3)
        made = items.once(self._key, lambda: Made(items, shape, np.float32, self._padder(items), "events"))
        return torch.from_numpy(vectors_of(view, index, made))

    def _padder(self, items: Items) -> Callable[[list[Any]], Float32[np.ndarray, "k l 3"]]:
        """What fills sequences up, with the type numbers of training."""
        number = {name: place for place, name in enumerate(self.types)}
        places = np.array([number.get(name, len(self.types)) for name in items.names], dtype=np.float32)

        def padded(sequences: list[Any]) -> Float32[np.ndarray, "k l 3"]:
            found = np.full((len(sequences), self.length, 3), np.nan, dtype=np.float32)
            for row, sequence in enumerate(sequences):
                events = sequence[-self.length :]
                found[row, : len(events)] = events
                found[row, : len(events), KIND] = places[events[:, KIND].astype(np.int64)]
            return found

        return padded

    def parts(self, values: Float[Tensor, "n l 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Which events there are, their types, scaled values (0 where there is none), which have one, scaled times."""
        there = ~values[:, :, KIND].isnan()
        types = values[:, :, KIND].nan_to_num(float(len(self.types))).long()
        scaled = (values[:, :, VALUE] - self.mean[types]) / self.scale[types]
        times = ((values[:, :, TIME] - self.time_mean) / self.time_scale).nan_to_num()
        return there, types, scaled.nan_to_num(), ~scaled.isnan(), times

    def sample(self, rows: int, generator: torch.Generator) -> Float[Tensor, "n l 3"]:
        """Random events; every row has at least one."""
        types = torch.randint(len(self.types) + 1, (rows, self.length), generator=generator)
        drawn = torch.randn(rows, self.length, 2, generator=generator)
        values = self.mean[types] + self.scale[types] * drawn[:, :, 0]
        times = self.time_mean + self.time_scale * drawn[:, :, 1]
        found = torch.stack([values, times, types.to(values.dtype)], dim=2)
        behind = torch.rand(rows, self.length, generator=generator) < 0.3
        behind[:, 0] = False
        return found.masked_fill(behind[:, :, None], torch.nan)


class Attended(Sequences):
    """Events that learn: each a vector of its type, value and time; their mean, and their mean weighted by attention.

    A reconstruction after the set encoders of health records (types embedded, values and times beside them, attention
    over events); no paper's equations.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.kinds = nn.Embedding(len(self.types) + 1, TYPE)
        self.net = nn.Sequential(nn.Linear(TYPE + 3, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU())
        self.score = nn.Linear(UNITS, 1)
        self.width = 2 * UNITS + 1

    def forward(self, values: Float[Tensor, "n l 3"]) -> Float[Tensor, "n w"]:
        there, types, scaled, known, times = self.parts(values)
        beside = torch.stack([scaled, known.to(scaled.dtype), times], dim=2)
        units = self.net(torch.cat([self.kinds(types), beside], dim=2)) * there[:, :, None]
        count = there.sum(dim=1, keepdim=True).to(units.dtype)
        weight = self.score(units)[:, :, 0].masked_fill(~there, -1e4).softmax(dim=1) * there
        attended = (units * weight[:, :, None]).sum(dim=1)
        return torch.cat([units.sum(dim=1) / count.clamp(min=1), attended, count.log1p()], dim=1)


class Summary(Sequences):
    """What closed forms take of events: per type (the most frequent ones) how many, and the mean and last value."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.summed = min(SUMMED, len(self.types))
        self.width = 3 * self.summed + 1

    def forward(self, values: Float[Tensor, "n l 3"]) -> Float[Tensor, "n w"]:
        there, types, scaled, known, _ = self.parts(values)
        place = torch.arange(values.shape[1], device=values.device)
        columns = [there.sum(dim=1).to(scaled.dtype).log1p()]
        for kind in range(self.summed):
            of_kind = there & (types == kind)
            valued = of_kind & known
            last = torch.where(valued, place, -1).max(dim=1, keepdim=True).values
            mean = (scaled * valued).sum(dim=1) / valued.sum(dim=1).clamp(min=1)
            latest = (scaled * (valued & (place == last))).sum(dim=1)
            columns += [of_kind.sum(dim=1).to(scaled.dtype).log1p(), mean, latest]
        return torch.stack(columns, dim=1)
