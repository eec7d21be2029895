"""Options of a method: what changes the number it produces, and nothing else."""

from pydantic import BaseModel, ConfigDict, Field

from counterpoint.training.optim import Optim
from counterpoint.training.phase import Keep


class MethodConfig(BaseModel):
    """No options at all; a method adds its own fields, each an equation's constant or a switch of its card."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SGDConfig(MethodConfig):
    """Options of every method trained by gradient steps."""

    optim: Optim = Optim()
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(256, ge=2)
    keep: Keep | None = None
