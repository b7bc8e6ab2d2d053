"""Learning: choose on earlier cutoffs, learn at the latest, name, and write what judging needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.settings import Part, resolve
from training.keys import signing_key
from training.rows import Rows
from training.segments import bundle as bundles
from training.segments import profile, quality, words
from training.segments.beside import set_beside
from training.segments.bundle import Segment, SegmentsAnswer, SegmentsBundle
from training.segments.choose import WAYS, choose
from training.segments.config import Named, SegmentsPlan
from training.segments.lineage import Lineage
from training.segments.matching import kept_names, letters
from training.segments.segmentation import SPACE, Learned, Segmentation, learn
from training.segments.stability import (
    Stability,
    bootstrap,
    with_confidence,
)
from training.segments.trials import Trials
from training.segments.ways import Way
from training.segments.ways.rules import Rules
from training.splits import Splits

GOLDEN_ROWS = 500


@dataclass(frozen=True)
class Made:
    """The chosen segmentation with what was found of it."""

    part: Part
    way: Way
    found: Learned
    segmentation: Segmentation
    profiles: profile.Profiles
    segments: tuple[Segment, ...]
    stable: tuple[Stability, Stability]
    """At the cutoff that taught, and at the test cutoff."""


def make(plan: SegmentsPlan, splits: Splits, part: Part, names: Sequence[Named]) -> Made:
    """Learn the chosen way at the latest teaching cutoff, measure its stability and name it."""
    config, value = plan.config, plan.config.value
    way: Way = resolve(WAYS, part)
    taught, test = splits.rows.at(splits.moments.teaching[-1]), splits.test
    found = learn(way, taught.X, splits.columns, value, seed=config.seed)
    made = found.segmentation
    stable = bootstrap(
        way, taught.X, splits.columns, value, made, [taught.X, test.X],
        repeats=config.refits, seed=config.seed,
    )  # fmt: skip
    made = with_confidence(made, made.assign(made.rows(taught.X)), stable[0].agreed)
    profiles = profile.profiles(taught.X, splits.columns, made.labels(taught.X), made.n_segments)
    segments = _segments(plan, names, way, found, made, taught, profiles)
    return Made(part, way, found, made, profiles, segments, (stable[0], stable[1]))


def _segments(
    plan: SegmentsPlan,
    names: Sequence[Named],
    way: Way,
    found: Learned,
    made: Segmentation,
    taught: Rows,
    profiles: profile.Profiles,
) -> tuple[Segment, ...]:
    labels, k = made.labels(taught.X), made.n_segments
    medians = [
        {n: float(v) for n, v in zip(profiles.columns, row, strict=True) if not np.isnan(v)}
        for row in profiles.median
    ]
    kept = kept_names(names, medians, made.space)
    taken = [named.id for named in kept if named]
    free = iter(letters(k, [*taken, *(named.id for named in names)]))
    own_names = words.names(profiles.shift, profiles.columns, profiles.median)
    if isinstance(way, Rules):
        at = {int(place): way.names[s] for s, place in enumerate(found.places)}
        own_names = [at[s].capitalize() for s in range(k)]
    rules = profile.rules(taught.X, profiles.columns, labels, own_names)
    worth = np.nan_to_num(taught.X[plan.config.value].to_numpy(np.float64))
    value = np.bincount(labels, worth, minlength=k) / max(worth.sum(), 1e-12)
    buying = quality.rates(labels, (taught.y > 0).astype(np.float64), k)
    segments = []
    for s in range(k):
        named = kept[s]
        name = named.name if named else own_names[s]
        facts = {
            "share": float(profiles.sizes[s] / len(labels)),
            "value_share": float(value[s]),
            "buying": float(buying[s]),
        }
        segments.append(
            Segment(
                id=named.id if named else next(free),
                name=name,
                words=words.sentence(name, facts, plan.task.horizon_days),
                customers=int(profiles.sizes[s]),
                rule=str(rules["rule"][s]),
                precision=float(rules["precision"][s]),
                coverage=float(rules["coverage"][s]),
                medians=medians[s],
                **facts,
            )
        )
    return tuple(segments)


def write_learned(
    folder: Path, plan: SegmentsPlan, splits: Splits, part: Part, trials: pd.DataFrame,
    before: Lineage, keys: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write the signed bundle and everything that judging needs; return facts for the manifest."""
    config = plan.config
    made = make(plan, splits, part, before.names)
    test, taught = splits.test, splits.rows.at(splits.moments.teaching[-1])
    declared = {column.name: column for column in splits.columns}
    answer = SegmentsAnswer(
        task=plan.task.name, question=plan.task.question, kind=plan.task.kind,
        output=plan.task.output, cutoff=f"{splits.moments.test:%Y-%m-%d}",
        horizon_days=plan.task.horizon_days, source=plan.source.name,
        currency=plan.source.currency, run_key=before.key, space=SPACE, way=part,
        nature=made.way.nature, value=config.value, segments=made.segments,
        columns=tuple(declared[name] for name in made.segmentation.columns),
    )  # fmt: skip
    rows = np.random.default_rng(config.seed).permutation(len(test))[:GOLDEN_ROWS]
    golden = made.segmentation.rows(test.X)[np.sort(rows)]
    shipped = SegmentsBundle(answer, made.segmentation)
    digest = bundles.write(shipped, golden, folder / "bundle", signing_key(keys))
    trials.to_csv(folder / "search.csv", index=False)
    splits.table().to_csv(folder / "splits.csv", index=False)
    names = [segment.id for segment in made.segments]
    made.profiles.table(names).to_csv(folder / "profile.csv", index=False)
    made.profiles.apart(names).to_csv(folder / "apart.csv", index=False)
    _history(splits, made, config.value).to_parquet(folder / "history.parquet")
    beside = set_beside(made.way, made.segmentation, made.stable[1], splits, config)
    for name, block in (("test", test), ("taught", taught)):
        pd.DataFrame(
            {c.CUSTOMER: block.customers, "spend": block.y, **beside.labels[name]}
        ).to_parquet(folder / f"{name}.parquet")
    beside.refits.to_csv(folder / "refits.csv", index=False)
    _by_segment(made, names).to_csv(folder / "stability.csv", index=False)
    numbers = [k.name for k in splits.columns if k.dtype != "string" and k.name in test.X]
    for name, block in (("test", test), ("taught", taught)):
        coded = pd.DataFrame(made.segmentation.rows(block.X), block.X.index,
                             made.segmentation.columns)  # fmt: skip
        block.X[numbers].assign(**coded).to_parquet(folder / f"{name}_rows.parquet")
    explained = made.segmentation.explain(golden)
    margin = made.segmentation.assign(golden).margin
    return {
        "digest": digest,
        "test_rows": len(test),
        "taught_rows": len(taught),
        "taught_at": f"{splits.moments.teaching[-1]:%Y-%m-%d}",
        "way": part.model_dump(),
        "nature": made.way.nature,
        "left_out": dict(made.found.left_out),
        "additivity": float(np.abs(explained.scores - margin).max(initial=0.0)),
        "once": beside.once,
        "inputs": before.inputs,
        "follows": before.follows,
        "dropped_immature": sum(splits.immature.values()),
        "tags": {
            "model_family": part.use.partition(".")[0],
            "segments": str(len(made.segments)),
        },
        "params": {"way": part.use, **{f"way.{k}": v for k, v in part.config.items()}},
    }


def _history(splits: Splits, made: Made, value: str) -> pd.DataFrame:
    """Segment, margin and value of every customer at every teaching cutoff and the test cutoff."""
    parts = []
    for cutoff in (*splits.moments.teaching, splits.moments.test):
        rows = splits.rows.at(cutoff)
        found = made.segmentation.assign(made.segmentation.rows(rows.X))
        parts.append(
            pd.DataFrame(
                {
                    c.CUSTOMER: rows.customers, c.CUTOFF: cutoff, "segment": found.segment,
                    "runner_up": found.runner_up, "margin": found.margin,
                    "confidence": found.confidence,
                    "value": np.nan_to_num(rows.X[value].to_numpy(np.float64)),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _by_segment(made: Made, names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "segment": names,
            "jaccard_taught": made.stable[0].jaccard,
            "jaccard_test": made.stable[1].jaccard,
        }
    )


def chosen(
    plan: SegmentsPlan, splits: Splits, kept: Trials, report: Callable[[int, int], None]
) -> tuple[Part, pd.DataFrame]:
    """What the study chooses."""
    config = plan.config
    return choose(
        splits, config.ways, config.columns, config.value, config.choose, config.seed, kept, report
    )
