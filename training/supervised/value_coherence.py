"""Whether the numbers told of a customer go together, with each other and with churn."""

import json
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from features import columns as c
from features.settings import Workspace
from features.store import MANIFEST
from training.contract import Floats
from training.details.value import LEAST, TIERS, CustomerValue
from training.gates import CANDIDATE
from training.metrics import Ranked, spearman
from training.record import Record, champion
from training.report import Section

EXTREME = 0.1
"""Share of customers that are surest to stay, or to leave, by either answer."""
LATEST = "spend in the horizon, less cost and discount"
AGREE = 0.3
"""Least rank correlation of being alive and staying; both tell of the same silence."""


def contradictions(told: pd.DataFrame, details: CustomerValue) -> pd.DataFrame:
    """Rows of ``told`` whose numbers cannot all be true: reason, the larger and the smaller."""
    h, windows = details.config.horizon_days, details.config.windows_days
    clv = [f"clv_next_{w}d" for w in windows]
    orders = [
        (LATEST, clv[0]),
        *zip(clv, clv[1:], strict=False),
        (f"lower_next_{h}d", f"typical_next_{h}d"),
        (f"typical_next_{h}d", f"upper_next_{h}d"),
        ("historic_value", "total_value"),
    ]
    found = []
    # The horizon's spend as if all of it came on its last day: no window is worth less.
    latest = details.config.kept * (1.0 + details.config.yearly_discount) ** (-h / 365.0)
    told = told.assign(**{LATEST: latest * told[f"spend_next_{h}d"]})
    for less, more in orders:
        slack = 1e-9 * (1.0 + told[more].abs())
        broken = told[told[less] > told[more] + slack]
        found += [(i, f"{less} above {more}", row[less], row[more]) for i, row in broken.iterrows()]
    for name in ("p_alive", f"chance_next_{h}d"):
        broken = told[(told[name] < 0) | (told[name] > 1)]
        found += [(i, f"{name} is no probability", row[name], 1.0) for i, row in broken.iterrows()]
    return pd.DataFrame(found, columns=["row", "reason", "found", "at_most"])


@dataclass(frozen=True)
class Churn:
    """An approved answer to who leaves, at the same cutoff."""

    version: int
    probability: pd.Series
    """By customer; of those that churn was asked about."""
    threshold: float
    """From which a customer counts as leaving."""


def approved_churn(place: Workspace, model: str, test: datetime) -> Churn | str:
    """What the champion of ``model`` said of its test rows; or why that cannot be had."""
    standing = champion(Record(place).entries(model))
    if standing is None:
        return f"no version of {model!r} is approved: approve one and judge again"
    for path in sorted((place.store / "runs" / model).glob(f"*/{MANIFEST}")):
        if json.loads(path.read_text())["facts"]["digest"] == standing.digest:
            break
    else:
        return f"the run of {model} version {standing.version} is no longer in the store"
    told = pd.read_parquet(path.parent / "test.parquet")
    asked = told["cutoff"].unique()
    if list(asked) != [pd.Timestamp(test)]:
        return f"{model} version {standing.version} was judged at another cutoff: {asked.tolist()}"
    probability = told.set_index(c.CUSTOMER)[CANDIDATE]
    return Churn(standing.version, probability, float(told[f"{CANDIDATE}.threshold"].median()))


@dataclass(frozen=True)
class BesideChurn:
    """Value and churn of the customers that both were asked about."""

    churn: Churn
    customers: int
    agreement: dict[str, float]
    """Column -> rank correlation with 1 - churn."""
    at_risk: pd.DataFrame
    """By tier: customers, value, mean churn, share of the value of who counts as leaving, and the
    share that is to be expected to leave."""
    contradictions: pd.DataFrame
    """Customers that are among the surest alive and the surest to leave, or the other way."""

    @property
    def checks(self) -> dict[str, tuple[float, float]]:
        """What gates demand: name -> (found, at most)."""
        short = max(AGREE - self.agreement["p_alive"], 0.0)
        return {f"p_alive against churn: rank correlation short of {AGREE:g}": (short, 0.0)}


def beside_churn(churn: Churn, told: pd.DataFrame, details: CustomerValue) -> BesideChurn:
    """Hold ``told``, indexed by customer, against churn."""
    h, days = details.config.horizon_days, details.config.tier_days
    both = told.index.intersection(churn.probability.index)
    told, leaves = told.loc[both], churn.probability.loc[both].to_numpy()
    names = ("p_alive", f"chance_next_{h}d")
    agreement = {
        name: spearman(Ranked.of(1.0 - leaves, told[name].to_numpy(), 0.5), np.ones(len(both)))
        for name in names
    }
    table = pd.DataFrame({
        "tier": told["value_tier"].to_numpy(), "customers": 1,
        "value": told[f"clv_next_{days}d"].to_numpy(), "churn": leaves,
    })  # fmt: skip
    table["leaving"] = table["value"] * (leaves >= churn.threshold)
    table["expected"] = table["value"] * leaves
    grouped = table.groupby("tier").agg(
        customers=("customers", "sum"), value=("value", "sum"), mean_churn=("churn", "mean"),
        leaving=("leaving", "sum"), expected=("expected", "sum"),
    ).reindex([t for t in TIERS if t in set(table["tier"])])  # fmt: skip
    whole = grouped.sum()
    whole["mean_churn"] = table["churn"].mean()
    at_risk = pd.concat([grouped, whole.rename("all").to_frame().T])
    value = at_risk["value"].clip(lower=LEAST)
    at_risk["share_leaving"] = at_risk.pop("leaving") / value
    at_risk["share_expected"] = at_risk.pop("expected") / value
    return BesideChurn(
        churn, len(both), agreement,
        at_risk.astype({"customers": int}).rename_axis("tier").reset_index(),
        _contradictions(told, leaves),
    )  # fmt: skip


def _contradictions(told: pd.DataFrame, leaves: Floats) -> pd.DataFrame:
    alive, leaving = (
        pd.Series(values).rank(pct=True).to_numpy()
        for values in (told["p_alive"].to_numpy(), leaves)
    )
    rows = []
    for reason, odd in (
        ("surest alive, surest to leave", (alive > 1 - EXTREME) & (leaving > 1 - EXTREME)),
        ("surest gone, surest to stay", (alive <= EXTREME) & (leaving <= EXTREME)),
    ):
        for i in np.flatnonzero(odd):
            rows.append((told.index[i], reason, told["p_alive"].iloc[i], leaves[i]))
    return pd.DataFrame(rows, columns=["row", "reason", "p_alive", "churn"])


def section(found: BesideChurn | str, days: int, currency: str) -> Section:
    """A section of the card."""
    heading = "Value at risk, and churn beside it"
    if isinstance(found, str):
        return Section(heading, [f"Missing: {found}."])
    rank = ", ".join(f"{name} {value:.2f}" for name, value in found.agreement.items())
    odd = found.contradictions["reason"].value_counts()
    said = "; ".join(f"{n} {reason}" for reason, n in odd.items()) or "none"
    return Section(
        heading,
        [
            f"Of the {found.customers:,} customers that version {found.churn.version} of the "
            f"approved churn answer was asked about at the same cutoff. Value is clv_next_{days}d "
            f"in {currency}; share_leaving is that of customers at or above its threshold "
            f"{found.churn.threshold:.3f}, share_expected weighs value by the probability.",
            f"Rank correlation with staying: {rank}. Contradictions (among the {EXTREME:.0%} "
            f"surest by both, and opposed): {said}; churn_contradictions.csv lists them.",
        ],
        found.at_risk,
        files={"value_at_risk": found.at_risk, "churn_contradictions": found.contradictions},
    )
