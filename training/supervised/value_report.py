"""What a reviewer sees of customer values: intervals, cohorts, tiers, orders in time, coherence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from features import columns as c
from features.settings import Workspace
from features.snapshot import read_features
from training import value_plots
from training.categories import encoded
from training.details.spread import LIKELY
from training.details.value import TIERS, CustomerValue
from training.metrics import customer_weights, interval
from training.pipeline import Prepared
from training.report import Section
from training.rows import Rows
from training.supervised.bundle import Bundle
from training.supervised.value_coherence import (
    BesideChurn,
    approved_churn,
    beside_churn,
    contradictions,
    section,
)

TENTHS = 10
WEEK = 7
DRAWS = 200
"""Bootstrap draws behind the interval of a cohort's error."""
DEPENDS = 0.2
"""Rank correlation from which the Gamma-Gamma model is said to be off."""
OFF = 0.05
"""How far coverage among likely buyers may be from what was asked for."""


@dataclass(frozen=True)
class ValueReport:
    """Tables about the values that a bundle tells of the test rows."""

    details: CustomerValue
    coverage: pd.DataFrame
    """By tenth of the chance: customers, chance, share that bought, share within the interval."""
    likely: float
    """Share within the interval of those with a chance of ``LIKELY`` or more."""
    cohorts: pd.DataFrame
    """By quarter of the first order: customers, predicted, planned (where it was) and actual sums,
    the error of the first two, and the interval of the prediction's."""
    alive: pd.DataFrame
    """By recency and frequency: customers and mean ``p_alive``."""
    tracking: pd.DataFrame
    """By week after the cutoff: orders expected by the published model, and actual ones, so far."""
    tiers: pd.DataFrame
    """By tier: customers, cut-off, predicted and actual mean, share of the actual whole."""
    migration: pd.DataFrame
    """Customers by tier at the latest teaching cutoff (down) and at the test cutoff (across)."""
    contradictions: pd.DataFrame
    """Rows whose numbers do not go together, with the reason; empty if all is well."""
    dependence: tuple[float, float]
    """Rank correlation of orders and their mean value, which Gamma-Gamma takes for 0, and its
    standard error."""
    churn: BesideChurn | str
    """Value beside the approved churn answer; or why there is none."""

    @property
    def checks(self) -> dict[str, tuple[float, float]]:
        """What gates demand: name -> (found, at most)."""
        asked = self.details.config.coverage
        return {
            "contradictions among windows, intervals and parts": (len(self.contradictions), 0.0),
            f"{asked:.0%} intervals of likely buyers: distance from that": (
                abs(self.likely - asked), OFF,
            ),
            **(self.churn.checks if isinstance(self.churn, BesideChurn) else {}),
        }  # fmt: skip


def value_report(
    place: Workspace, bundle: Bundle, rows: Rows, prepared: Prepared, test: datetime
) -> ValueReport:
    """All tables; features at the latest teaching cutoff and orders after the test are read."""
    details = bundle.details
    assert isinstance(details, CustomerValue), "asked of bundles that tell values"
    told = bundle.predict_frame(rows.X[list(bundle.columns)])
    told.index = pd.Index(rows.customers, name=c.CUSTOMER)
    h, output = details.config.horizon_days, bundle.answer.output
    chance, y = told[f"chance_next_{h}d"].to_numpy(), rows.y
    inside = (y >= told[f"lower_next_{h}d"].to_numpy()) & (y <= told[f"upper_next_{h}d"].to_numpy())
    likely = chance >= LIKELY
    churn = approved_churn(place, details.config.churn_model, test)
    by_chance = pd.DataFrame({
        "tenth": _tenths(chance), "n": 1, "chance": chance, "bought": y > 0, "inside": inside,
    })  # fmt: skip
    coverage = by_chance.groupby("tenth").agg(
        n=("n", "sum"), chance=("chance", "mean"), bought=("bought", "mean"),
        inside=("inside", "mean"),
    ).reset_index()  # fmt: skip
    return ValueReport(
        details,
        coverage,
        float(inside[likely].mean()) if likely.any() else float("nan"),
        _cohorts(rows, told[output].to_numpy(), test, details.config.planned),
        _alive(rows, told["p_alive"].to_numpy()),
        _tracking(bundle, details, rows, prepared, test),
        _tiers(details, told, told[output].to_numpy(), y),
        _migration(bundle, told["value_tier"], prepared),
        contradictions(told, details),
        bundle.model.published.spend(_values(bundle, rows)).dependence(),  # type: ignore[attr-defined]
        churn if isinstance(churn, str) else beside_churn(churn, told, details),
    )


def _tenths(values: np.ndarray) -> np.ndarray:
    places = pd.Series(values).rank(method="first").to_numpy()
    found: np.ndarray = np.ceil(places / len(values) * TENTHS).astype(int)
    return found


def _cohorts(
    rows: Rows, predicted: np.ndarray, test: datetime, planned: Mapping[str, float]
) -> pd.DataFrame:
    first = pd.Timestamp(test) - pd.to_timedelta(rows.X["rfm__T_days"].to_numpy(float), unit="D")
    quarter = pd.Series(first).dt.to_period("Q").astype(str).to_numpy()
    table = pd.DataFrame({"cohort": quarter, "n": 1, "predicted": predicted, "actual": rows.y})
    found = table.groupby("cohort").sum()
    found.loc["all"] = found.sum()
    actual = found["actual"].where(found["actual"] > 0)
    found["error"] = found["predicted"] / actual - 1.0
    weights = customer_weights(rows.customers, DRAWS, seed=0)
    for cohort in found.index:
        inside = (quarter == cohort) | (cohort == "all")
        drawn = weights[:, inside]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = (drawn @ predicted[inside]) / (drawn @ rows.y[inside]) - 1.0
        found.loc[cohort, ["error_low", "error_high"]] = interval(errors[np.isfinite(errors)])
    if planned:
        found["planned"] = pd.Series(planned)
        found["planned_error"] = found["planned"] / actual - 1.0
    return found.astype({"n": int}).reset_index()


def _alive(rows: Rows, p_alive: np.ndarray) -> pd.DataFrame:
    recency = pd.cut(rows.X["rfm__recency_days"], value_plots.RECENCY, right=False)
    orders = pd.cut(rows.X["rfm__frequency_orders"] + 1, value_plots.ORDERS, right=False)
    table = pd.DataFrame({"recency": recency.to_numpy(), "orders": orders.to_numpy(), "n": 1})
    table["p_alive"] = p_alive
    grouped = table.groupby(["recency", "orders"], observed=True)
    found = grouped.agg(n=("n", "sum"), p_alive=("p_alive", "mean")).reset_index()
    return found.assign(
        recency=[_cell(i, 0.0) for i in found["recency"]],
        orders=[_cell(i, 1.0) for i in found["orders"]],
    )


def _cell(bounds: pd.Interval, step: float) -> str:
    """Such as ``3-4``, ``1`` or ``20 or more``."""
    low, high = bounds.left, bounds.right
    if high in (value_plots.RECENCY[-1], value_plots.ORDERS[-1]):
        return f"{low:g} or more"
    return f"{low:g}" if high - step == low else f"{low:g}-{high - step:g}"


def _tracking(
    bundle: Bundle, details: CustomerValue, rows: Rows, prepared: Prepared, test: datetime
) -> pd.DataFrame:
    """Expected against actual orders of the customers asked, week by week."""
    published = bundle.model.published  # type: ignore[attr-defined]
    values = _values(bundle, rows)
    horizon = details.config.horizon_days
    ends = [*range(WEEK, horizon, WEEK), horizon]
    alive = published.parts(values)["alive"]
    expected = [float((alive * published.discounted_orders(values, t, 0.0)).sum()) for t in ends]
    with prepared.stored.open() as tables:
        orders = tables.following([test], horizon, 0).orders
        found = tables.backend.to_pyarrow(orders.select(c.CUSTOMER, c.EVENT_TIME)).to_pandas()
    found = found[found[c.CUSTOMER].isin(rows.customers)]
    after = (found[c.EVENT_TIME] - pd.Timestamp(test)).dt.total_seconds() / 86_400
    return pd.DataFrame({
        "days": ends, "expected": expected, "actual": [int((after < t).sum()) for t in ends],
    })  # fmt: skip


def _values(bundle: Bundle, rows: Rows) -> np.ndarray:
    X = rows.X[list(bundle.columns)]
    found: np.ndarray = encoded(X, bundle.answer.columns).to_numpy(np.float64)
    return found


def _tiers(
    details: CustomerValue, told: pd.DataFrame, predicted: np.ndarray, y: np.ndarray
) -> pd.DataFrame:
    days = details.config.tier_days
    table = pd.DataFrame({
        "tier": told["value_tier"].to_numpy(), "n": 1, "predicted": predicted, "actual": y,
        "value": told[f"clv_next_{days}d"].to_numpy(),
    })  # fmt: skip
    found = table.groupby("tier").agg(
        n=("n", "sum"), mean_value=("value", "mean"), predicted=("predicted", "mean"),
        actual=("actual", "mean"), actual_sum=("actual", "sum"),
    )  # fmt: skip
    found["share_of_actual"] = found.pop("actual_sum") / max(y.sum(), 1e-9)
    lowest = dict(zip(TIERS, (*details.cutoffs, 0.0), strict=True))
    found.insert(1, "from_value", [lowest[str(tier)] for tier in found.index])
    return found.reindex([t for t in TIERS if t in found.index]).reset_index()


def _migration(bundle: Bundle, now: pd.Series, prepared: Prepared) -> pd.DataFrame:
    """By the same model and cut-offs, so that only customers change."""
    latest = prepared.moments.teaching[-1]
    before = read_features(prepared.features.folder, [latest]).to_pandas().set_index(c.CUSTOMER)
    both = before.index.intersection(now.index)
    then = bundle.predict_frame(before.loc[both, list(bundle.columns)])["value_tier"]
    table = pd.crosstab(then, now.loc[both]).reindex(index=TIERS, columns=TIERS, fill_value=0)
    new = now[~now.index.isin(both)].value_counts().reindex(TIERS, fill_value=0)
    table.loc["not yet a customer"] = new
    return table.rename_axis(index=f"at {latest:%Y-%m-%d}", columns=None).reset_index()


def sections(report: ValueReport, currency: str) -> list[Section]:
    """Sections of the card."""
    c_ = report.details.config
    h = c_.horizon_days
    value = (
        f"Value is spend times {c_.kept:.2f} (margin {c_.gross_margin:g} less service "
        f"{c_.cost_of_service:g}), in {currency}, discounted by {c_.yearly_discount:.0%} a year. "
        f"Spend of the next {h} days is learned; what comes after goes on at that level, without "
        "the season, by the expected orders of the published model."
    )
    tiers = (
        f"By clv_next_{c_.tier_days}d; cut-offs are those that gave the highest "
        f"{c_.tier_shares[0]:.0%} and the next {c_.tier_shares[1]:.0%} of customers at the latest "
        f"validation cutoff. Means of spend in {h} days."
    )
    covers = (
        f"{c_.coverage:.0%} intervals hold the spend of {report.likely:.1%} of the customers with "
        f"a chance of at least {LIKELY:g} to buy. Of the others an interval ends at 0 or near, "
        "and holds more than it should."
    )
    wrong = len(report.contradictions)
    rho, error = report.dependence
    assumed = (
        f"Gamma-Gamma takes the value of orders for independent of their number: rank correlation "
        f"{rho:+.3f} (standard error {error:.3f}) among customers who came back"
        + (
            f", {DEPENDS:g} or more from 0: order_value is off for frequent buyers. What labels "
            "teach makes up for it in the answer; a lower weight lets that count for more."
            if abs(rho) >= DEPENDS
            else ", near enough."
        )
    )
    coherent = (
        f"{wrong} rows whose windows, intervals or parts contradict each other (contradictions.csv)"
    )
    drawn = value_plots.of_values(report, currency)
    return [
        Section("Value tiers", [value, tiers], report.tiers, files={"tiers": report.tiers}),
        Section(
            "Migration between tiers",
            ["By the same model and cut-offs: how many customers went where."],
            report.migration,
            files={"tier_migration": report.migration},
        ),
        Section(
            "Intervals", [covers, f"{coherent}."], report.coverage,
            figures={"coverage": drawn.pop("coverage")},
            files={"contradictions": report.contradictions},
        ),
        Section(
            "Cohorts and orders in time",
            [
                "Predicted and actual spend by the quarter of the first order, with the error of "
                "the total; orders by week as the published model expects them, and as they came; "
                "its chance to be still a customer by recency and orders.",
                assumed,
            ],
            report.cohorts.astype(object).fillna("not known"),
            figures=drawn,
        ),
        section(report.churn, c_.tier_days, currency),
    ]  # fmt: skip
