"""Feature rows with labels: what a task says of its customers, joined to what was known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features import columns as c
from features.errors import DataError
from features.schema import FeatureColumn
from features.tables import Tables
from training.contract import DAY, LABEL, AnyTask, Floats, Task

KEYS = [c.CUSTOMER, c.CUTOFF]
PLACE = "place"
"""Of a label: what rows of one cutoff are in order of, random and without the customer key."""


@dataclass(frozen=True)
class Rows:
    """Feature rows with labels; row i is one customer at one cutoff.

    Those of a cutoff lie in an order that the source decides and the customer key does not, so
    that models and intervals are the same wherever the same files are read.
    """

    X: pd.DataFrame
    """Feature columns, shape (n_rows, n_features); words are pandas categories."""
    y: Floats
    """Labels, shape (n_rows,)."""
    customers: NDArray[np.int64]
    cutoffs: NDArray[np.datetime64]
    audit: pd.DataFrame | None = None
    """Audit attributes beside the features: for slices, never for models."""
    days: Floats | None = None
    """Where the question is when: the day on which the event comes, 0 = not within the horizon."""

    def __len__(self) -> int:
        return len(self.y)

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The rows that ``mask`` names."""
        audit = None if self.audit is None else self.audit[mask]
        days = None if self.days is None else self.days[mask]
        customers, cutoffs = self.customers[mask], self.cutoffs[mask]
        return Rows(self.X[mask], self.y[mask], customers, cutoffs, audit, days)

    @classmethod
    def stacked(cls, blocks: "Sequence[Rows]") -> "Rows":
        """The rows of all ``blocks``, one after the other."""
        audits = [block.audit for block in blocks if block.audit is not None]
        days = [block.days for block in blocks if block.days is not None]
        return cls(
            pd.concat([block.X for block in blocks], ignore_index=True),
            np.concatenate([block.y for block in blocks]),
            np.concatenate([block.customers for block in blocks]),
            np.concatenate([block.cutoffs for block in blocks]),
            pd.concat(audits, ignore_index=True) if audits else None,
            np.concatenate(days) if days else None,
        )

    def at(self, cutoff: datetime) -> "Rows":
        """The rows of one cutoff."""
        return self.where(self.cutoffs == np.datetime64(cutoff))


def joined(labels: pd.DataFrame, features: pd.DataFrame, columns: Sequence[FeatureColumn]) -> Rows:
    """Labels with the features of their customers, by cutoff and place.

    Raises
    ------
    DataError
        If a customer has no feature row.
    """
    both = labels.merge(features, on=KEYS, how="left", validate="one_to_one", indicator=True)
    strangers = int((both["_merge"] != "both").sum())
    if strangers:
        raise DataError(
            f"{strangers} asked customers have no feature row; build the features again"
        )
    both = both.sort_values([c.CUTOFF, PLACE], ignore_index=True)
    aside = [k.name for k in columns if k.sensitivity == "audit" and k.name in both]
    return Rows(
        both[[n for n in features.columns if n not in (*KEYS, *aside)]],
        both[LABEL].to_numpy(np.float64), both[c.CUSTOMER].to_numpy(np.int64),
        both[c.CUTOFF].to_numpy("datetime64[us]"), both[aside] if aside else None,
        both[DAY].to_numpy(np.float64) if DAY in both else None,
    )  # fmt: skip


def labels_of(
    tables: Tables, task: Task, cutoffs: Sequence[datetime]
) -> tuple[pd.DataFrame, dict[datetime, int]]:
    """Labels of everyone asked with their places, and how many at each of ``cutoffs`` have none.

    Raises
    ------
    DataError
        If a customer is asked twice at one cutoff.
    """
    found: list[pa.Table] = []
    asked: dict[datetime, int] = {}
    for chosen in tables.passes(cutoffs):
        spine = tables.backend.create_table(
            "asked", task.spine(tables.asof(chosen)), overwrite=True
        )
        following = tables.following(chosen, task.horizon_days, task.maturity_days)
        found.append(tables.backend.to_pyarrow(task.label(spine, following)))
        counts = spine.group_by(c.CUTOFF).aggregate(n=spine.count()).to_pyarrow().to_pylist()
        asked |= {line[c.CUTOFF]: line["n"] for line in counts}
    labels = pa.concat_tables(found).to_pandas()
    labels[PLACE] = labels[c.CUSTOMER].map(places_of(tables))
    doubled = int(labels.duplicated(KEYS).sum())
    if doubled:
        raise DataError(
            f"{doubled} customers are asked twice at one cutoff: the spine or the label of task "
            f"{task.name!r} has doubled keys"
        )
    known = labels[c.CUTOFF].value_counts()
    missing = {t: n - int(known.get(t, 0)) for t, n in asked.items()}
    return labels, {t: n for t, n in missing.items() if n}


def places_of(tables: Tables) -> pd.Series:
    """Each customer's place, by customer."""
    found = tables.backend.to_pyarrow(tables.places()).to_pandas()
    return pd.Series(shuffled(found["place"].to_numpy()), found[c.CUSTOMER], name=PLACE)


def in_order(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by place of their customer; those of one customer stay as they lie."""
    place = rows[c.CUSTOMER].map(places_of(tables)).to_numpy()
    return rows.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def shuffled(places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each place, as if drawn, no two alike: SplitMix64 (Steele, Lea and Flood 2014).

    Files are sorted by time or by name, and what learns from a part of the rows, or in their order,
    must not meet that order.
    """
    z = places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def asked_at(tables: Tables, task: AnyTask, cutoffs: Sequence[datetime]) -> dict[datetime, int]:
    """How many are asked at each of ``cutoffs``."""
    found: dict[datetime, int] = {}
    for chosen in tables.passes(cutoffs) if cutoffs else []:
        spine = task.spine(tables.asof(chosen))
        counts = tables.backend.to_pyarrow(spine.group_by(c.CUTOFF).aggregate(n=spine.count()))
        found |= {line[c.CUTOFF]: line["n"] for line in counts.to_pylist()}
    return {t: found.get(t, 0) for t in cutoffs}
