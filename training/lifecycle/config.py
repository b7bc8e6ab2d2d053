"""What the pipeline YAML of a lifecycle says beside what every one says."""

from pydantic import Field, model_validator

from features.settings import Strict
from training.lifecycle.stages import Stage
from training.pipeline import Pipeline, Plan
from training.tasks.lifecycle import Lifecycle


class ChainConfig(Strict):
    """What the hidden Markov model sees, and how many states are tried."""

    observe: tuple[str, ...] = Field(default=("orders", "visits", "opens"), min_length=1)
    """Observables of the feature set ``periods``; the first one has to be ``orders``."""
    levels: dict[str, tuple[int, ...]] = {"orders": (1, 2, 3), "visits": (1, 2, 4)}
    """Counts from which on the next level begins; the first is 1."""
    otherwise: tuple[int, ...] = (1, 3)
    """The same for observables that ``levels`` does not name."""
    states: tuple[int, int] = (2, 7)
    """Fewest and most states that are tried."""
    steps: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    """Steps of a stay that are tried: 1 = its length is geometric, more = negative binomial."""
    enough: float = Field(default=0.01, ge=0)
    """Log-likelihood per period that more states or steps have to add to be worth their trouble."""
    prior: float = Field(default=1.0, gt=0)
    """Added to every expected count, so that nothing is impossible."""

    @model_validator(mode="after")
    def _fits(self) -> "ChainConfig":
        if self.observe[0] != "orders" or len(set(self.observe)) < len(self.observe):
            raise ValueError(f"observe: orders first and nothing twice, found {list(self.observe)}")
        if not 2 <= self.states[0] <= self.states[1] <= 26:
            raise ValueError(f"states: fewest and most, from 2 to 26; found {list(self.states)}")
        if (
            list(self.steps) != sorted(set(self.steps))
            or not 1 <= self.steps[0] <= self.steps[-1] <= 4
        ):
            raise ValueError(f"steps: rising numbers from 1 to 4, found {list(self.steps)}")
        for name, edges in {**self.levels, "otherwise": self.otherwise}.items():
            if not edges or edges[0] != 1 or list(edges) != sorted(set(edges)):
                raise ValueError(f"levels of {name}: counts that rise from 1, found {list(edges)}")
        return self

    def edges(self, name: str) -> tuple[int, ...]:
        """Where the levels of an observable begin."""
        return self.levels.get(name, self.otherwise)


class ActionsConfig(Strict):
    """The next likely action, where the source has events."""

    window_days: int = Field(default=180, ge=14, le=3650)
    """Events of so many days before a cutoff are a customer's sequence."""
    orders: tuple[int, int] = (0, 4)
    """Fewest and most actions that the next one may depend on."""
    test_days: int = Field(default=30, ge=1, le=365)
    """The last days before the test cutoff, on which models are judged; as many before choose."""
    most_actions: int = Field(default=200_000, ge=1_000)
    """Latest actions that the challenger learns from."""


class LifecycleConfig(Pipeline):
    """A pipeline YAML of a lifecycle."""

    stages: tuple[Stage, ...] = Field(min_length=2)
    """The first that fits decides; the last one takes everybody who is left."""
    funnel: tuple[str, ...] = Field(min_length=2)
    """Stages on the way up, in their order."""
    goals: dict[str, tuple[str, ...]] = Field(min_length=1)
    """What paths are told of -> stages that count as having arrived."""
    chain: ChainConfig = ChainConfig()
    kpi_days: int = Field(default=90, ge=1, le=365)
    """Days before the test cutoff that the KPI table is about."""
    actions: ActionsConfig = ActionsConfig()

    @model_validator(mode="after")
    def _named(self) -> "LifecycleConfig":
        names = [stage.name for stage in self.stages]
        doubled = sorted({name for name in names if names.count(name) > 1})
        asked = {*self.funnel, *(name for goal in self.goals.values() for name in goal)}
        if doubled:
            raise ValueError(f"stages: {doubled} stand twice")
        if self.stages[-1].enter:
            raise ValueError("stages: the last one takes everybody who is left: no `enter`")
        if unknown := sorted(asked - set(names)):
            raise ValueError(f"funnel, goals: no stage(s) {unknown} among {names}")
        return self


LifecyclePlan = Plan[LifecycleConfig, Lifecycle]
