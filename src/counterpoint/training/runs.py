"""The run folder: everything needed to repeat, resume and use a fitted method. Atomic; nothing is unpickled."""

import hashlib
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from counterpoint import catalog
from counterpoint.errors import UserError
from counterpoint.files import atomic_path, write_text
from counterpoint.objectives.ranks import rank
from counterpoint.training.tree import load_tree, save_tree

if TYPE_CHECKING:
    from counterpoint.training.method import Method

FORMAT = 1  # raised when an older library could misread the folder


class Run:
    """One run folder.

    `data` is kept in config.yaml beside the data's fingerprint (source, reader options, split). An existing run is
    only touched with `resume=True`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], data: dict[str, Any] | None = None, resume: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.data = data or {}
        self.resume = resume

    # The start of a run ------------------------------------------------------------------------------------

    def begin(self, method: "Method", fingerprint: str | None, settings: dict[str, Any]) -> None:
        """Write config.yaml, or check that the run to resume was made the same way (first rank only).

        Raises `UserError` when the folder holds another run, naming the first difference.
        """
        if rank() != 0:  # the first rank speaks for all, and may already have written the file
            return
        config = {
            "format": FORMAT,
            "counterpoint": version("counterpoint"),
            "method": method.name,
            "options": method.options.model_dump(mode="json"),
            "training": settings,
            "data": {"fingerprint": fingerprint, **self.data},
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
            "facts": method.facts,
        }
        if (self.folder / "config.yaml").exists():
            if not self.resume:
                raise UserError(f"{self.folder} already holds a run; add --resume to go on, or choose another --out")
            self._refuse_difference(self.config(), json.loads(json.dumps(config)))
            for left in self.folder.rglob(".*.tmp"):  # by a process that was killed while it wrote
                left.unlink(missing_ok=True)
        else:
            write_text(self.folder / "config.yaml", _to_yaml(config))

    def config(self) -> dict[str, Any]:
        """What config.yaml says; raises `UserError` when the folder is no run, damaged or from a newer version."""
        path = self.folder / "config.yaml"
        if not path.is_file():
            raise UserError(f"{self.folder} is not a run folder (no config.yaml); fit writes one with --out")
        try:
            config = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # the C twin of safe_load
        except (yaml.YAMLError, UnicodeDecodeError):
            raise UserError(f"{path} is damaged: it is not readable YAML") from None
        if not isinstance(config, dict) or "method" not in config:
            raise UserError(f"{path} is not a run's config: it names no method")
        if not isinstance(config.get("format"), int) or config["format"] > FORMAT:
            raise UserError(
                f"{path} was written by a newer version ({config.get('counterpoint')}); upgrade counterpoint"
            )
        for part in ("options", "training", "data", "facts"):
            if not isinstance(config.get(part), dict):
                raise UserError(f'{path} is damaged: "{part}" is missing or not a mapping')
        return config

    def _refuse_difference(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for part in ("method", "options", "training", "facts"):
            difference = _first_difference(old.get(part), new[part], part)
            if difference:
                raise UserError(f"{self.folder} cannot be resumed: {difference}; use the same, or another --out")
        if old["data"].get("fingerprint") != new["data"]["fingerprint"]:
            raise UserError(
                f"{self.folder} cannot be resumed: the training data differ; use the same, or another --out"
            )

    # While training ----------------------------------------------------------------------------------------

    def event(self, row: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl (first rank only)."""
        if rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            line = json.dumps(_finite({"time": round(time.time(), 3), **row}), allow_nan=False)
            with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def checkpoint(
        self, method: "Method", optimizer: dict[str, Any] | None, at: dict[str, Any], name: str = "last"
    ) -> None:
        """Save all state needed to go on, as one file that is replaced whole (first rank only)."""
        if rank() == 0:
            tree = {
                "state": without(method.state_dict(), method, "borrowed"),
                "tables": method.tables(),
                "optimizer": optimizer,
                "at": at,
                "events": self._events_size(),
            }
            save_tree(self.folder / "checkpoint" / f"{name}.safetensors", tree)

    def restore(self, method: "Method", name: str = "last") -> dict[str, Any] | None:
        """Put a checkpoint's state into the method; returns {"optimizer", "at"}, or None when there is none.

        Events written after the checkpoint are dropped, for they will be written again.
        """
        if not self.resume:
            return None
        path = self.folder / "checkpoint" / f"{name}.safetensors"
        tree = load_tree(path) if path.is_file() else None
        if tree is not None:
            _refuse_foreign(path, tree["state"], method, "borrowed")
            method.load_state_dict(tree["state"], strict=False)
            method.load_tables(tree["tables"])
        if name == "last":
            self._drop_events(tree["events"] if tree else 0)
        return tree and {"optimizer": tree["optimizer"], "at": tree["at"]}

    def _events_size(self) -> int:
        path = self.folder / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def _drop_events(self, size: int) -> None:
        if rank() == 0 and self._events_size() > size:
            os.truncate(self.folder / "metrics.jsonl", size)

    # The end of a run --------------------------------------------------------------------------------------

    def save(self, method: "Method") -> None:
        """Write the weights (without training-only and borrowed parts) and the tables (first rank only)."""
        if rank() != 0:
            return
        for name, rows in method.tables().items():
            write_text(self.folder / "tables" / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        state = without(method.state_dict(), method, "borrowed", "training_only")
        tensors = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}
        with atomic_path(self.folder / "model.safetensors") as temporary:
            save_file(tensors, temporary)

    def load(self) -> "Method":
        """The fitted method, in eval mode; its class comes from the catalog, never from a path in a file.

        Raises `UserError` when the run is unfinished, damaged, foreign or from a newer version.
        """
        config = self.config()
        path = self.folder / "model.safetensors"
        if not path.is_file():
            raise UserError(
                f"{self.folder}: the run did not finish (no model.safetensors); go on with fit ... --resume"
            )
        method: Method = catalog.row(str(config["method"])).load()(**config["options"])
        method.prepare(config["facts"], config["training"].get("seed", 0))
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); fit again or restore the file") from None
        _refuse_foreign(path, state, method, "borrowed", "training_only")
        copied = {key: value.clone() for key, value in state.items()}
        method.load_state_dict(copied, strict=False, assign=True)  # a run in float64 stays one
        method.load_tables(self._tables())
        method.opened(self.folder)
        method.eval()
        return method

    def fingerprint(self) -> str:
        """A hash of what the run learned: its method, options, facts, weights and tables.

        Raises `UserError` when the folder is no finished run.
        """
        config = self.config()
        learned = {part: config[part] for part in ("method", "options", "facts")}
        digest = hashlib.blake2b(json.dumps(learned, sort_keys=True).encode(), digest_size=16)
        for path in (self.folder / "model.safetensors", *sorted((self.folder / "tables").glob("*.jsonl"))):
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
            except OSError:
                raise UserError(f"{path} is missing; the run did not finish") from None
        return digest.hexdigest()

    def _tables(self) -> dict[str, list[dict[str, Any]]]:
        tables: dict[str, list[dict[str, Any]]] = {}
        for path in sorted((self.folder / "tables").glob("*.jsonl")):
            rows = tables[path.stem] = []
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    raise UserError(f"{path}: line {number} is not JSON; the file is damaged") from None
        return tables


def load(folder: str | os.PathLike[str]) -> "Method":
    """Read a fitted method from a run folder; see `Run.load`."""
    return Run(folder).load()


def without(state: dict[str, Tensor], method: nn.Module, *marks: str) -> dict[str, Tensor]:
    """A state without the modules that carry a mark (`training_only = True`, `borrowed = "model name"`)."""
    prefixes = tuple(
        f"{name}."
        for name, module in method.named_modules()
        if name and any(getattr(module, mark, False) for mark in marks)
    )
    return {key: value for key, value in state.items() if not key.startswith(prefixes)} if prefixes else dict(state)


def _refuse_foreign(path: Path, state: dict[str, Tensor], method: nn.Module, *marks: str) -> None:
    """Raise `UserError` unless a state has exactly the tensors of the method, but for parts that carry a mark."""
    expected = without(method.state_dict(), method, *marks)
    for key in sorted(expected.keys() | state.keys()):
        here, there = expected.get(key), state.get(key)
        if here is None or there is None or here.shape != there.shape:
            raise UserError(
                f"{path} does not fit this run's config.yaml (first difference: {key}); one of them is foreign"
            )


def _first_difference(old: Any, new: Any, where: str) -> str | None:
    """Where two JSON values first differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            difference = _first_difference(old.get(key), new.get(key), f"{where}.{key}")
            if difference:
                return difference
        return None
    if old == new or (old != old and new != new):  # NaN is equal to NaN here
        return None
    shown = [text if len(text) < 60 else text[:57] + "..." for text in (json.dumps(old), json.dumps(new))]
    return f"{where} was {shown[0]} and is now {shown[1]}"


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _to_yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110))
