"""The frame of every page: head, style and title around a body, and what the page may load."""

from importlib.resources import files
from string import Template

from counterpoint.reports.markup import Html

SCRIPTED = " img-src data:; script-src 'unsafe-inline';"
"""What a page with scripts and pictures of its own may do beyond one without; neither loads anything."""


def asset(name: str) -> str:
    """A file of this folder as text."""
    return (files("counterpoint.reports") / name).read_text(encoding="utf-8")


def framed(
    kind: str,
    title: Html,
    body: Html,
    *,
    skip: str = "",
    contents: str = "",
    scripts: str = "",
    allowed: str = "",
    style: str = "",
) -> str:
    """A whole page; without `scripts` and `allowed` it runs nothing. `style` is added to that of all pages.

    >>> framed("report", Html("a &amp; b"), Html("<p>c</p>")).count("a &amp; b")
    2
    """
    return Template(asset("frame.html")).substitute(
        kind=kind,
        title=title,
        style=asset("style.css") + style,
        body=body,
        skip=skip,
        contents=contents,
        scripts=scripts,
        allowed=allowed,
    )
