"""Churn on Online Retail II beside what an afternoon of pandas gets, on the same customers.

Population and truth are made here from the raw file with pandas alone: known customer, quantity and
price above zero, no cancellation, one copy of 1-9 December 2010 dropped; gross of returns, all
codes. Cutoff 2011-09-10, label: no purchase in [2011-09-10, 2011-12-09), customers active in the
365 days before. The floor rows are re-run on 31 straightforward features; ours is the shipped
pipeline with the source's switches for the same population. Differences are paired, bootstrapped
by customer.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/churn_floor.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

TEST = pd.Timestamp("2011-09-10")
HORIZON = pd.Timedelta(days=90)
YEAR = pd.Timedelta(days=365)
CUTOFFS = [pd.Timestamp("2011-06-12") - pd.DateOffset(months=k) for k in range(14)]
WINDOWS = (30, 60, 90, 180, 365)
DRAWS = 1000
BEST, OURS = "XGBoost mild, 14 cutoffs", "ours: candidate"
SECOND_SHEET = 525_461
"""Row of the file at which the second sheet of the published workbook begins."""


def population(folder: Path) -> pd.DataFrame:
    """Sales lines of the raw file, by the rules above."""
    name = "online_retail_II.csv.gz"
    path = next(p for p in (folder / "online_retail_II" / name, folder / name) if p.is_file())
    texts = {"Invoice": str, "StockCode": str, "Customer ID": str}
    raw = pd.read_csv(path, dtype=texts, parse_dates=["InvoiceDate"])
    twice = (raw["InvoiceDate"] >= "2010-12-01") & (raw["InvoiceDate"] < "2010-12-10")
    raw = raw[~(twice & (np.arange(len(raw)) >= SECOND_SHEET))]
    sold = (raw["Quantity"] > 0) & (raw["Price"] > 0) & ~raw["Invoice"].str.startswith("C")
    raw = raw[sold & raw["Customer ID"].notna()]
    return pd.DataFrame(
        {
            "customer": raw["Customer ID"].str.removesuffix(".0"),
            "order": raw["Invoice"],
            "time": raw["InvoiceDate"],
            "product": raw["StockCode"].str.upper(),
            "items": raw["Quantity"],
            "amount": raw["Quantity"] * raw["Price"],
        }
    )


def truth(sales: pd.DataFrame, cutoff: pd.Timestamp) -> pd.Series:
    """1 = no purchase in the 90 days from ``cutoff``; customers active in the 365 days before."""
    times = sales["time"]
    active = sales.loc[(times < cutoff) & (times >= cutoff - YEAR), "customer"].unique()
    bought = sales.loc[(times >= cutoff) & (times < cutoff + HORIZON), "customer"].unique()
    left = (~np.isin(active, bought)).astype(float)
    return pd.Series(left, index=pd.Index(active, name="customer")).sort_index()


def plain_features(
    sales: pd.DataFrame, cutoff: pd.Timestamp, active_days: float = 365
) -> pd.DataFrame:
    """31 straightforward features of every customer active in the days before ``cutoff``."""
    past = sales[sales["time"] < cutoff]
    orders = past.groupby(["customer", "order"], as_index=False).agg(
        time=("time", "min"),
        amount=("amount", "sum"),
        items=("items", "sum"),
        lines=("product", "size"),
    )
    orders = orders.sort_values(["customer", "time"])
    orders["age"] = (cutoff - orders["time"]).dt.total_seconds() / 86_400
    orders["gap"] = orders.groupby("customer")["time"].diff().dt.total_seconds() / 86_400
    by = orders.groupby("customer")
    X = pd.DataFrame(
        {
            "recency": by["age"].min(),
            "tenure": by["age"].max(),
            "frequency": by.size(),
            "monetary": by["amount"].mean(),
            "total": by["amount"].sum(),
            "items_mean": by["items"].mean(),
            "lines_mean": by["lines"].mean(),
            "gap_mean": by["gap"].mean(),
            "gap_sd": by["gap"].std(),
            "gap_median": by["gap"].median(),
            "gap_max": by["gap"].max(),
            "last_amount": by["amount"].last(),
            "products": past.groupby("customer")["product"].nunique(),
        }
    )
    for days in WINDOWS:
        recent = orders[orders["age"] <= days].groupby("customer")
        X[f"orders_{days}"] = recent.size().reindex(X.index, fill_value=0)
        X[f"amount_{days}"] = recent["amount"].sum().reindex(X.index, fill_value=0)
        X[f"items_{days}"] = recent["items"].sum().reindex(X.index, fill_value=0)
    X["overdue"] = X["recency"] / X["gap_mean"].clip(lower=0.1)
    X["recency_share"] = X["recency"] / X["tenure"].clip(lower=1)
    X["trend"] = X["orders_90"] / X["orders_365"].clip(lower=1)
    return X[X["recency"] <= active_days]


def floor_rows(sales: pd.DataFrame, y: pd.Series) -> dict[str, pd.Series]:
    """Scores of the re-run rows for the customers of ``y``."""
    from xgboost import XGBClassifier

    test = plain_features(sales, TEST).reindex(y.index)
    frames = [plain_features(sales, cutoff) for cutoff in CUTOFFS]
    labels = [truth(sales, t).reindex(X.index) for t, X in zip(CUTOFFS, frames, strict=True)]
    X, target = pd.concat(frames, ignore_index=True), pd.concat(labels, ignore_index=True)
    mild = XGBClassifier(
        n_estimators=300, learning_rate=0.03, max_depth=4, min_child_weight=20, subsample=0.8,
        colsample_bytree=0.6, n_jobs=2, random_state=0,
    ).fit(X, target)  # fmt: skip
    return {
        "recency rule": test["recency"],
        "frequency in 365 days": -test["orders_365"],
        BEST: pd.Series(mild.predict_proba(test)[:, 1], index=test.index),
    }


def ours(folder: Path, work: Path) -> dict[str, pd.Series]:
    """Probabilities of the shipped pipeline and its baselines, by the source's customer number."""
    switches = "{order_lines: {net_returns: false, rules: {not_a_product: {then: keep}}}}"
    command = [sys.executable, "-m", "training", "run", "configs/churn.yaml", "--json"]
    for option in ("store", "registry"):
        command += [f"--{option}", str(work / option)]
    for setting in ("data=online_retail_II", f"source={switches}"):
        command += ["--set", setting]
    command += ["--data-dir", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    learned, tables = (
        next(p for p in (work / "store" / kind).iterdir() if (p / "manifest.json").is_file())
        for kind in ("runs/churn", "tables/online_retail_II")
    )
    links = pd.read_parquet(tables / "links.parquet").set_index("customer_id")["source_id"]
    answers = pd.read_parquet(learned / "test.parquet")
    answers.index = pd.Index(answers["customer_id"].map(links), name="customer")
    names = [name for name in answers.columns if name not in ("label", "customer_id")]
    return {f"ours: {name}": answers[name] for name in names}


def figures(y: np.ndarray, score: np.ndarray, w: np.ndarray | None = None) -> dict[str, float]:
    """ROC-AUC and PR-AUC of any score; Brier, log loss and mean of a probability."""
    found = {
        "roc_auc": roc_auc_score(y, score, sample_weight=w),
        "pr_auc": average_precision_score(y, score, sample_weight=w),
    }
    if score.min() >= 0 and score.max() <= 1:
        found |= {
            "brier": brier_score_loss(y, score, sample_weight=w),
            "log_loss": log_loss(y, score, sample_weight=w),
            "mean_p": float(np.average(score, weights=w)),
        }
    return found


def main() -> None:
    """Print every row and the paired differences to the best re-run floor row."""
    folder = os.environ.get("PERENNIAL_DATA_DIR") or sys.exit("set PERENNIAL_DATA_DIR")
    sales = population(Path(folder))
    y = truth(sales, TEST)
    print(f"customers active in 365 days: {len(y)}, churn rate {y.mean():.4f}")
    with tempfile.TemporaryDirectory() as work:
        mine = ours(Path(folder), Path(work))
    strangers = {len(set(s.index) ^ set(y.index)) for s in mine.values()}
    print(f"customers in one population and not the other: {max(strangers)}")
    if max(strangers):
        sys.exit("the populations differ: the rows cannot be compared")
    scores = {n: s.reindex(y.index).to_numpy() for n, s in (floor_rows(sales, y) | mine).items()}
    label = y.to_numpy()
    table = pd.DataFrame({name: figures(label, score) for name, score in scores.items()}).T
    print(table.round(4).to_string(na_rep="no probability"))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        w = np.bincount(rng.integers(0, len(label), len(label)), minlength=len(label)).astype(float)
        a, b = figures(label, scores[OURS], w), figures(label, scores[BEST], w)
        draws.append({name: a[name] - b[name] for name in a})
    print(f"{OURS} minus {BEST}, paired 95 % interval (Brier and log loss: below 0 is better)")
    print(pd.DataFrame(draws).quantile([0.025, 0.975]).T.round(4).to_string())


if __name__ == "__main__":
    main()
