"""90-day spend on Online Retail II beside what an afternoon of pandas gets, on the same customers.

Population and truth are made from the raw file with pandas alone, as in ``churn_floor.py``: gross
of returns, all codes, everyone who has bought before. At 2011-09-10 (the Christmas quarter) and two
cutoffs a quarter and half a year earlier, ours is the shipped pipeline of ``configs/clv.yaml`` with
the source's switches for that population; its choices rest on cutoffs before the one reported.
Two named outputs are judged: the expected value (a mean: total, Spearman, normalised Gini, share
of spend in the top tenth) and the typical value (a median: MAE). Differences are paired,
bootstrapped by customer.

``simulated`` holds the shipped pipeline and its baselines against the *true* expected value of each
customer of the simulated retailer, known from the processes that made it, and beside that against
what these customers happened to spend.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/clv.py [days before the end: 90 180 270]
    python benchmarks/clv.py simulated [settings of the pipeline, such as search.trials=0]
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from churn_floor import (
    DAYS,
    END,
    EVER,
    HORIZON,
    SWITCHES,
    TAILS,
    YEAR,
    histories,
    plain_features,
    population,
    run,
    teaching,
)

DRAWS = 500
LIKELY = 0.2
WHOLESALE = "task.config.wholesale_order=null"
BASELINE = "baselines=[{use: past_value.PastValue, config: {horizon_days: 90}}]"
"""The floor's rows are fitted here; the pipeline need not fit its own, too."""
OURS = "ours: expected value"
HURDLE = "hurdle: p x log-spend, XGBoost mild"


def spent(sales: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> pd.Series:
    """Spend in ``[since, until)`` by customer."""
    times = sales["time"]
    return sales[(times >= since) & (times < until)].groupby("customer")["amount"].sum()


def truth(sales: pd.DataFrame, cutoff: pd.Timestamp) -> pd.Series:
    """Spend in the 90 days from ``cutoff`` of everyone who has bought before."""
    known = np.sort(sales.loc[sales["time"] < cutoff, "customer"].unique())
    index = pd.Index(known, name="customer")
    return spent(sales, cutoff, cutoff + HORIZON).reindex(index, fill_value=0.0)


def floor_rows(sales: pd.DataFrame, cutoff: pd.Timestamp, index: pd.Index) -> dict[str, np.ndarray]:
    """Forecasts of the re-run rows for the customers of ``index``."""
    from xgboost import XGBClassifier, XGBRegressor

    from training.models.purchases import BgNbd, GammaGamma, Histories, Spend, fit

    latest = cutoff - HORIZON
    cutoffs = [latest - pd.DateOffset(months=k) for k in range(14)]
    cutoffs = [t for t in cutoffs if t >= sales["time"].min() + pd.Timedelta(days=45)]
    frames = [plain_features(sales, t, EVER) for t in cutoffs]
    labels = [truth(sales, t).reindex(X.index) for t, X in zip(cutoffs, frames, strict=True)]
    X, y = pd.concat(frames, ignore_index=True), pd.concat(labels, ignore_index=True)
    test, bought = plain_features(sales, cutoff, EVER).reindex(index), y > 0
    mild = {
        "n_estimators": 300, "learning_rate": 0.03, "max_depth": 4, "min_child_weight": 20,
        "subsample": 0.8, "colsample_bytree": 0.6, "n_jobs": 2, "random_state": 0,
    }  # fmt: skip
    p = XGBClassifier(**mild).fit(X, bought).predict_proba(test)[:, 1]
    amount = XGBRegressor(**mild).fit(X[bought], np.log1p(y[bought]))
    smear = np.exp(np.log1p(y[bought]) - amount.predict(X[bought])).mean()
    tweedie = XGBRegressor(objective="reg:tweedie", tweedie_variance_power=1.5, **mild).fit(X, y)
    plain = XGBRegressor(n_jobs=2, random_state=0).fit(X, y)
    h = histories(sales, cutoff).reindex(index)
    orders = fit(BgNbd, Histories(*(h[name].to_numpy() for name in ("x", "t_x", "T")))).model
    spend = Spend(h["x"].to_numpy() + 1.0, h["value"].to_numpy())
    of_order = fit(GammaGamma, spend).model.expected(spend)
    told = Histories(*(h[name].to_numpy() for name in ("x", "t_x", "T")))
    year_ago = spent(sales, cutoff - YEAR, cutoff - YEAR + HORIZON)
    return {
        "last 90 days": test["amount_90"].to_numpy(),
        "last 365 days x 90/365": test["amount_365"].to_numpy() * 90 / 365,
        "same 90 days of last year": year_ago.reindex(index, fill_value=0.0).to_numpy(),
        "BG/NBD x Gamma-Gamma": orders.expected(told, 90.0) * of_order,
        "XGBoost squared error default": plain.predict(test).astype(float),
        "XGBoost Tweedie mild": tweedie.predict(test).astype(float),
        HURDLE: p * np.exp(amount.predict(test)) * smear,
    }


def ours(work: Path, days: int) -> pd.DataFrame:
    """The candidate's columns, by the source's customer number."""
    from features.settings import Workspace
    from training.bundle import load
    from training.keys import verifying_key

    learned, links = run(
        work, "clv", WHOLESALE, "data=online_retail_II", f"source={SWITCHES}", BASELINE,
        f"cutoffs.test=end-{days}d", f"cutoffs.latest=end-{days + 90}d",
        f"cutoffs.count={teaching(days)}",
    )  # fmt: skip
    made = load(learned / "bundle", verifying_key(Workspace.locate().keys))
    rows = pd.read_parquet(learned / "test_rows.parquet")
    answers = pd.read_parquet(learned / "test.parquet")
    told = made.predict_frame(rows[list(made.columns)])  # type: ignore[attr-defined]
    told.index = pd.Index(answers["customer_id"].map(links), name="customer")
    told.attrs["choices"] = pd.read_csv(learned / "search.csv")
    return told


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties sharing their mean."""
    return pd.Series(values).rank().to_numpy()


def concentration(y: np.ndarray, by: np.ndarray) -> float:
    """Area between the gain curve of ``y`` by falling ``by`` and the diagonal."""
    return float((np.cumsum(y[np.argsort(-by, kind="stable")]) / y.sum()).mean() - 0.5)


def figures(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """What a mean is judged by, and its absolute errors."""
    tenth = np.argsort(-p, kind="stable")[: round(len(y) / 10)]
    return {
        "total": p.sum() / y.sum(),
        "spearman": float(np.corrcoef(ranks(y), ranks(p))[0, 1]),
        "gini": concentration(y, p) / concentration(y, y),
        "top_tenth": y[tenth].sum() / y.sum(),
        "mae": float(np.abs(y - p).mean()),
        "rmse": float(np.sqrt(((y - p) ** 2).mean())),
    }


def report(days: int, mine: pd.DataFrame, y: pd.Series, rows: dict[str, np.ndarray]) -> None:
    """Print one cutoff."""
    actual, cutoff = y.to_numpy(), END - pd.Timedelta(days=days)
    mine = mine.reindex(y.index)
    mean, median = (mine[f"{name}_next_90d"].to_numpy() for name in ("spend", "typical"))
    print(f"\n{cutoff:%Y-%m-%d}: {len(y)} customers, mean {actual.mean():.1f}, "
          f"{(actual > 0).mean():.3f} buy, maximum {actual.max():,.0f}")  # fmt: skip
    print("trials (each judged on cutoffs before this one):")
    print(mine.attrs["choices"].round(4).to_string(index=False))
    shown = {**rows, OURS: mean}
    table = pd.DataFrame({n: figures(actual, p) for n, p in shown.items()}).T
    table.loc["ours: typical value", "mae"] = np.abs(actual - median).mean()
    print(table.round(3).to_string(na_rep=""))
    rng = np.random.default_rng(0)
    draws: dict[tuple[str, str], list[float]] = {}
    for _ in range(DRAWS):
        at = rng.integers(0, len(y), len(y))
        own = figures(actual[at], mean[at])
        draws.setdefault((OURS, "total"), []).append(own["total"])
        typical = float(np.abs(actual[at] - median[at]).mean())
        for name, p in rows.items():
            other = figures(actual[at], p[at])
            nearer = abs(other["total"] - 1) - abs(own["total"] - 1)
            draws.setdefault((name, "total"), []).append(nearer)
            for metric in ("spearman", "gini", "top_tenth"):
                draws.setdefault((name, metric), []).append(own[metric] - other[metric])
            draws.setdefault((name, "mae of typical"), []).append(other["mae"] - typical)
    print("paired 95 % intervals, above 0 = ours is better (total: by how much nearer to the "
          "actual one; mae: the typical value's):")  # fmt: skip
    for name in rows:
        said = [f"{name:38s}"]
        for metric in ("total", "spearman", "gini", "top_tenth", "mae of typical"):
            low, high = np.quantile(draws[name, metric], TAILS)
            digits = 1 if metric.startswith("mae") else 3
            said.append(f"{metric} [{low:+.{digits}f}, {high:+.{digits}f}]")
        print("  " + "  ".join(said))
    low, high = np.quantile(draws[OURS, "total"], TAILS)
    print(f"our total: {figures(actual, mean)['total']:.3f} of the actual one, its drawing alone "
          f"gives [{low:.2f}, {high:.2f}]")  # fmt: skip
    chance = mine["chance_next_90d"].to_numpy()
    inside = (actual >= mine["lower_next_90d"]) & (actual <= mine["upper_next_90d"])
    likely = chance > LIKELY
    print(
        f"80 % intervals hold {inside[likely].mean():.3f} of {likely.sum()} customers with a "
        f"chance above {LIKELY:g}; mean chance {chance.mean():.3f}; by tenth of the chance:"
    )
    tenth = np.ceil(pd.Series(chance).rank(method="first") / len(y) * 10).astype(int).to_numpy()
    by = pd.DataFrame({"tenth": tenth, "chance": chance, "bought": actual > 0, "held": inside})
    print(by.groupby("tenth").mean().round(3).T.to_string(), flush=True)


def simulated(work: Path, settings: list[str]) -> None:
    """Ours and the pipeline's baselines beside the truth of the processes."""
    from features.simulate import SimulateConfig, draw_world, true_expected_spend
    from features.simulate.misuse import draw_misuse

    learned, links = run(
        work, "clv", WHOLESALE, "data=simulated", "source={order_lines: {net_returns: false}}",
        *settings,
    )  # fmt: skip
    told = pd.read_parquet(learned / "test.parquet")
    cutoff = told["cutoff"].iloc[0].to_pydatetime()
    world = draw_world(SimulateConfig())
    true = true_expected_spend(world, cutoff, HORIZON.days)
    told.index = pd.Index(told.pop("customer_id").map(links))
    # Accounts that were opened for fraud are nobody's: no process says what they are worth.
    opened = set(draw_misuse(world).fraud["shopper"]) - set(world.customers["shopper"])
    told = told.loc[~told.index.isin(opened)]
    true = true.reindex(told.index)
    if true.isna().any():
        sys.exit(f"{true.isna().sum()} customers are asked about and were not simulated")
    other = ("label", "cutoff", "block")
    names = [n for n in told if n not in other and not n.endswith(".threshold")]
    expected, real = true.to_numpy(), told["label"].to_numpy()
    shown = {"ours" if n == "candidate" else n: told[n].to_numpy() for n in names}
    print(f"\nsimulated retailer, {cutoff:%Y-%m-%d}: {len(told)} customers, true mean "
          f"{expected.mean():.2f}, mean spent {real.mean():.2f}")  # fmt: skip
    shown["the true expected value"] = expected
    for against, y in {"the true expected value": expected, "what was spent": real}.items():
        print(f"against {against}:")
        table = pd.DataFrame({n: figures(y, p) for n, p in shown.items() if p is not y}).T
        print(table.drop(columns="top_tenth").round(3).to_string())
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(told), (DRAWS, len(told)))
    errors = {n: np.abs(p - expected) for n, p in shown.items()}
    total = [shown["ours"][at].sum() / expected[at].sum() for at in draws]
    print("our total over the true one: [{:.3f}, {:.3f}]".format(*np.quantile(total, TAILS)))
    print("mean absolute error to the true value less ours, paired 95 % intervals:")
    for name in (n for n in errors if n not in ("ours", "the true expected value")):
        less = errors[name] - errors["ours"]
        low, high = np.quantile(less[draws].mean(axis=1), TAILS)
        print(f"  {name:38s} {less.mean():+.2f} [{low:+.2f}, {high:+.2f}]")


def main() -> None:
    """Every cutoff, or those named."""
    words = sys.argv[1:]
    if words[:1] == ["simulated"]:
        with tempfile.TemporaryDirectory() as work:
            simulated(Path(work), words[1:])
        return
    folder = os.environ.get("PERENNIAL_DATA_DIR") or sys.exit("set PERENNIAL_DATA_DIR")
    sales = population(Path(folder))
    for days in [int(word) for word in words] or DAYS:
        with tempfile.TemporaryDirectory() as work:
            cutoff = END - pd.Timedelta(days=days)
            y = truth(sales, cutoff)
            mine = ours(Path(work), days)
            strangers = set(mine.index) ^ set(y.index)
            if strangers:
                sys.exit(f"{len(strangers)} customers are in one population and not the other")
            report(days, mine, y, floor_rows(sales, cutoff, y.index))


if __name__ == "__main__":
    main()
