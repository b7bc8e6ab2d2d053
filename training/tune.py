"""Search for parameters on validation blocks with Optuna; returns a config, never a model."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from features.errors import ConfigError
from features.settings import Part, Strict, resolve
from training.bundle import MODELS
from training.calibrate import uncalibrated
from training.contract import Floats, Kind, Model, matrix
from training.metrics import LOWER_IS_BETTER, METRICS, OF_KIND, Ranked
from training.splits import Block, Round

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
    if problems:
        raise ConfigError.listing("the search does not fit the model", problems)


def tune(
    within: Round,
    kind: Kind,
    model: Part,
    search: SearchConfig,
    seed: int,
    study_file: Path | None,
    report: Callable[[int, int], None],
) -> tuple[Part, pd.DataFrame]:
    """The best config on the folds of ``within``, and the table of all trials.

    A study lives in ``study_file`` until it is finished: after an interruption the search goes on
    where it stopped, and proposes what it would have proposed, because each trial has a seed of its
    own. Without a file it is kept in memory.
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
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if study_file is not None:
        study_file.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign_file(study_file)
    study = optuna.create_study(
        study_name="search",
        storage=None if study_file is None else f"sqlite:///{study_file}",
        load_if_exists=True,
        direction="minimize" if search.metric in LOWER_IS_BETTER else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    for left in study.get_trials(states=(optuna.trial.TrialState.RUNNING,), deepcopy=False):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while (done := len(study.get_trials(states=finished, deepcopy=False))) < search.trials:
        study.sampler = optuna.samplers.TPESampler(seed=seed + done, n_startup_trials=4)
        waiting = (optuna.trial.TrialState.WAITING,)
        if done == 0 and not study.get_trials(states=waiting, deepcopy=False):
            study.enqueue_trial(_written(model, search))
        trial = study.ask()
        _try(trial, study, within, kind, model, search, seed)
        report(done + 1, search.trials)
    table = pd.DataFrame([
        {
            "trial": index, "state": t.state.name.lower(), "value": t.value, **t.params,
            **t.user_attrs,
            **{f"mean_to_fold_{i}": v for i, v in t.intermediate_values.items()},
        }
        for index, t in enumerate(study.get_trials(states=finished, deepcopy=False))
    ])  # fmt: skip
    best = {**model.config, **study.best_params, **study.best_trial.user_attrs}
    return Part(use=model.use, config=best), table.reindex(columns=columns)


def _try(
    trial: Any, study: Any, within: Round, kind: Kind, model: Part, search: SearchConfig, seed: int
) -> None:
    import optuna

    chosen = {name: _suggest(trial, model, name, bound) for name, bound in search.space.items()}
    part = Part(use=model.use, config={**model.config, **chosen})
    values: list[dict[int | None, float]] = []
    for number, block in enumerate(within.folds):
        validation = block.answered
        answer: Any = fitted(part, block, seed)
        X = matrix(validation.X, answer.columns)
        stages = answer.staged(X) if search.early_stopping else [(None, answer.score(X))]
        values.append({
            rounds: _value(search.metric, validation.y, uncalibrated(scores, kind))
            for rounds, scores in stages
        })  # fmt: skip
        rounds, mean = _best(values, search.metric)
        trial.report(mean, number)
        if number + 1 < len(within.folds) and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    if rounds is not None:
        trial.set_user_attr(ROUNDS, rounds)
    study.tell(trial, mean)


def _best(values: list[dict[int | None, float]], metric: str) -> tuple[int | None, float]:
    """The rounds with the best mean over blocks, the fewest of equals; None: it has no rounds."""
    means = {rounds: float(np.mean([v[rounds] for v in values])) for rounds in values[0]}
    best = min if metric in LOWER_IS_BETTER else max
    rounds = best(means, key=means.__getitem__)
    return rounds, means[rounds]


def fitted(part: Part, block: Block, seed: int) -> Model:
    """A model of ``part`` fitted on what may teach ``block``."""
    rows = block.taught
    model: Model = resolve(MODELS, part)
    y = rows.days if rows.days is not None and "time" in model.answers else rows.y
    model.fit(rows.X, y, weight=block.weights, seed=seed)
    return model


def _value(metric: str, y: Floats, p: Floats) -> float:
    return METRICS[metric](Ranked.of(y, p, 0.5), np.ones(len(y)))


def _suggest(trial: Any, model: Part, name: str, bound: Bound) -> float | int:
    low, high, *log = bound
    field = type(resolve(MODELS, model).config).model_fields[name]
    if field.annotation is int:
        return int(trial.suggest_int(name, int(low), int(high), log=bool(log)))
    return float(trial.suggest_float(name, low, high, log=bool(log)))


def _written(model: Part, search: SearchConfig) -> dict[str, Any]:
    config = resolve(MODELS, model).config
    written = {}
    for name, (low, high, *_) in search.space.items():
        whole = type(config).model_fields[name].annotation is int
        value = min(max(getattr(config, name), low), high)
        written[name] = int(value) if whole else float(value)
    return written


def _refuse_foreign_file(path: Path) -> None:
    if path.exists() and path.stat().st_size:
        try:
            sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(
                "PRAGMA schema_version"
            ).fetchone()
        except sqlite3.DatabaseError:
            raise ConfigError(f"{path}: not a study database; remove it and run again") from None
