"""What each tier promised, and what the test found of it."""

import numpy as np
import pandas as pd

from training.contract import Floats
from training.metrics import customer_weights, interval
from training.report import Section
from training.rows import Rows
from training.supervised.case import SupervisedCase
from training.supervised.tiers import NAMES, Tiers


def table(rows: Rows, tiers: Tiers, p: Floats, repeats: int, seed: int) -> pd.DataFrame:
    """By tier: cut-off, volume and precision as expected and as found, with the finding's interval.

    Parameters
    ----------
    p
        Calibrated answers to ``rows``, shape (n_rows,).
    """
    weights = customer_weights(rows.customers, repeats, seed)
    words, total = tiers.words(p), rows.y.sum()
    lines = []
    for i, name in enumerate(NAMES):
        mask = words == name
        line = {
            "tier": name, "from_probability": (tiers.high_from, tiers.medium_from, 0.0)[i],
            "customers": int(mask.sum()), "expected_volume": tiers.volumes[i],
            "volume": float(mask.mean()), "expected_precision": tiers.precisions[i],
            "precision": np.nan, "ci_low": np.nan, "ci_high": np.nan,
            "share_of_events": float(rows.y[mask].sum() / total) if total else np.nan,
        }  # fmt: skip
        if mask.any():
            drawn = weights[:, mask]
            with np.errstate(invalid="ignore"):
                low, high = interval((drawn @ rows.y[mask]) / drawn.sum(axis=1))
            line |= {"precision": float(rows.y[mask].mean()), "ci_low": low, "ci_high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def sections(case: SupervisedCase) -> list[Section]:
    """Where the YAML asks for tiers."""
    tiers = case.made.answer.tiers
    return [] if tiers is None else [section(table(case.rows, tiers, case.answers, *case.draws))]


def section(found: pd.DataFrame) -> Section:
    """The section of the card."""
    text = (
        "Cut-offs were learned on validation blocks; volume and precision there are what is to be "
        "expected, those beside them were found on the test. Whoever needs a list that is never "
        "longer than so many takes the highest answers instead."
    )
    shown = found.round(4).astype(object).where(found.notna(), "nobody is in it")
    return Section("Tiers", [text], shown, files={"tiers": found})
