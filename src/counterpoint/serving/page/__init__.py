"""The page for people: one file that loads nothing but the answers of its own server."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from string import Template


@cache
def page() -> tuple[str, str]:
    """The page, and the content security policy under which only its own script and style run."""
    style, script = (_asset(name) for name in ("style.css", "page.js"))
    text = Template(_asset("page.html")).substitute(style=style, script=script)
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    """One of the page's own files."""
    return (files(__name__) / name).read_text(encoding="utf-8")
