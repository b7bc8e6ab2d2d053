"""Whether answer sets hold the true answer of as many customers as they were asked to."""

import numpy as np
import pandas as pd

from training.contract import Floats
from training.metrics import customer_weights, interval
from training.report import Section
from training.rows import Rows
from training.supervised.case import SupervisedCase
from training.supervised.sets import Sets


def table(rows: Rows, sets: Sets, p: Floats, repeats: int, seed: int) -> pd.DataFrame:
    """By label: customers, share whose label is in the set, and what the sets say.

    Of sets without an answer the customer is unlike those who taught.
    """
    yes, no = sets.holds(p)
    held = np.where(rows.y == 1, yes, no).astype(np.float64)
    weights = customer_weights(rows.customers, repeats, seed)
    lines = []
    for name, mask in (("yes", rows.y == 1), ("no", rows.y == 0), ("all", rows.y >= 0)):
        drawn = weights[:, mask]
        low, high = interval((drawn @ held[mask]) / drawn.sum(axis=1))
        lines.append({
            "label": name, "customers": int(mask.sum()), "asked_for": sets.coverage,
            "found": float(held[mask].mean()), "ci_low": low, "ci_high": high,
            "one_answer": float((yes ^ no)[mask].mean()),
            "yes_or_no": float((yes & no)[mask].mean()),
            "neither": float((~yes & ~no)[mask].mean()),
        })  # fmt: skip
    return pd.DataFrame(lines)


def sections(case: SupervisedCase) -> list[Section]:
    """Where the YAML asks for sets."""
    sets = case.made.answer.sets
    if sets is None:
        return []
    return [section(table(case.rows, sets, case.answers, *case.draws), sets, case.crossed)]


def section(found: pd.DataFrame, sets: Sets, crossed: bool) -> Section:
    """The section of the card."""
    text = (
        f"Sets that hold the true answer of {sets.coverage:.0%} of the customers with the event, "
        f"and of as many without: yes from probability {sets.yes_from:.4f} on, no up to "
        f"{sets.no_to:.4f}. They were learned on validation blocks"
        + (
            ", from other answers to the same customers."
            if crossed
            else "; found is the share on the test."
        )
    )
    return Section("Answer sets", [text], found.round(4), files={"answer_sets": found})
