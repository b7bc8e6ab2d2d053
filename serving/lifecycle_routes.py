"""How a lifecycle is served: stage, state with probability, what follows, and what moved it."""

from typing import Annotated

from pydantic import BaseModel, Field

from serving.base import Route
from serving.lookup import Lookup
from serving.release import Release
from serving.rows import STRICT
from serving.told import Head, Probability, ServedReply, ToldEndpoints, Why
from training.lifecycle.bundle import LifecycleBundle, State

SAYS = (
    "base + contributions = margin, the log-odds of the state against the runner-up: each "
    "observation by how much it moved them when it became known, the oldest first; of the last "
    "period this is its log-likelihood ratio"
)


class Placed(BaseModel):
    """Where one customer is."""

    model_config = STRICT

    stage: str
    """By rules."""
    periods_in_stage: int
    """As far as the row goes back."""
    state: str
    """Letter of the likeliest learned state; A is the most active."""
    state_name: str
    probability: Probability
    """Of that state, given all periods of the row."""
    margin: Annotated[float, Field(ge=0)]
    """Log-odds of the state against the runner-up."""
    runner_up: str
    buying: Probability
    """Probability of an order in the next period."""
    next: dict[str, Probability]
    """Probability of each state in the next period."""


class Predicted(Head):
    """The reply of ``/predict``."""

    predictions: list[Placed]


class PlacedWhy(Placed, Why):
    """The same with what moved it."""


class Explained(Head):
    """The reply of ``/explain``."""

    space: str
    explains: str
    explanations: list[PlacedWhy]


class Said(BaseModel):
    """A stage by rules."""

    model_config = STRICT

    name: str
    meaning: str


class LifecycleReply(ServedReply):
    """What is served, what its stages and states are, and who approved it."""

    period_days: int
    stages: list[Said]
    hidden_stages: dict[str, str]
    """Stages that the source cannot show, and why."""
    states: list[State]


def routes(bundle: LifecycleBundle, release: Release, lookup: Lookup | None) -> list[Route]:
    """How a lifecycle is served."""
    said = bundle.answer
    facts = {
        "period_days": said.horizon_days,
        "stages": [{"name": s.name, "meaning": s.meaning} for s in said.stages],
        "hidden_stages": said.hidden,
        "states": [state.model_dump() for state in said.states],
    }
    example = bundle.recorded_answers["X"][0]
    serves = ToldEndpoints(bundle, release, lookup, example, SAYS, facts)
    return serves.routes("Stages", Predicted, Explained, LifecycleReply)
