"""Which way, columns and number of segments: an Optuna study over evidence from earlier cutoffs.

A trial learns at one cutoff and is asked at a later one, as the segmentation will be. It has to be
stable, small in number and without tiny segments; among those that are, the one counts that tells
most of the next period: the mean share explained of who buys, of spend and of its logarithm, less a
penalty for each segment. Outcomes choose between segmentations; none is learned from one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from features.errors import ConfigError, DataError
from features.schema import FeatureColumn
from features.settings import Part, resolve
from training.contract import Floats
from training.rows import Rows
from training.segments import quality
from training.segments.config import ChooseConfig
from training.segments.profile import LEAST_SHOWN
from training.segments.segmentation import Learned, learn
from training.segments.stability import bootstrap
from training.segments.trials import Trials
from training.segments.ways import Way
from training.segments.ways.mixture import Mixture
from training.splits import Splits

WAYS = "training.segments.ways"
FITS = "fits"
PATIENCE = 4
"""Proposals for each trial: what was tried before is not tried again."""
LEAST_REPEATED = 0.5
"""Jaccard similarity below which a segment dissolves under resampling (Hennig 2007)."""
TABLE = (
    "trial", "state", "way", "columns", "k", "nature", "segments", "score", "told", "buying",
    "log_spend", "spend", "ari", "ari_low", "jaccard_low", "smallest", "customers", "silhouette",
    "davies_bouldin", "calinski_harabasz", "gap", "bic", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A cutoff to learn at and a later one to be asked at, the first one's period over by then."""

    before: Rows
    after: Rows
    customers: int
    """How many there are at the first one, looked at or not."""


def pairs(splits: Splits, most: int) -> list[Pair]:
    """The validation cutoffs, each with the latest teaching cutoff whose period is over by it.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = []
    for fold in splits.moments.folds:
        earlier = [t for t in splits.moments.teaching if t + splits.gap <= fold]
        if earlier:
            before, after = (_some(splits, t, most) for t in (earlier[-1], fold))
            found.append(Pair(before, after, len(splits.rows.at(earlier[-1]))))
    if not found:
        raise ConfigError(
            f"no validation cutoff lies {splits.gap.days} days after a teaching cutoff: segments "
            "cannot be chosen by what they tell of a later period; set cutoffs.count higher"
        )
    return found


def _some(splits: Splits, cutoff: datetime, most: int) -> Rows:
    """At most ``most`` customers: ids are keyed hashes, so the lowest ones are a random sample."""
    rows = splits.rows.at(cutoff)
    if len(rows) <= most:
        return rows
    return rows.where(rows.customers <= np.partition(rows.customers, most - 1)[most - 1])


def check_ways(ways: Sequence[Part], columns: Mapping[str, tuple[str, ...]]) -> None:
    """Build every way with every set of columns, so that mistakes show before data are read.

    Raises
    ------
    ConfigError
        If a part is unknown or its settings do not fit.
    """
    for part in ways:
        for names in columns.values():
            resolve(WAYS, filled(part, names, None))


def searched(part: Part) -> tuple[bool, bool]:
    """Whether the study chooses columns and number of clusters of ``part``."""
    config = resolve(WAYS, part).config
    return (
        "columns" in type(config).model_fields and not config.columns,
        "k" in type(config).model_fields and "k" not in part.config,
    )


def filled(part: Part, columns: tuple[str, ...] | None, k: int | None) -> Part:
    """The part with what the study chose."""
    own_columns, own_k = searched(part)
    chosen: dict[str, Any] = (
        {"columns": list(columns)} if own_columns and columns is not None else {}
    )
    chosen |= {"k": k} if own_k and k is not None else {}
    return part.model_copy(update={"config": part.config | chosen})


def choose(
    splits: Splits,
    ways: Sequence[Part],
    columns: Mapping[str, tuple[str, ...]],
    value: str,
    config: ChooseConfig,
    seed: int,
    kept: Trials,
    report: Callable[[int, int], None],
) -> tuple[Part, pd.DataFrame]:
    """The chosen way, filled in, and the table of all trials.

    Parameters
    ----------
    kept
        What trials of this very study found before an interruption.

    Raises
    ------
    DataError
        If no trial could learn anything.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studied = pairs(splits, config.rows)
    study = optuna.create_study(direction="maximize")
    for name, order in ((w, c) for c in columns for w in _names(ways)):
        study.enqueue_trial({"way": name, "columns": order, "k": round(sum(config.k) / 2)})
    tried: dict[str, tuple[Part, dict[str, Any]]] = {}
    again = False
    for number in range(PATIENCE * config.trials):
        # A seed for each trial: what is proposed depends on what came before and nothing else.
        study.sampler = (
            optuna.samplers.RandomSampler(seed=seed + number)
            if again
            else optuna.samplers.TPESampler(seed=seed + number, n_startup_trials=2 * len(ways))
        )
        trial = study.ask()
        part, said = _suggested(trial, ways, columns, config)
        known = part.model_dump_json()
        again = known in tried
        if not again:
            look = partial(_tried, part, studied, splits.columns, value, config, seed)
            found = kept.found(known, look)
            tried[known] = part, {"trial": len(tried), **said, **found}
            report(len(tried), config.trials)
        line = tried[known][1]
        if line["state"] == "failed":
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            for demand, by in _breaches(line, config).items():
                trial.set_constraint(demand, by)
            study.tell(trial, line["score"])
        if len(tried) == config.trials:
            break
    parts, lines = zip(*tried.values(), strict=True)
    table = pd.DataFrame(lines).reindex(columns=list(TABLE))
    learned = [i for i, line in enumerate(lines) if line["state"] != "failed"]
    if not learned:
        raise DataError.listing(
            f"none of {len(lines)} trials could segment the customers",
            sorted({line["reason"] for line in lines}),
        )
    best = max(learned, key=lambda i: (_fitness(lines[i], config), -i))
    table.loc[best, "state"] = "chosen"
    return parts[best], table


def _names(ways: Sequence[Part]) -> list[str]:
    return [f"{number + 1} {part.use}" for number, part in enumerate(ways)]


def _suggested(
    trial: Any, ways: Sequence[Part], columns: Mapping[str, tuple[str, ...]], config: ChooseConfig
) -> tuple[Part, dict[str, Any]]:
    name = trial.suggest_categorical("way", _names(ways))
    part = ways[_names(ways).index(name)]
    own_columns, own_k = searched(part)
    group = trial.suggest_categorical("columns", list(columns)) if own_columns else "its own"
    k = trial.suggest_int("k", *config.k) if own_k else None
    chosen = filled(part, columns.get(group), k)
    return chosen, {"way": part.use, "columns": group, "k": "its own" if k is None else str(k)}


def _tried(
    part: Part,
    studied: Sequence[Pair],
    schema: Sequence[FeatureColumn],
    value: str,
    config: ChooseConfig,
    seed: int,
) -> dict[str, Any]:
    """What one trial finds; a segmentation that cannot be learned fails with its reason."""
    way: Way = resolve(WAYS, part)
    line: dict[str, Any] = {"state": "complete", "nature": way.nature}
    told = []
    try:
        for pair in studied:
            found = learn(way, pair.before.X, schema, value, seed=seed)
            labels = (found.segmentation.labels(rows.X) for rows in (pair.before, pair.after))
            before, after = zip(labels, (pair.before.y, pair.after.y), strict=True)
            told.append(quality.told_later(before, after, found.segmentation.n_segments))
    except DataError as error:
        return {**line, "state": "failed", "reason": str(error).splitlines()[0]}
    last, everybody = studied[-1].before, studied[-1].customers
    line |= {name: float(np.mean([t[name] for t in told])) for name in told[0]}
    line["told"] = float(np.mean([line[name] for name in told[0]]))
    line |= _shape(way, found, last.X, schema, value, config, seed)
    line["customers"] = line["smallest"] * everybody
    line["score"] = line["told"] - config.penalty * line["segments"]
    failing = [name for name, by in _breaches(line, config).items() if by > 0]
    return {**line, "reason": f"misses: {', '.join(failing)}" if failing else FITS}


def _shape(
    way: Way,
    found: Learned,
    X: pd.DataFrame,
    schema: Sequence[FeatureColumn],
    value: str,
    config: ChooseConfig,
    seed: int,
) -> dict[str, Any]:
    made = found.segmentation
    Z, labels = made.space.scaled(made.rows(X)), made.labels(X)
    (stable,) = bootstrap(way, X, schema, value, made, [X], repeats=config.bootstrap, seed=seed)
    sizes = np.bincount(labels, minlength=made.n_segments)
    return {
        "segments": int((sizes > 0).sum()),
        "smallest": float(sizes[sizes > 0].min() / len(X)),
        "ari": float(stable.ari.mean()),
        "ari_low": float(stable.ari.min()),
        "jaccard_low": float(stable.jaccard[sizes > 0].min()),
        **quality.geometry(Z, labels, seed),
        "gap": _gap(way, found, Z, labels, seed),
        "bic": way.bic(made.cells, Z) if isinstance(way, Mixture) else float("nan"),
    }


def _gap(way: Way, found: Learned, Z: Floats, labels: Any, seed: int) -> float:
    """Gap statistic of clusters; NaN for what does not look for clusters."""
    if way.nature != "clusters":
        return float("nan")
    space, logs = found.segmentation.space, []
    for turn in range(quality.REFERENCES):
        R = quality.without_groups(Z, seed + turn)
        try:
            logs.append(np.log(quality.scatter(R, way.fit(space, R, seed=seed).assign(R))))
        except DataError:
            return float("nan")  # no crowd where there is none: the gap has no reference
    return float(np.mean(logs) - np.log(quality.scatter(Z, labels)))


def _breaches(line: Mapping[str, Any], config: ChooseConfig) -> dict[str, float]:
    """By how much a trial misses each demand; above 0 = it does."""
    return {
        "stability": config.stability - line["ari"],
        "smallest segment": config.smallest - line["smallest"],
        "fewest customers": (LEAST_SHOWN - line["customers"]) / LEAST_SHOWN,
        "most segments": float(line["segments"] - config.most),
        "every segment found again": LEAST_REPEATED - line["jaccard_low"],
        "two segments": 2.0 - line["segments"],
    }


def _fitness(line: Mapping[str, Any], config: ChooseConfig) -> tuple[float, float]:
    """First to keep all demands, or to miss them by least; then the score."""
    missed = sum(max(by, 0.0) for by in _breaches(line, config).values())
    return -missed, line["score"]
