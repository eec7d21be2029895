"""A run folder as one page that opens from disk: the verdict first, then what it rests on."""

from counterpoint.reports.page import write
from counterpoint.reports.pictures import png
from counterpoint.reports.rewriting import write_rewriting
from counterpoint.reports.structures import write_structures

__all__ = ["png", "write", "write_rewriting", "write_structures"]
