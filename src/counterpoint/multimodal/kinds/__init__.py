"""The kinds of view: what a column can be, each in a file of its own."""

from collections.abc import Mapping

from counterpoint.multimodal.kinds.categories import Categories
from counterpoint.multimodal.kinds.events import Events
from counterpoint.multimodal.kinds.kind import Kind
from counterpoint.multimodal.kinds.numbers import Numbers, Vector
from counterpoint.multimodal.kinds.pictures import Pictures
from counterpoint.multimodal.kinds.text import Text
from counterpoint.multimodal.kinds.tokens import TokenKind

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (Numbers(), Vector(), Categories(), Text(), Pictures(), Events(), TokenKind())
}
