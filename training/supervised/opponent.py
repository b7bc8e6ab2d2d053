"""The champion's answers to the rows of a run: what a candidate is held against."""

import numpy as np
import pandas as pd

from features.cutoffs import Snapshots
from features.settings import Workspace
from training.bundle import Loaded
from training.gates import CANDIDATE, CHAMPION
from training.supervised.bundle import Bundle
from training.supervised.config import SupervisedPlan
from training.supervised.learn import Reported


def compare_with_champion(
    place: Workspace,
    plan: SupervisedPlan,
    champion: Loaded | None,
    made: Bundle,
    reported: Reported,
) -> str:
    """Add the champion's answers on the same rows; or say why that cannot be."""
    if champion is None:
        return "no champion yet"
    if not isinstance(champion, Bundle):
        return f"the champion answers a question of kind {champion.answer.kind}: not comparable"
    if champion.answer.source != made.answer.source:
        return f"the champion answers for source {champion.answer.source}: not comparable"
    asked, now = (
        (a.kind, a.output, a.unit, a.horizon_days) for a in (champion.answer, made.answer)
    )
    if asked != now:
        return f"the champion answers another question ({champion.answer.question}): not comparable"
    if isinstance(plan.config.cutoffs, Snapshots):
        return _in_folds(place, plan, champion, reported)
    words = reported.rows.X
    lacking = [name for name in champion.columns if name not in words.columns]
    if lacking:
        return (
            f"the champion needs columns that this run lacks ({', '.join(lacking)}): not comparable"
        )
    found = champion.predict_frame(words[list(champion.columns)])
    reported.given[CHAMPION] = found[champion.answer.output].to_numpy(np.float64)
    reported.thresholds[CHAMPION] = np.full(len(words), champion.answer.threshold, np.float64)
    return ""


def _in_folds(place: Workspace, plan: SupervisedPlan, champion: Bundle, reported: Reported) -> str:
    """The champion learned from these very rows: what its own folds answered is compared."""
    folder = place.store / "runs" / plan.config.name / champion.answer.run_key
    if not (folder / "test.parquet").is_file():
        return "what the champion answered in its folds is not in the store: not comparable"
    theirs = Reported.read(folder, (CANDIDATE,))
    order = _places(theirs).reindex(_places(reported).index)
    if order.isna().any():
        return "the champion's folds divide other customers, or otherwise: not comparable"
    taken = order.to_numpy(int)
    reported.given[CHAMPION] = theirs.given[CANDIDATE][taken]
    reported.thresholds[CHAMPION] = theirs.thresholds[CANDIDATE][taken]
    return ""


def _places(reported: Reported) -> pd.Series:
    """Row number by customer, snapshot, block and label."""
    rows = reported.rows
    keys = [rows.customers, rows.cutoffs, reported.blocks, rows.y]
    return pd.Series(np.arange(len(rows)), index=pd.MultiIndex.from_arrays(keys))
