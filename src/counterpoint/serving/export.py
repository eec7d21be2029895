"""A fitted run in a form that other tools read, checked before it is left: the folder appears whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from counterpoint import catalog
from counterpoint.card import model_card
from counterpoint.errors import UserError, nearest
from counterpoint.files import write_text
from counterpoint.training import Method, Run

CLOSE = 1e-5
"""How far a number of an exported vector may be from the run's own."""


@dataclass(frozen=True)
class Written:
    """What a writer left in its folder: how to use it (Markdown), and how far its vectors are from the run's."""

    use: str
    difference: float


Writer = Callable[[Method, Path], Written]
WRITERS: Mapping[str, str] = {
    "safetensors": "counterpoint.serving.export_weights:write",
    "onnx": "counterpoint.serving.export_onnx:write",
    "sentence-transformers": "counterpoint.serving.export_sentences:write",
    "transformers": "counterpoint.serving.export_classifier:write",
}


def export(run: Path, to: str, folder: Path) -> dict[str, Any]:
    """Write the method of a run folder to a new folder, with a model card; returns what was written.

    `to` is "safetensors" (weights and facts as JSON), "onnx" (checked in onnxruntime), "sentence-transformers"
    (methods for text; checked in that library) or "transformers" (classifiers of texts; checked in that library).
    Raises `UserError` when the method has no such form, when the folder is not empty, and when the exported vectors
    are further than 1e-5 from the run's own.
    """
    if to not in WRITERS:
        raise UserError(f'cannot export to "{to}"; {nearest(to, WRITERS)}')
    method = Run(run).load()
    module, _, name = WRITERS[to].partition(":")
    writer: Writer = getattr(import_module(module), name)
    with new_folder(folder) as temporary:
        written = writer(method, temporary)
        if not written.difference <= CLOSE:
            raise UserError(
                f"{run}: its {to} form gives vectors that differ by {written.difference:.1e} from the run's own; "
                "nothing was written"
            )
        card = model_card(catalog.row(method.name), Run(run).config(), _evaluation(run), written.use)
        write_text(temporary / "README.md", card)
        files = {str(path.relative_to(temporary)): path.stat().st_size for path in _files(temporary)}
    return {"folder": str(folder), "to": to, "files": files, "difference": written.difference}


def text_encoder(method: Any) -> Any:
    """The encoder of a method of texts, None for other methods."""
    encoder = getattr(method, "encoder", None)
    return encoder if hasattr(encoder, "tokeniser") else None


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder` that becomes it if the block succeeds.

    Raises `UserError` when something stands there, or the disk refuses.

    >>> target = Path(tempfile.mkdtemp()) / "made"
    >>> with new_folder(target) as temporary:
    ...     _ = (temporary / "a.txt").write_text("whole")
    >>> [path.name for path in target.iterdir()]
    ['a.txt']
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; choose another folder")
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield temporary
        for path in (temporary, *temporary.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        temporary.replace(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _evaluation(run: Path) -> dict[str, Any]:
    """What evaluation.json says, nothing when the run was never judged."""
    path = run / "evaluation.json"
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is damaged: it is not JSON; fit again or restore the file") from None
    return found
