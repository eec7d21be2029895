"""What a space of views is used for and judged by, mixed into the classes of the methods that make one."""

from typing import Any

from counterpoint.multimodal import encoders, use
from counterpoint.multimodal.assess import assess
from counterpoint.multimodal.encoders import ViewEncoders
from counterpoint.multimodal.impute import impute
from counterpoint.multimodal.judge import cross_view
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import Fronts
from counterpoint.objectives import LogScale

REFERENCE = "`reference NAME` holds vectors of some training rows, which only `reliability` compares with."
JOINT = f"""The joint vector is the mean of the vectors of the views that are present, divided by its length (at least
1e-12); zero for a row without any. {REFERENCE}"""


def scaled(part: str) -> str:
    """The first steps of every recipe: raw numbers of a view -> what its network or projection takes."""
    return f"""For each view NAME, x being its numbers in one row, NaN where missing:

1. (x - `{part}.mean`) / `{part}.scale`; then append, for each column that `views.NAME.gaps` of the facts
   lists, 1 where it is missing and 0 where not; then put 0 for every NaN.
2. The view is absent where all of its numbers are missing, or one is missing in a column that `gaps` does not list.

x of a frozen text or picture view is the vector of its encoder (`views.NAME.base`). Categories are 1 for the level that
a column has among `views.NAME.levels`, or in the place behind them for a rare or new one, columns side by side, then
the gaps; step 1 is left out. Encoders that learn, and events, have a `front` with tensors of their own, named as in the
library's class of the view's kind."""


class Space:
    """Tables in; retrieval from any subset of views, reliability, and the wing's judgement.

    Whoever mixes it in before `Method` has `encode(views)` and `scores(given, target, candidates)`. `recipe` says in
    words how vectors follow from the saved tensors, for whoever reads them without this library.
    """

    Data = Table
    judge, assess = staticmethod(cross_view), staticmethod(assess)
    embed, embed_views, joint = use.embed, use.embed_views, use.joint
    retrieve, reliability = use.retrieve, use.reliability
    impute = impute
    recipe: str

    @property
    def fronts(self: Any) -> Fronts:
        """What makes tensors of rows, by view; here that of methods with `scalers`."""
        found: Fronts = self.scalers.fronts
        return found


class LearnedSpace(Space):
    """A space with one network per view that ends in unit vectors, and a learned scale `self.scale`."""

    scale: LogScale
    measure, encode, batch, after = encoders.measure, encoders.encode, encoders.batch, encoders.clamp_scale
    fronts = property(encoders.fronts)
    remarks, tables, load_tables = encoders.remarks, encoders.tables, encoders.load_tables
    phases = use.phases
    recipe = f"""{scaled("encoders.towers.view_NAME.front")}
3. For each `encoders.towers.view_NAME.net.K.weight` in the order of K: W x + b, then ReLU after all but the last;
   where there is an `encoders.towers.view_NAME.skip.weight`, add it times what step 1 gave.
4. Divide by the length (at least 1e-4). That is the view's vector.

{JOINT}"""

    def _build_space(self: Any, views: dict[str, Any]) -> None:
        """One encoder per view, and room for the yardstick of `reliability`; no scale yet."""
        self.encoders = ViewEncoders(self, views)
        use.allocate_references(self, dict.fromkeys(views, self.options.dim))

    def _build_temperature(self: Any) -> None:
        """The learned inverse of `options.temperature`, capped at 100 or where it starts."""
        start: float = 1 / self.options.temperature
        self.scale = LogScale(start, maximum=max(100.0, start))
