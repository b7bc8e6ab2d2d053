"""How answers move with what a business can move, over many customers."""

import numpy as np
import pandas as pd

from training.contract import Floats
from training.report import Section
from training.supervised.bundle import Bundle
from training.supervised.case import SupervisedCase
from training.supervised.levers import Levers, moves


def table(bundle: Bundle, levers: Levers, X: Floats) -> pd.DataFrame:
    """By column: of rows ``X``, for how many a value is better, and by how much on average."""
    now, _ = bundle.predict(X)
    lines = []
    for name, moved in moves(bundle, levers, X).items():
        change = moved.answers - now
        helped = change != 0
        lines.append({
            "column": name, "rows": len(X), "share_with_a_better_value": float(helped.mean()),
            "mean_change_of_those": float(change[helped].mean()) if helped.any() else 0.0,
            "largest_change": float(change[np.abs(change).argmax()]),
        })  # fmt: skip
    return pd.DataFrame(lines).sort_values("mean_change_of_those", key=abs, ascending=False)


def sections(case: SupervisedCase) -> list[Section]:
    """Where the YAML names what can be moved."""
    levers = case.made.answer.levers
    if levers is None:
        return []
    return [section(table(case.made, levers, case.explained.values), levers.wanted)]


def section(found: pd.DataFrame, wanted: str) -> Section:
    """The section of the card."""
    text = (
        f"What the answer would be with another value of one column, the one that is answered "
        f"{wanted} by most, all else as it is. It shows what the model goes by; whether moving "
        "it would move customers, an experiment has to tell."
    )
    return Section(
        "What a business can move: an association, no cause", [text], found.round(4),
        files={"levers": found},
    )  # fmt: skip
