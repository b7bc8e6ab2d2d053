"""Search for parameters on validation blocks with Optuna; returns a config, never a model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from features.errors import ConfigError
from features.settings import Part, Strict, fingerprint, resolve
from training.bundle import MODELS
from training.calibrate import uncalibrated
from training.contract import Floats, Kind, Model, matrix
from training.metrics import LOWER_IS_BETTER, METRICS, OF_KIND, Ranked
from training.model_part import ModelPart, built
from training.splits import Block, Round
from training.study import SharedStudy

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STARTUP = 4
"""Trials before any is proposed by what others found, or pruned."""
ROUNDS = "trees"
"""Field of a boosted model's config that early stopping chooses."""
Bound = tuple[float, float] | tuple[float, float, Literal["log"]]


class SearchConfig(Strict):
    """What is searched, for how long, judged by what."""

    trials: int = Field(default=10, ge=0, le=10_000)
    """Trials; the first is the config as written. 0 = no search."""
    metric: str = "average_precision"
    """Mean over the validation blocks of this metric of the uncalibrated score."""
    early_stopping: bool = False
    """Whether boosting stops where the validation blocks, which come later than what taught, are
    answered best: ``trees`` of the config is then the most there may be."""
    space: dict[str, Bound] = {}
    """Field of the model's config -> ``[low, high]`` or ``[low, high, log]``, both inclusive."""
    start: tuple[dict[str, float], ...] = ()
    """Parameters to try after the config as written, such as those of the champion."""
    together: int = Field(default=1, ge=1, le=256)
    """Trials proposed at once, from those finished before: so many workers are of use. What is
    found depends on it, and not on how many workers there are."""


def check_space(search: SearchConfig, model: Part, kind: Kind) -> None:
    """Refuse a space that the model's own config would not accept.

    Raises
    ------
    ConfigError
        If a field is unknown, a bound is refused by the model's config, or the metric is unknown.
    """
    problems = []
    config = type(resolve(MODELS, model).config)
    if search.early_stopping and getattr(resolve(MODELS, model), "staged", None) is None:
        problems.append(f"search.early_stopping: {model.use} does not boost in rounds")
    if search.early_stopping and ROUNDS in search.space:
        problems.append(f"search.space.{ROUNDS}: early stopping chooses it")
    if search.metric not in OF_KIND[kind]:
        known = sorted(OF_KIND[kind])
        problems.append(f"search.metric: {search.metric!r} is unknown; known: {known}")
    for name, (low, high, *log) in search.space.items():
        if name not in config.model_fields:
            problems.append(
                f"search.space.{name}: {model.use} has no such field; "
                f"it has {sorted(config.model_fields)}"
            )
            continue
        if low > high or (log and low <= 0):
            problems.append(f"search.space.{name}: [{low:g}, {high:g}] is no range")
        for bound in (low, high):
            try:
                config.model_validate(model.config | {name: bound})
            except ValidationError as error:
                problems.append(f"search.space.{name}: {bound:g}: {error.errors()[0]['msg']}")
    problems += [
        f"search.start: {name}: not in search.space; it has {sorted(search.space)}"
        for name in sorted({n for start in search.start for n in start} - {*search.space})
    ]
    if problems:
        raise ConfigError.listing("the search does not fit the model", problems)


def tune(
    within: Round,
    kind: Kind,
    model: ModelPart,
    search: SearchConfig,
    seed: int,
    storage: str | None,
    report: Callable[[int, int], None],
    name: str = "search",
    *,
    join: bool = False,
    beside: AbstractContextManager[None] | None = None,
) -> tuple[ModelPart, pd.DataFrame]:
    """The best config on the folds of ``within``, and the table of all trials.

    Parameters
    ----------
    storage, name, join
        Where the study is, as in :class:`training.study.SharedStudy`: interrupted or worked on by
        several processes, it ends with the trials that one process finds undisturbed.
    beside
        Entered while the study is worked on: what begins and ends further workers.
    """
    columns = [
        "trial",
        "state",
        "value",
        *([ROUNDS] if search.early_stopping else []),
        *search.space,
        *[f"mean_to_fold_{i}" for i in range(len(within.folds))],
    ]
    if search.trials == 0 or not (search.space or search.early_stopping):
        return model, pd.DataFrame(columns=columns)
    alone = model.alone
    tried = _Trials(within, kind, alone, search, seed)
    study = SharedStudy(
        storage, name, _of(within, kind, alone, search, seed), minimize=tried.minimize, join=join
    )
    with beside or nullcontext():
        found = study.complete(
            search.trials, search.together, tried.space, tried.propose, tried.evaluate, report
        )
    table = pd.DataFrame([
        {
            "trial": place, "state": t.state.name.lower(), "value": t.value,
            **_parameters(t),
            **{f"mean_to_fold_{i}": v for i, v in t.intermediate_values.items()},
        }
        for place, t in enumerate(found)
    ])  # fmt: skip
    complete = table.loc[table["state"] == "complete", "value"]
    best = found[int(complete.idxmin() if tried.minimize else complete.idxmax())]
    return _with(model, _parameters(best)), table.reindex(columns=columns)


class _Trials:
    """What a study asks for: parameters to try, and what they are worth on the folds."""

    def __init__(
        self, within: Round, kind: Kind, model: ModelPart, search: SearchConfig, seed: int
    ) -> None:
        self._within, self._kind, self._model = within, kind, model
        self._search, self._seed = search, seed
        self.minimize = search.metric in LOWER_IS_BETTER
        self.space = {name: _distribution(model, name, b) for name, b in search.space.items()}
        self._first = _first(model, search)

    def propose(self, place: int, known: Sequence["FrozenTrial"]) -> Mapping[str, Any]:
        """What to try as the trial number ``place``."""
        # A seed for each place, and nothing but earlier batches: proposed again, it is the same.
        if place < len(self._first):
            return self._first[place]
        return dict(self._before(known, self._seed + place).ask(self.space).params)

    def evaluate(self, trial: "Trial", known: Sequence["FrozenTrial"]) -> float:
        """Mean over the folds of what is searched by, pruned against earlier trials."""
        import optuna

        pruner, earlier = optuna.pruners.MedianPruner(n_startup_trials=STARTUP), self._before(known)
        part, folds = _with(self._model, trial.params), self._within.folds
        means: dict[int, float] = {}
        values: list[dict[int | None, float]] = []
        for number, block in enumerate(folds):
            values.append(self._values(part, block))
            rounds, means[number] = _best(values, self.minimize)
            trial.report(means[number], number)
            so_far = optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING, intermediate_values=means
            )
            if number + 1 < len(folds) and pruner.prune(earlier, so_far):
                raise optuna.TrialPruned
        if rounds is not None:
            trial.set_user_attr(ROUNDS, rounds)
        return means[number]

    def _values(self, part: Part, block: Block) -> dict[int | None, float]:
        """What the model is worth on a block after each number of rounds; None: it has none."""
        answer: Any = fitted(part, block, self._seed)
        X = matrix(block.answered.X, answer.columns)
        stages = answer.staged(X) if self._search.early_stopping else [(None, answer.score(X))]
        return {
            rounds: _value(self._search.metric, block.answered.y, uncalibrated(scores, self._kind))
            for rounds, scores in stages
        }

    def _before(self, known: Sequence["FrozenTrial"], seed: int = 0) -> "Study":
        """A study that has seen ``known`` alone."""
        import optuna

        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        direction: Literal["minimize", "maximize"] = "minimize" if self.minimize else "maximize"
        study = optuna.create_study(direction=direction, sampler=sampler)
        study.add_trials(known)
        return study


def _parameters(trial: "FrozenTrial") -> dict[str, Any]:
    """What was tried, and where boosting stopped."""
    stopped = {name: value for name, value in trial.user_attrs.items() if name == ROUNDS}
    return {**trial.params, **stopped}


def _best(values: list[dict[int | None, float]], minimize: bool) -> tuple[int | None, float]:
    """The rounds with the best mean over blocks, the fewest of equals; None: it has no rounds."""
    means = {rounds: float(np.mean([v[rounds] for v in values])) for rounds in values[0]}
    rounds = (min if minimize else max)(means, key=means.__getitem__)
    return rounds, means[rounds]


def _of(within: Round, kind: Kind, model: Part, search: SearchConfig, seed: int) -> str:
    """Fingerprint of what trials depend on."""
    blocks = [(b.name, int(b.held.sum()), int(b.teaching.sum())) for b in within.folds]
    return fingerprint(blocks, kind, model, search.model_dump(exclude={"trials"}), seed)


def _with(model: ModelPart, parameters: Mapping[str, Any]) -> ModelPart:
    return model.model_copy(update={"config": {**model.config, **parameters}})


def search_slices(trials: pd.DataFrame, model: Part, search: SearchConfig) -> pd.DataFrame:
    """Tidy: ``field``, ``at``, ``trial``, ``value``, ``importance``, of complete trials.

    The importance of a field is its share in what trials differ by, from a functional analysis of
    variance over a forest (Hutter, Hoos and Leyton-Brown 2014); missing where fewer than five are
    complete or all are worth the same.
    """
    complete = trials[trials["state"] == "complete"]
    known = _importances(complete, model, search)
    parts = [
        complete[["trial", "value"]].assign(
            field=name, at=complete[name], importance=known.get(name, float("nan"))
        )
        for name in search.space
    ]
    return pd.concat(parts)[["field", "at", "trial", "value", "importance"]]


def _importances(complete: pd.DataFrame, model: Part, search: SearchConfig) -> dict[str, float]:
    import optuna

    if len(complete) <= STARTUP or complete["value"].nunique() < 2:
        return {}
    space = {name: _distribution(model, name, bound) for name, bound in search.space.items()}
    study = optuna.create_study()
    study.add_trials([
        optuna.trial.create_trial(
            value=line["value"], distributions=space,
            params={n: int(line[n]) if _whole(model, n) else float(line[n]) for n in space},
        )
        for _, line in complete.iterrows()
    ])  # fmt: skip
    forest = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=forest))


def fitted(part: Part, block: Block, seed: int) -> Model:
    """A model of ``part`` fitted on what may teach ``block``."""
    rows = block.taught
    model = built(part)
    y = rows.days if rows.days is not None and "time" in model.answers else rows.y
    model.fit(rows.X, y, weight=block.weights, seed=seed)
    return model


def _value(metric: str, y: Floats, p: Floats) -> float:
    return METRICS[metric](Ranked.of(y, p, 0.5), np.ones(len(y)))


def _distribution(model: Part, name: str, bound: Bound) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, *log = bound
    if _whole(model, name):
        return IntDistribution(int(low), int(high), log=bool(log))
    return FloatDistribution(low, high, log=bool(log))


def _first(model: Part, search: SearchConfig) -> list[dict[str, Any]]:
    """What is tried first, each once: the config as written, then where to start from."""
    config = resolve(MODELS, model).config
    found: list[dict[str, Any]] = []
    for start in ({}, *search.start):
        parameters = {}
        for name, (low, high, *_) in search.space.items():
            value = min(max(start.get(name, getattr(config, name)), low), high)
            parameters[name] = int(value) if _whole(model, name) else float(value)
        if parameters not in found:
            found.append(parameters)
    return found


def _whole(model: Part, name: str) -> bool:
    return type(resolve(MODELS, model).config).model_fields[name].annotation is int
