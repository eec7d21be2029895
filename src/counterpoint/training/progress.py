"""A progress bar on long work: only on a terminal, never in the way."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """Shows steps done of steps planned, with the latest values; silent when off or when stderr is no terminal."""

    def __init__(self, name: str, steps: int, on: bool = True) -> None:
        self.name, self.steps = name, steps
        self.on = on and steps > 1 and sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if self.on:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.steps, values="")
        return self

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Say how many steps are done, and the latest values."""
        if self._bar is not None:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in (values or {}).items())
            self._bar.update(self._task, completed=done, values=shown)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
