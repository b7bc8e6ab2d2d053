"""The candidate beside the baselines: labels, agreement of refits, and who keeps a segment."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from training.contract import Floats
from training.gates import CANDIDATE
from training.segments.baselines import Baseline, baselines
from training.segments.cells import Ints
from training.segments.config import SegmentsConfig
from training.segments.segmentation import Segmentation, learn
from training.segments.stability import Stability, adjusted_rand, table_of
from training.segments.ways import Way
from training.splits import Splits

Labels = Callable[[pd.DataFrame], Ints]


@dataclass(frozen=True)
class Beside:
    """The candidate beside the baselines, each by its name."""

    labels: dict[str, dict[str, Ints]]
    """Block (``taught`` or ``test``) -> answer -> label of each customer."""
    refits: pd.DataFrame
    """Agreement of refits with the answer on the test customers, a column per answer."""
    once: dict[str, dict[str, float]]
    """Answer -> metric that has no distribution."""


def set_beside(
    way: Way, made: Segmentation, stable: Stability, splits: Splits, config: SegmentsConfig
) -> Beside:
    """Labels, refits and agreement of the candidate and of baselines with as many groups.

    Parameters
    ----------
    stable
        What refits of the candidate say on the test customers.
    """
    before, *_ = (splits.rows.at(t).X for t in splits.moments.teaching[-2:])
    taught, test = splits.rows.at(splits.moments.teaching[-1]).X, splits.test.X
    candidate = made.labels
    earlier = learn(way, before, splits.columns, config.value, seed=config.seed)
    labels = {"taught": {CANDIDATE: candidate(taught)}, "test": {CANDIDATE: candidate(test)}}
    ari = {CANDIDATE: stable.ari}
    once = {CANDIDATE: _once(splits, candidate, earlier.segmentation.labels)}
    k = max(len(np.unique(labels["taught"][CANDIDATE])), 2)
    for name, baseline in baselines(k).items():
        previous = baselines(k)[name]
        previous.fit(before, config.seed)
        baseline.fit(taught, config.seed)
        labels["taught"][name], labels["test"][name] = map(baseline.labels, (taught, test))
        once[name] = _once(splits, baseline.labels, previous.labels)
        ari[name] = _refitted(baseline, taught, test, config.refits, config.seed)
    return Beside(labels, pd.DataFrame(ari), once)


def _once(splits: Splits, labels: Labels, earlier: Labels) -> dict[str, float]:
    """Agreement with what was learned a cutoff earlier, and who keeps a segment for a cutoff."""
    at = [(splits.rows.at(t), labels(splits.rows.at(t).X)) for t in splits.moments.teaching]
    stayed = []
    for (before, was), (after, now) in pairwise(at):
        known = pd.Series(was, index=before.customers).reindex(after.customers)
        both = known.notna().to_numpy()
        stayed.append(float((known.to_numpy()[both] == now[both]).mean()))
    test = splits.test.X
    return {"relearned_ari": _ari(labels(test), earlier(test)), "stayed": float(np.mean(stayed))}


def _refitted(
    baseline: Baseline, X: pd.DataFrame, judged: pd.DataFrame, repeats: int, seed: int
) -> Floats:
    own, rng = baseline.labels(judged), np.random.default_rng(seed)
    found = np.zeros(repeats)
    for turn in range(repeats):
        baseline.fit(X.iloc[rng.integers(0, len(X), len(X))], seed + turn)
        theirs = baseline.labels(judged)
        found[turn] = _ari(own, theirs)
    return found


def _ari(a: Ints, b: Ints) -> float:
    return adjusted_rand(table_of(a, b, int(a.max()) + 1, int(b.max()) + 1))
