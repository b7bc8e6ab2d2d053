"""A model as a pipeline YAML names it: its settings, what stands beside it, and its repairs."""

from pydantic import Field

from features.settings import Part, resolve
from training.bundle import MODELS
from training.contract import Model
from training.repairs import Repair, Repaired

BLEND = "blend.Blend"


class ModelPart(Part):
    """A model in a pipeline YAML."""

    averaged_with: tuple[Part, ...] = Field(default=(), max_length=7)
    """Models whose log-odds are averaged with its own; the search is for the model alone."""
    own_share: float = Field(default=0.5, gt=0, lt=1)
    """What its own log-odds weigh in that mean, if there are others, which share the rest alike."""
    repairs: dict[str, Repair] = {}
    """Feature column -> what is done to its values before the model sees them."""

    @property
    def alone(self) -> "ModelPart":
        """The model without those that it is averaged with."""
        return self.model_copy(update={"averaged_with": ()})

    @property
    def named(self) -> str:
        """What people read: the model, and those that it is averaged with."""
        return " + ".join(part.use for part in (self, *self.averaged_with))


def built(part: Part) -> Model:
    """The model that ``part`` names, with those beside it, behind its repairs.

    Raises
    ------
    ConfigError
        If a part is none, its settings do not fit, or it gives no log-odds to take a mean of.
    """
    declared = part if isinstance(part, ModelPart) else ModelPart(**part.model_dump())
    model: Model = resolve(MODELS, _whole(declared))
    return Repaired(model, declared.repairs) if declared.repairs else model


def _whole(part: ModelPart) -> Part:
    if not part.averaged_with:
        return part
    parts = [{"use": p.use, "config": p.config} for p in (part, *part.averaged_with)]
    return Part(use=BLEND, config={"parts": parts, "first_share": part.own_share})
