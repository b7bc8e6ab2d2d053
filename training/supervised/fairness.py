"""Whether answers serve groups of people alike: by attributes that no model has learned from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import ConfigError
from features.schema import FeatureColumn
from training import plots
from training.contract import Floats
from training.evaluate import LEAST_SLICE
from training.metrics import customer_weights, interval
from training.report import Section
from training.rows import Rows
from training.slices import audit_slices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.supervised.case import SupervisedCase

Share = tuple[Floats, Floats]
"""Numerator and denominator, each of shape (n_rows,): a weighted sum of one over the other."""
DRAWN = ("found_share", "false_alarm_share", "precision")
MEASURES: dict[str, str] = {
    "mean_probability": "mean probability, to be held against the rate",
    "over": "mean probability less the rate",
    "named_share": "customers at or above the threshold",
    "found_share": "of those with the event, at or above the threshold (true positive rate)",
    "false_alarm_share": "of those without, at or above the threshold (false positive rate)",
    "precision": "of those at or above the threshold, with the event",
}


def put_aside(schema: Sequence[FeatureColumn], audit: Sequence[str]) -> list[FeatureColumn]:
    """The columns, those named in ``audit`` marked as audit attributes, beside those that are.

    Raises
    ------
    ConfigError
        If one is no column of the features.
    """
    known = [column.name for column in schema]
    lacking = [name for name in audit if name not in known]
    if lacking:
        raise ConfigError(
            f"audit: no column {lacking} among the features; name columns of the sets in features, "
            f"which has {', '.join(known)}"
        )
    return [k.model_copy(update={"sensitivity": "audit"}) if k.name in audit else k for k in schema]


def table(
    rows: Rows, p: Floats, named: NDArray[np.bool_], repeats: int, seed: int
) -> pd.DataFrame | None:
    """Size, rate and every measure of each group with its interval; None without attributes.

    Groups under 50 rows are listed with the reason and not judged. The shares at the threshold are
    those of Hardt, Price and Srebro (2016), "Equality of opportunity in supervised learning".
    """
    if rows.audit is None or rows.audit.empty:
        return None
    ones, yes = np.ones(len(rows)), named.astype(np.float64)
    shares: dict[str, Share] = {
        "mean_probability": (p, ones),
        "over": (p - rows.y, ones),
        "named_share": (yes, ones),
        "found_share": (yes * rows.y, rows.y),
        "false_alarm_share": (yes * (1 - rows.y), 1 - rows.y),
        "precision": (yes * rows.y, yes),
    }
    weights = customer_weights(rows.customers, repeats, seed)
    lines = []
    groups = {"everyone": np.ones(len(rows), bool), **audit_slices(rows.audit)}
    for name, mask in groups.items():
        line: dict[str, object] = {"group": name, "customers": int(mask.sum()), "note": "judged"}
        if mask.sum() < LEAST_SLICE:
            line["note"] = f"not judged: fewer than {LEAST_SLICE} rows"
        else:
            line["rate"] = float(rows.y[mask].mean())
            for measure, (top, bottom) in shares.items():
                line[measure] = _over(top[mask].sum(), bottom[mask].sum())
                drawn = weights[:, mask]
                values = _over(drawn @ top[mask], drawn @ bottom[mask])
                known = values[~np.isnan(values)]
                low, high = interval(known) if len(known) else (np.nan, np.nan)
                line[f"{measure}.ci_low"], line[f"{measure}.ci_high"] = low, high
        lines.append(line)
    ends = ("", ".ci_low", ".ci_high")
    columns = [f"{measure}{end}" for measure in MEASURES for end in ends]
    return pd.DataFrame(lines, columns=["group", "customers", "note", "rate", *columns])


def _over(top: Floats, bottom: Floats) -> Floats:
    """A share; NaN where there is nobody."""
    with np.errstate(invalid="ignore"):
        return np.divide(top, bottom)


def figure(found: pd.DataFrame) -> "Figure":
    """The shares at the threshold by group, with intervals."""
    judged = found[found["note"] == "judged"].iloc[::-1]
    drawn, axes = plots.axes_of(
        "Groups at the threshold", "share (95 % interval)", "", (7.0, 0.5 * len(judged) + 1.6)
    )
    for k, measure in enumerate(DRAWN):
        value = judged[measure]
        low, high = (judged[f"{measure}.{end}"] for end in ("ci_low", "ci_high"))
        axes.errorbar(
            value, np.arange(len(judged)) + 0.2 * (1 - k), capsize=2,
            xerr=plots.whiskers(value, low, high),
            fmt=plots.MARKERS[k], color=plots.COLOURS[k], label=measure.replace("_", " "),
        )  # fmt: skip
    axes.set_yticks(range(len(judged)), judged["group"])
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8)
    return drawn


def sections(case: "SupervisedCase") -> list[Section]:
    """Of events, where there are audit attributes."""
    if case.judged.kind != "event" or case.rows.audit is None:
        return []
    found = table(case.rows, case.answers, case.named, *case.draws)
    return [] if found is None else [section(found, [str(name) for name in case.rows.audit])]


def section(found: pd.DataFrame, attributes: Sequence[str]) -> Section:
    """The section of the card: every group, and how far apart the groups of an attribute are."""
    said = "; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items())
    gaps = [_gap(found, name, measure) for name in attributes for measure in DRAWN]
    text = [
        f"Audit attributes are kept out of training: {', '.join(attributes)}. {said}.",
        "Largest distance between two judged groups of an attribute: "
        + "; ".join(filter(None, gaps))
        + ".",
    ]
    shown = found[["group", "customers", "note"]].assign(
        rate=["not known" if pd.isna(v) else f"{v:.3f}" for v in found["rate"]],
        **{measure: _cells(found, measure) for measure in MEASURES},
    )
    return Section(
        "Fairness", text, shown,
        figures={"fairness": (found, figure(found))}, files={"fairness": found},
    )  # fmt: skip


def _cells(found: pd.DataFrame, measure: str) -> list[str]:
    """Such as ``0.741 [0.710, 0.769]``."""
    spans = zip(*(found[f"{measure}{end}"] for end in ("", ".ci_low", ".ci_high")), strict=True)
    return [
        "not known" if pd.isna(v) else f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in spans
    ]


def _gap(found: pd.DataFrame, attribute: str, measure: str) -> str:
    own = found[found["group"].str.startswith(f"{attribute} ") & found[measure].notna()]
    if len(own) < 2:
        return ""
    high, low = (own.loc[pick(own[measure])] for pick in (pd.Series.idxmax, pd.Series.idxmin))
    return (
        f"{measure.replace('_', ' ')} {high[measure] - low[measure]:.3f} "
        f"({high['group']} over {low['group']})"
    )
