"""HTML in which text is always escaped: only `Html` passes as markup, and only `tag` and `join` make it."""

import html
import json
import math
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Markup that is already safe."""


def safe(child: object) -> Html:
    """Escape anything that is not markup yet.

    >>> safe("<b>"), safe(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return child if isinstance(child, Html) else Html(html.escape(str(child)))


def join(children: Iterable[object]) -> Html:
    """Put pieces side by side."""
    return Html("".join(safe(child) for child in children))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Make one element; `class_` means class, `data_x` data-x, True a bare attribute; None leaves one out.

    >>> tag("a", "x < y", href="#m", class_=None, hidden=True)
    '<a href="#m" hidden>x &lt; y</a>'
    """
    opening = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        opening.append(attribute if value is True else f'{attribute}="{html.escape(str(value))}"')
    return Html(f"<{' '.join(opening)}>{join(children)}</{name}>")


def table(head: Iterable[object], rows: Iterable[Iterable[object]], class_: str | None = None) -> Html:
    """Make a table that scrolls by itself when it is wider than the page; the first column heads its row."""
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    body = (tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows)
    whole = tag("table", top, tag("tbody", *body), class_=class_)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label="table")


def chooser(label: str, shows: str, options: dict[str, str]) -> Html:
    """Make a select that shows one panel of the group `shows`; options are key -> text."""
    choices = (tag("option", text, value=key) for key, text in options.items())
    return tag("label", label, " ", tag("select", *choices, data_shows=shows, autocomplete="off"), class_="chooser")


def panel(group: str, key: str, body: Html, shown: bool) -> Html:
    """Make one of the panels a `chooser` switches between."""
    return tag("div", body, data_panel=group, data_key=key, hidden=not shown)


def json_text(value: Any) -> Html:
    """Write JSON that can stand inside a script element: no character of it can end the element.

    >>> json_text({"id": "</script>", "x": float("nan")})
    '{"id":"\\\\u003c/script\\\\u003e","x":null}'
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(value: Any) -> Any:
    """Turn non-finite numbers, which JSON lacks, into null, and shorten the others to what a chart shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
