"""What a reviewer sees of answers about when: curves against what came, intervals, what was due."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training import plots
from training.contract import Floats
from training.details.timing import EventTiming
from training.metrics import customer_weights, interval
from training.report import Section
from training.rows import Rows
from training.supervised.bundle import Bundle
from training.supervised.points import by_then

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z = 1.959964
DRAWN = 5
"""Groups whose curves are drawn."""


@dataclass(frozen=True)
class TimingReport:
    """Tables about the times that a bundle tells of the test rows."""

    details: EventTiming
    chances: dict[int, Floats]
    """Days -> the candidate's answer by then, shape (n_rows,); without the horizon."""
    curves: pd.DataFrame
    """By group and days: customers, share expected and share that had the event, with interval."""
    coverage: pd.DataFrame
    """By group: share within the interval as claimed and as found, with interval."""
    states: pd.DataFrame | None
    """By state: customers, expected and found share by the first point, days to expect."""


def timing_report(
    bundle: Bundle,
    rows: Rows,
    groups: Mapping[str, NDArray[np.bool_]],
    repeats: int,
    seed: int,
) -> TimingReport:
    """All tables, from the answers to the test rows and the days on which the event came."""
    details = bundle.details
    assert isinstance(details, EventTiming), "asked of bundles that tell times"
    told = bundle.predict_frame(rows.X[list(bundle.columns)])
    told[f"{bundle.answer.output}_{details.config.horizon_days}d"] = told[bundle.answer.output]
    chances = {days: told[name].to_numpy(np.float64) for days, name in details.points.items()}
    everyone = {"everyone": np.ones(len(rows), bool), **groups}
    ends = {**chances, details.config.horizon_days: told[bundle.answer.output].to_numpy()}
    return TimingReport(
        details,
        chances,
        _curves(rows, ends, everyone, details.config.absent),
        _coverage(rows, told, details, everyone, repeats, seed),
        None if details.config.since is None else _states(rows, told, details, chances),
    )


def _curves(
    rows: Rows,
    ends: Mapping[int, Floats],
    groups: Mapping[str, NDArray[np.bool_]],
    absent: bool,
) -> pd.DataFrame:
    """Of each group the expected share by each day beside Kaplan and Meier's, with its interval.

    Nobody is censored before the horizon, so that estimate is a share, its interval Wilson's.
    """
    lines = []
    for name, mask in groups.items():
        n = int(mask.sum())
        for days, chance in ends.items() if n else ():
            share = float(by_then(rows, days, absent)[mask].mean())
            centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
            half = Z / (1 + Z * Z / n) * np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
            lines.append({
                "group": name, "customers": n, "days": days, "expected": float(chance[mask].mean()),
                "found": share, "ci_low": centre - half, "ci_high": centre + half,
            })  # fmt: skip
    return pd.DataFrame(lines)


def _coverage(
    rows: Rows,
    told: pd.DataFrame,
    details: EventTiming,
    groups: Mapping[str, NDArray[np.bool_]],
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """An interval that ends at the horizon holds whatever comes later: it claims more."""
    said = details.config
    early, late = (told[f"{name}_in_days"].to_numpy() for name in ("earliest", "latest"))
    output, tail = told.columns[0], (1.0 - said.coverage) / 2.0
    comes = 1.0 - told[output].to_numpy() if said.absent else told[output].to_numpy()
    before = np.where(early < said.horizon_days, tail, comes)
    claimed = 1.0 - before - np.where(late < said.horizon_days, tail, 0.0)
    assert rows.days is not None, "the question is when"
    when = np.where(rows.days > 0, rows.days - 0.5, said.horizon_days)  # the middle of its day
    inside = ((when >= early) & (when <= late)).astype(np.float64)
    weights = customer_weights(rows.customers, repeats, seed)
    lines = []
    for name, mask in groups.items():
        drawn = weights[:, mask]
        if not mask.any() or (drawn.sum(axis=1) == 0).any():
            continue
        low, high = interval((drawn @ inside[mask]) / drawn.sum(axis=1))
        lines.append({
            "group": name, "customers": int(mask.sum()), "claimed": float(claimed[mask].mean()),
            "found": float(inside[mask].mean()), "ci_low": low, "ci_high": high,
        })  # fmt: skip
    return pd.DataFrame(lines)


def _states(
    rows: Rows, told: pd.DataFrame, details: EventTiming, chances: Mapping[int, Floats]
) -> pd.DataFrame:
    first = details.config.points_days[0]
    table = pd.DataFrame({
        "state": told["state"].to_numpy(), "customers": 1,
        f"expected_{first}d": chances[first],
        f"found_{first}d": by_then(rows, first, details.config.absent),
        "median_expected_in_days": told["expected_in_days"].to_numpy(),
    })  # fmt: skip
    how = {name: "mean" for name in table.columns[2:4]}
    return (
        table.groupby("state")
        .agg({"customers": "sum", **how, "median_expected_in_days": "median"})
        .reset_index()
    )


def _drawn(table: pd.DataFrame) -> "Figure":
    """Lines as expected, marks with intervals as found."""
    figure, axes = plots.axes_of("By when", "days after the cutoff", "share of customers")
    for k, (name, part) in enumerate(list(table.groupby("group", sort=False))[:DRAWN]):
        colour = plots.COLOURS[k]
        spread = plots.whiskers(part["found"], part["ci_low"], part["ci_high"])
        axes.plot(part["days"], part["expected"], color=colour, linestyle=plots.LINES[k])
        axes.errorbar(
            part["days"], part["found"], yerr=spread, fmt=plots.MARKERS[k], color=colour,
            capsize=2, markersize=4, label=f"{name} (n={part['customers'].iloc[0]:,})",
        )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8)
    return figure


def sections(report: TimingReport) -> list[Section]:
    """Sections of the card."""
    said = report.details.config
    text = (
        "Lines are what was expected on average, marks what was found (Kaplan and Meier's "
        "estimate, as everyone was seen to the horizon), by groups. All answers by all days are "
        "made to agree with the calibrated one by the horizon; baselines were learned for each day "
        "alone."
    )
    covers = (
        f"From earliest_in_days to latest_in_days the event comes with a chance of "
        f"{said.coverage:.0%}; where an end is {said.horizon_days} it holds all that is later, "
        "and claims more."
    )
    found = [
        Section(
            "By when", [text], report.curves.round(4),
            figures={"curves": (report.curves, _drawn(report.curves))},
        ),
        Section(
            "Intervals of days", [covers], report.coverage.round(4),
            files={"coverage": report.coverage},
        ),
    ]  # fmt: skip
    if report.states is not None:
        due = (
            "A customer's own rhythm: due is who is past the usual days between two events, "
            "overdue who is past the longest."
        )
        states = report.states
        found.append(Section("Due and overdue", [due], states.round(4), files={"states": states}))
    return found
