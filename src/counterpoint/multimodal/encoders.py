"""Networks shared by the wing's methods: one encoder per view, all ending in unit vectors of one width."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import Front, How, Pretrained
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import Fronts, batch_of, front_of, hide_views, measure_views, mix_rows, mixes
from counterpoint.objectives import Embeddings, false_negatives
from counterpoint.training import Batch, Clock, Encoded, Method, Optim, SGDConfig, in_chunks
from counterpoint.training.optim import Group

SHORTEST = 1e-4  # shorter vectors have no direction: a row whose hidden units are all off gives 0, and no huge gradient

PACE = {"lora": 0.2, "full": 0.02}
"""Learning rate of a pretrained encoder, as a share of that of the new layers: at 0.001 as for LoRA (arXiv 2106.09685,
appendix D) and fine-tuning (arXiv 1810.04805, appendix A.3), 2e-4 and 2e-5."""

WATCH = 50
"""Steps from one look at the false negatives of a batch to the next; a look costs a forward pass of a loss."""


class ViewsConfig(SGDConfig):
    """Options of every method with one encoder per view.

    The encoder is the one of arXiv 2604.05834's synthetic task: `layers` hidden layers of `hidden` units with ReLU,
    then a linear map to `dim`. `dropout`, `noise` (deviation of Gaussian noise on the scaled inputs), `skip` and `mix`
    (mixup, arXiv 1710.09412, all views of a row alike) are for small tables; `hide` is the share of views hidden at
    random in training, for queries that give only some views.
    """

    epochs: int = Field(0, ge=0, description="passes over the rows; 0: as many as make 2,000 steps, from 5 to 200")
    batch_size: int = Field(128, ge=2, description="rows per step; every row is compared with all others of its batch")

    scaling: Literal["columns", "none"] = Field("columns", description="scale each number by its training rows, or not")
    dim: int = Field(256, ge=2, description="numbers in a vector of the joint space")
    hidden: int = Field(256, ge=1, description="units of a hidden layer")
    layers: int = Field(2, ge=0, description="hidden layers of an encoder")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each hidden layer")
    noise: float = Field(0.0, ge=0, description="deviation of noise added to scaled inputs in training")
    skip: bool = Field(False, description="a linear map of the inputs is added to what the hidden layers give")
    hide: float = Field(0.0, ge=0, lt=1, description="share of views hidden at random in training")
    mix: float = Field(0.0, ge=0, description="mixup: rows mixed in training with others by shares from Beta(mix, mix)")
    pretrained: Pretrained = Field("frozen", description="encoders of texts and pictures: as they are, or learning too")
    lora_rank: int = Field(8, ge=1, description="rank of the updates beside an encoder's layers (pretrained=lora)")
    encoder: dict[str, str] = Field(
        {}, description="encoder.VIEW=SOURCE: static, minilm, e5, efficientnet-lite0, a folder or a name on the hub"
    )
    augment: float = Field(0.5, ge=0, le=1, description="strength of augmentations of pictures whose encoder learns")


class Noise(nn.Module):
    """Gaussian noise while training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x


class ViewEncoder(nn.Module):
    """The tensor of one view -> unit vectors: the kind's own front, then hidden layers and a linear map."""

    def __init__(self, facts: dict[str, Any], options: ViewsConfig, base: Any = None) -> None:
        super().__init__()
        self.front = front_of(facts, base)
        widths = [self.front.width] + [options.hidden] * options.layers
        layers: list[nn.Module] = [Noise(options.noise)] if options.noise else []
        for inputs, outputs in pairwise(widths):
            layers += [linear(inputs, outputs), nn.ReLU()]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
        self.net = nn.Sequential(*layers, linear(widths[-1], options.dim))
        self.skip = nn.Linear(self.front.width, options.dim, bias=False) if options.skip else None
        if self.skip is not None:
            nn.init.normal_(self.skip.weight, std=self.front.width**-0.5)

    def forward(self, values: Tensor) -> Float[Tensor, "n d"]:
        entered = self.front(values)
        found = self.net(entered) if self.skip is None else self.net(entered) + self.skip(entered)
        return normalize(found, dim=1, eps=SHORTEST)


class ViewEncoders(nn.Module):
    """One encoder per view, each initialised from its own stream."""

    def __init__(self, method: Method, facts: dict[str, Any]) -> None:
        super().__init__()
        self.names = list(facts)
        self.towers = nn.ModuleDict()
        bases = getattr(method, "bases", {})
        for name, view in facts.items():
            with method.seeded(f"view {name}"):
                self.towers[f"view_{name}"] = ViewEncoder(view, method.options, bases.pop(name, None))

    @property
    def fronts(self) -> dict[str, Front]:
        """What makes tensors of rows, by view."""
        towers = {name: self.towers[f"view_{name}"] for name in self.names}
        return {name: tower.front for name, tower in towers.items() if isinstance(tower, ViewEncoder)}

    def forward(self, views: Mapping[str, Tensor]) -> Encoded:
        """Vectors and presence of the views given."""
        vectors, present = {}, {}
        for name, values in views.items():
            tower = self.towers[f"view_{name}"]
            assert isinstance(tower, ViewEncoder)
            vectors[name] = tower(values)
            present[name] = tower.front.present(values)
        return Encoded(vectors, present)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Kaiming-normal weights over the fan-out, zero bias (arXiv 2604.05834, released code)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


# What every method with one encoder per view does alike; assigned in the class bodies of the methods.


def how(self: Method) -> How:
    """What the options ask of the kinds of view."""
    o = self.options
    return How(o.scaling == "columns", True, o.pretrained, o.lora_rank, o.encoder, o.augment)


def measure(self: Any, data: Table) -> dict[str, Any]:
    """The facts of each view; pretrained encoders that learn are read, and kept until the network is built."""
    asked = how(self)
    facts = measure_views(data, asked)
    unmixed = [name for name, view in facts.items() if not mixes(view)] if self.options.mix else []
    if unmixed:
        raise UserError(
            f'mix: view "{unmixed[0]}" is not made of numbers that can be mixed; use mix=0, or leave it out'
        )
    self.bases = asked.bases
    return {"views": facts}


def remarks(self: Method, data: Table) -> list[str]:
    """Which pretrained encoders read which views."""
    asked = how(self)
    return [text for view in data.views.values() if (text := KINDS[view.kind].read_by(view, asked)) is not None]


def tables(self: Any) -> dict[str, list[dict[str, Any]]]:
    """The tokenizers of text encoders that are all the run's own."""
    found = {name: front.tokenizer for name, front in self.fronts.items() if front.tokenizer is not None}
    return (
        {"tokenizers": [{"view": name, "tokenizer": json.loads(text)} for name, text in found.items()]} if found else {}
    )


def load_tables(self: Any, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Take the tokenizers."""
    for row in tables.get("tokenizers", []):
        self.fronts[row["view"]].tokenizer = json.dumps(row["tokenizer"], ensure_ascii=False)


def paced(self: Any) -> Optim:
    """The options' optimiser, slower for pretrained encoders that learn, unless a group names their view."""
    optim: Optim = self.options.optim
    learned = [name for name, view in self.facts["views"].items() if view.get("pretrained", "frozen") != "frozen"]
    own = {f"view_{name}.front": Group(lr_scale=PACE[self.options.pretrained]) for name in learned
           if not any(f"view_{name}" in group for group in optim.groups)}  # fmt: skip
    return optim.model_copy(update={"groups": {**optim.groups, **own}}) if own else optim


def encode(self: Any, views: dict[str, Tensor]) -> Encoded:
    """Unit vectors of the tensors of views; while training in chunks of rows if the Trainer says so."""
    encoded: Encoded = in_chunks(self.encoders, views, self.chunk if self.training else 0)
    return encoded


def watch(self: Any, encoded: Encoded, batch: Batch, clock: Clock) -> None:
    """Note now and then which share of the in-batch negatives is at least as near as the positive (first two views)."""
    if clock.step % WATCH:
        return
    one, other = list(encoded.vectors)[:2]
    both = encoded.present[one] & encoded.present[other]
    sides = [Embeddings(encoded.vectors[name][both], batch.ids[both]) for name in (one, other)]
    self.note(false_negatives=false_negatives(*sides).share)


def fronts(self: Any) -> Fronts:
    """What makes tensors of rows, by view."""
    found: Fronts = self.encoders.fronts
    return found


def batch(self: Any, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
    """Some rows as tensors, pictures that learn augmented, a share of the views hidden if the options say so."""
    made = batch_of(data, rows, self.fronts, generator if self.options.pretrained != "frozen" else None)
    if self.options.mix:
        mix_rows(made, self.options.mix, generator)
    if self.options.hide:
        hide_views(made, self.options.hide, generator)
    return made


def clamp_scale(self: Any, batch: Any, clock: Clock) -> None:
    """Keep the learned scale under its cap."""
    self.scale.clamp_()
