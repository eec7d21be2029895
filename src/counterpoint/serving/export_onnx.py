"""One ONNX graph from raw values (or token numbers) to vectors, for any number of rows, checked in onnxruntime."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError, need
from counterpoint.serving.export import Written, text_encoder
from counterpoint.training import Method, rng

FILE = "model.onnx"
LARGEST = 2**30
"""Bytes of weights that go into the file itself; an ONNX file has an end at 2 GiB, so larger ones stand beside it."""
ROWS = (1, 7, 32)
"""Rows of the batches that the graph is checked with."""


class Views(nn.Module):
    """Raw values of every view, NaN where missing -> the joint vectors, and each view's (NaN where a row lacks it)."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method
        self.names = list(method.facts["views"])

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        encoded = self.method.encode(dict(zip(self.names, values, strict=True)))
        absent = {name: ~present[:, None] for name, present in encoded.present.items()}
        views = (vectors.masked_fill(absent[name], torch.nan) for name, vectors in encoded.vectors.items())
        return self.method.joint(encoded), *views


class Texts(nn.Module):
    """Token numbers, and 1 for tokens or 0 for filling -> unit vectors of the texts."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Int[Tensor, "n l"], mask: Int[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        vectors: Tensor = self.encoder.pooled(self.encoder.words(ids), mask)
        return vectors


@dataclass(frozen=True)
class Graph:
    """A network to export: names of its inputs and outputs, which axes vary, and batches to check it with."""

    network: nn.Module
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Sequence[dict[int, str]]
    batches: Sequence[tuple[Tensor, ...]]
    use: str


def write(method: Method, folder: Path) -> Written:
    """Write model.onnx (for texts also tokenizer.json), and run it on batches of several sizes."""
    runtime = need("onnxruntime", "export")
    graph = _graph(method, folder)
    method.eval()
    _write_graph(graph, folder / FILE)
    session = runtime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
    if fixed := [one.name for one in session.get_inputs() if not isinstance(one.shape[0], str)]:
        raise UserError(f"{method.name}: its graph takes one number of rows only ({', '.join(fixed)})")
    difference = max(_difference(graph, session, batch) for batch in graph.batches)
    return Written(graph.use, difference)


def _graph(method: Any, folder: Path) -> Graph:
    if (encoder := text_encoder(method)) is not None:
        return _of_texts(encoder, folder)
    if "views" in method.facts and hasattr(method, "joint"):
        return _of_views(method)
    raise UserError(f"{method.name} has no network that makes a vector of one row; it cannot be exported to onnx")


def _of_views(method: Any) -> Graph:
    facts = method.facts["views"]
    names = list(facts)
    samples = {rows: _values_like(method, rows) for rows in ROWS}
    shapes = {name: tuple(values.shape[1:]) for name, values in zip(names, samples[ROWS[0]], strict=True)}
    kinds = {name: "float32" if values.is_floating_point() else "int64"
             for name, values in zip(names, samples[ROWS[0]], strict=True)}  # fmt: skip
    lines = [f'    "values:{name}": np.zeros({(3, *shapes[name])}, np.{kinds[name]}),' for name in names]
    forms = "".join(f"- `{name}`: {form}.\n" for name, form in _forms(facts).items())
    use = f"""Raw values of each view go in, NaN where missing; a view that a row lacks is all NaN. Out come `joint` and
`view:NAME`, rows of NaN where a row lacks the view. Any number of rows.
{forms and chr(10) + forms}
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{FILE}")
values = {{
{chr(10).join(lines)}
}}
joint, *views = session.run(None, values)
```"""
    return Graph(
        network=Views(method),
        inputs=[f"values:{name}" for name in names],
        outputs=["joint", *(f"view:{name}" for name in names)],
        axes=[{0: "rows"} for _ in names],
        batches=list(samples.values()),
        use=use,
    )


def _forms(facts: dict[str, Any]) -> dict[str, str]:
    """What goes in for the views that are not of numbers."""
    from counterpoint.multimodal.kinds import KINDS

    kinds = {name: view.get("kind", "numbers") for name, view in facts.items()}
    return {name: KINDS[kind].enters for name, kind in kinds.items() if kind not in ("numbers", "vector")}


def _values_like(method: Any, rows: int) -> tuple[Tensor, ...]:
    """Random values such as the training rows have, some missing, and of every seventh row a whole view."""
    generator = rng(0, "export", rows)
    found = []
    for number, (name, front) in enumerate(method.fronts.items()):
        try:
            values = front.sample(rows, generator)
        except UserError as reason:
            raise UserError(f'{method.name}: view "{name}" {reason}') from None
        values[number::7] = torch.nan if values.is_floating_point() else -1
        found.append(values)
    return tuple(found)


def _of_texts(encoder: Any, folder: Path) -> Graph:
    (folder / "tokenizer.json").write_text(encoder.tokeniser.json(), encoding="utf-8")
    longest = encoder.facts["max_length"]
    use = f"""Out come unit vectors, for any number of texts of any length up to {longest} tokens.

```python
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_padding(pad_id={encoder.facts["padding"]})
texts = tokenizer.encode_batch(["a short text", "a text that is a little longer"])
session = onnxruntime.InferenceSession("{FILE}")
values = {{
    "input_ids": np.array([text.ids for text in texts]),
    "attention_mask": np.array([text.attention_mask for text in texts]),
}}
(vectors,) = session.run(None, values)
```{_prompts(encoder)}"""
    vocabulary = encoder.facts["config"]["vocab_size"]
    return Graph(
        network=Texts(encoder),
        inputs=["input_ids", "attention_mask"],
        outputs=["vectors"],
        axes=[{0: "rows", 1: "tokens"}, {0: "rows", 1: "tokens"}],
        batches=[_tokens_like(vocabulary, rows, min(rows + 4, longest)) for rows in ROWS],
        use=use,
    )


def _prompts(encoder: Any) -> str:
    lines = [f"- {name}: `{text}`" for name, text in encoder.tokeniser.prompts.items()]
    return "\n\nThe encoder was made with these texts put before others:\n\n" + "\n".join(lines) if lines else ""


def _tokens_like(vocabulary: int, rows: int, longest: int) -> tuple[Tensor, ...]:
    """Random token numbers, rows of different length."""
    ids = torch.randint(vocabulary, (rows, longest), generator=rng(0, "export", rows))
    lengths = 2 + torch.arange(rows) % (longest - 1)
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return ids * mask, mask


def _write_graph(graph: Graph, path: Path) -> None:
    """Trace the network with symbolic sizes and save the graph."""
    for module in ("onnx", "onnxscript"):
        need(module, "export")
    weights = sum(t.numel() * t.element_size() for t in graph.network.state_dict().values())
    names = {name for axes in graph.axes for name in axes.values()}
    sizes = {name: torch.export.Dim(name) for name in sorted(names)}
    axes = tuple({axis: sizes[name] for axis, name in one.items()} for one in graph.axes)
    shapes = (axes,) if isinstance(graph.network, Views) else axes  # *values is one argument, a tuple
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.network,
            graph.batches[1],
            dynamo=True,
            verbose=False,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=shapes,
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # stack traces, with the paths of this machine
        program.save(path, external_data=weights > LARGEST)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own inside and of packages that are not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _difference(graph: Graph, session: Any, batch: tuple[Tensor, ...]) -> float:
    """The largest difference between the runtime's numbers and torch's; infinite when they disagree on NaN."""
    expected = graph.network(*batch)
    expected = expected if isinstance(expected, tuple) else (expected,)
    given = {name: values.numpy() for name, values in zip(graph.inputs, batch, strict=True)}
    worst = 0.0
    for ours, theirs in zip((one.numpy() for one in expected), session.run(None, given), strict=True):
        if ours.shape != theirs.shape or not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return float("inf")
        gaps = np.abs(ours - theirs)[~np.isnan(ours)]
        worst = max(worst, float(gaps.max(initial=0.0)))
    return worst
