"""What a space of views is used for and judged by, mixed into the classes of the methods that make one."""

from typing import Any

from counterpoint.multimodal import encoders, use
from counterpoint.multimodal.assess import assess
from counterpoint.multimodal.encoders import ViewEncoders
from counterpoint.multimodal.judge import cross_view
from counterpoint.multimodal.table import Table
from counterpoint.objectives import LogScale


class Space:
    """Tables in; retrieval from any subset of views, reliability, and the wing's judgement.

    Whoever mixes it in before `Method` has `encode(views)` and `scores(given, target, candidates)`.
    """

    Data = Table
    judge, assess = staticmethod(cross_view), staticmethod(assess)
    embed_views, retrieve, reliability = use.embed_views, use.retrieve, use.reliability


class LearnedSpace(Space):
    """A space with one network per view that ends in unit vectors, and a learned scale `self.scale`."""

    scale: LogScale
    measure, encode, batch, after = encoders.measure, encoders.encode, encoders.batch, encoders.clamp_scale
    embed, phases = use.embed, use.phases

    def build_space(self: Any, views: dict[str, Any]) -> None:
        """One encoder per view, and room for the yardstick of `reliability`; no scale yet."""
        self.encoders = ViewEncoders(self, views)
        use.allocate_references(self, dict.fromkeys(views, self.options.dim))

    def build_temperature(self: Any) -> None:
        """The learned inverse of `options.temperature`, capped at 100 or where it starts."""
        start: float = 1 / self.options.temperature
        self.scale = LogScale(start, maximum=max(100.0, start))
