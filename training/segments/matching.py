"""The same segments next time: matched to earlier ones, and who moved between cutoffs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.contract import Floats
from training.segments.cells import Ints
from training.segments.config import Named
from training.segments.segmentation import Assigned
from training.segments.space import Space
from training.segments.stability import jaccard, matched, table_of

SHARE = 0.25
"""Share of a segment's customers from which a part of it counts."""
SURE = 0.8
"""Confidence under which a customer is about to leave a segment."""
FAR = 2.0
"""Mean squared robust deviations per column beyond which a segment is not the one it is named
after."""


def letters(count: int, taken: Sequence[str] = ()) -> list[str]:
    """``count`` ids A, B, ..., Z, AA, AB, ... that are not taken."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    every = [*alphabet, *(a + b for a in alphabet for b in alphabet)]
    return [i for i in every if i not in taken][:count]


def kept_names(
    names: Sequence[Named], medians: Sequence[Mapping[str, float]], space: Space
) -> list[Named | None]:
    """The name that each segment keeps, by nearness of medians; None for a segment of its own.

    Hungarian matching in the scaled space over the columns that a name says something of.
    """
    if not names:
        return [None] * len(medians)

    def scaled(values: Mapping[str, float]) -> Floats:
        row = np.array([[values.get(c, np.nan) for c in space.columns]])
        found: Floats = np.where(np.isnan(row), np.nan, space.scaled(row))[0]
        return found

    likeness = np.zeros((len(medians), len(names)))
    for i, own in enumerate(medians):
        for j, named in enumerate(names):
            away = (scaled(own) - scaled(named.like)) ** 2
            distance = float(np.nanmean(away)) if np.isfinite(away).any() else np.inf
            likeness[i, j] = max(0.0, 1.0 - distance / FAR)
    return [names[j] if j >= 0 else None for j in matched(likeness)]


@dataclass(frozen=True)
class Followed:
    """How the segments of one version go on in the next, on the same customers."""

    counts: Floats
    """Customers by old and new segment, shape (n_old, n_new)."""
    successor: Ints
    """New segment of each old one; -1 = it vanished."""

    def table(self, old: Sequence[str], new: Sequence[str]) -> pd.DataFrame:
        """Tidy: segment, becomes, customers, share that stays, overlap (Jaccard), drift, what."""
        alike, size = jaccard(self.counts), self.counts.sum(axis=1)
        lines = []
        for i, name in enumerate(old):
            j = int(self.successor[i])
            share = self.counts[i] / max(size[i], 1.0)
            overlap = float(alike[i, j]) if j >= 0 else 0.0
            lines.append({
                "segment": name, "becomes": new[j] if j >= 0 else "nothing: it vanished",
                "customers": int(size[i]), "stays": float(share[j]) if j >= 0 else 0.0,
                "overlap": overlap, "drift": 1.0 - overlap, "what": self._what(i, share, new),
            })  # fmt: skip
        for j in sorted(set(range(len(new))) - set(self.successor.tolist())):
            lines.append({
                "segment": "none before", "becomes": new[j],
                "customers": int(self.counts[:, j].sum()), "stays": 0.0, "overlap": 0.0,
                "drift": 1.0, "what": "new",
            })  # fmt: skip
        return pd.DataFrame(lines)

    def _what(self, i: int, share: Floats, new: Sequence[str]) -> str:
        parts = [new[int(j)] for j in np.flatnonzero(share >= SHARE)]
        if len(parts) > 1:
            return f"splits into {' and '.join(parts)}"
        j = int(self.successor[i])
        into = int(np.argmax(share))
        if j < 0 and share[into] > 0:
            return f"merges into {new[into]}"
        return "goes on" if j >= 0 else "vanished"


def follow(old: Ints, new: Ints, n_old: int, n_new: int) -> Followed:
    """Match segments by the customers they share."""
    counts = table_of(old, new, n_old, n_new)
    return Followed(counts, matched(jaccard(counts)))


def migration(before: pd.DataFrame, after: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Who moved where between two cutoffs, with the value moved.

    Parameters
    ----------
    before, after
        By customer: ``segment`` and ``value``.

    Returns
    -------
    DataFrame
        Tidy: from, to, customers, share (of ``from``), value_before, value_after. Customers known
        at the later cutoff alone come from "new".
    """
    joined = after.join(before.add_suffix("_before"), how="left")
    joined["from"] = joined["segment_before"].map(lambda s: "new" if s != s else names[int(s)])
    joined["to"] = joined["segment"].map(lambda s: names[int(s)])
    moved = joined.groupby(["from", "to"], sort=False).agg(
        customers=("segment", "size"),
        value_before=("value_before", "sum"),
        value_after=("value", "sum"),
    )
    order = pd.MultiIndex.from_product([[*names, "new"], names], names=["from", "to"])
    found = moved.reindex(order, fill_value=0).reset_index()
    total = found.groupby("from")["customers"].transform("sum").clip(lower=1)
    found.insert(3, "share", found["customers"] / total)
    return found


def warnings(
    best: int, assigned: Assigned, value: Floats, moved: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Early warnings about the best segment: who left it, and who is about to."""
    unsure = (assigned.segment == best) & (assigned.confidence < SURE) & (assigned.runner_up > best)
    gone = moved[(moved["from"] == names[best]) & (moved["to"] != names[best])]
    lines = [
        {
            "warning": f"left {names[best]} since the cutoff before",
            "customers": int(gone["customers"].sum()),
            "value": float(gone["value_before"].sum()),
        },
        {
            "warning": f"in {names[best]} with a confidence under {SURE:g}, next to a segment of "
            "less value",
            "customers": int(unsure.sum()),
            "value": float(value[unsure].sum()),
        },
    ]
    return pd.DataFrame(lines)
