"""KPIs by stage, state, segment and channel: those that the source allows, and why not the others.

Each is a sum over a sum: numerators and denominators by customer and channel, over the days before
the test cutoff, added up over the customers of a group.
"""

from collections.abc import Mapping

import ibis
import numpy as np
import pandas as pd

from features import columns as c
from features.views import View
from training.lifecycle.figures import ALL, KPIS, STEPS, Kpi, sessions
from training.segments.profile import LEAST_SHOWN

FEW = f"fewer than {LEAST_SHOWN} customers"


def kpi_table(view: View, days: int, groups: Mapping[str, pd.Series]) -> pd.DataFrame:
    """All KPIs of the ``days`` before the cutoff, for every group and channel.

    Parameters
    ----------
    groups
        Way to group -> name of the group of each customer, by internal number.

    Returns
    -------
    DataFrame
        Tidy: by, group, channel, kpi, value, base (sum of the denominators), customers, note, and
        meaning. A KPI that cannot be told has one line without a value that says why; of groups of
        fewer than 20 customers nothing is told.
    """
    lines = []
    for kpi in KPIS:
        lacking = [name for name in kpi.tables if not view.has(name)]
        if lacking:
            note = f"the source brings no {', '.join(lacking)}"
            lines.append(_line("everyone", ALL, ALL, kpi, note))
            continue
        parts = kpi.measured(view, days)
        if parts.empty:
            note = kpi.why_not or f"nothing in the {days} days"
            lines.append(_line("everyone", ALL, ALL, kpi, note))
            continue
        for way, names in groups.items():
            lines += _told_of(kpi, parts, way, names)
    return pd.DataFrame(lines)


def _line(way: str, group: str, channel: str, kpi: Kpi, note: str) -> dict[str, object]:
    return {
        "by": way, "group": group, "channel": channel, "kpi": kpi.name, "value": np.nan,
        "base": np.nan, "customers": np.nan, "note": note, "meaning": kpi.meaning,
    }  # fmt: skip


def _told_of(kpi: Kpi, parts: pd.DataFrame, way: str, names: pd.Series) -> list[dict[str, object]]:
    sizes = names.value_counts()
    everywhere = parts.assign(channel=ALL)
    if kpi.once:
        everywhere = everywhere.groupby([c.CUSTOMER, c.CHANNEL], as_index=False).max()
    channels = parts if set(parts[c.CHANNEL]) != {ALL} else parts.iloc[:0]
    both = pd.concat([everywhere, channels], ignore_index=True)
    both["group"] = both[c.CUSTOMER].map(names)
    sums = both.dropna(subset="group").groupby(["group", c.CHANNEL], as_index=False).agg(
        part=("part", "sum"), whole=("whole", "sum"), asked=("whole", "count"),
        seen=(c.CUSTOMER, "nunique"),
    )  # fmt: skip
    lines = []
    for row in sums.itertuples(index=False):
        of_all = row.asked == 0
        customers = int(sizes[row.group]) if of_all else int(row.seen)
        line = _line(way, str(row.group), str(row.channel), kpi, "told")
        base = float(customers) if of_all else float(row.whole)
        if customers < LEAST_SHOWN:
            line["note"] = FEW
        elif base <= 0:
            line["note"] = "nothing to divide by"
        else:
            line |= {"value": float(row.part) / base, "base": base, "customers": customers}
        lines.append(line)
    return lines


def channel_funnel(view: View, days: int) -> pd.DataFrame:
    """Sessions by channel that reach each step of the way to a purchase, and where they stop.

    Returns
    -------
    DataFrame
        Tidy: channel, step, sessions (which reach it or go further), conversion (from the step
        before), dropped (share that goes no further). Channels of fewer than 20 customers are left
        out, and those without a second step.
    """
    columns = ["channel", "step", "sessions", "conversion", "dropped"]
    if not view.has("events"):
        return pd.DataFrame(columns=columns)
    found = sessions(view, days)
    depth = ibis.greatest(*[(found[step] * (k + 1)) for k, step in enumerate(STEPS)])
    table = found.mutate(depth=depth).group_by([c.CHANNEL]).aggregate(
        customers=found[c.CUSTOMER].nunique(),
        **{f"step_{k}": (depth >= k + 1).sum() for k in range(len(STEPS))},
    ).order_by(c.CHANNEL).to_pyarrow().to_pandas()  # fmt: skip
    lines = []
    for row in table[table["customers"] >= LEAST_SHOWN].to_dict("records"):
        reached = [float(row[f"step_{k}"]) for k in range(len(STEPS))]
        if not reached[1]:
            continue
        for k, step in enumerate(STEPS):
            base = reached[k - 1] if k else reached[0]
            onward = reached[k + 1] if k + 1 < len(STEPS) else reached[k]
            lines.append({
                "channel": row[c.CHANNEL], "step": step, "sessions": int(reached[k]),
                "conversion": reached[k] / base if base else 0.0,
                "dropped": 1.0 - onward / reached[k] if reached[k] else 0.0,
            })  # fmt: skip
    return pd.DataFrame(lines, columns=columns)
