"""Churn on Online Retail II beside what an afternoon of pandas gets, on the same customers.

Population and truth are made here from the raw file with pandas alone: known customer, quantity and
price above zero, no cancellation, one copy of 1-9 December 2010 dropped; gross of returns, all
codes. At 2011-09-10 and two cutoffs a quarter and half a year earlier, label: no purchase in the 90
days from the cutoff, customers active in the 365 days before, or with ``everyone`` all who have
bought before. The floor rows are re-run on 31 straightforward features; ours is the shipped
pipeline with the source's switches for the same population; its choices rest on cutoffs before the
one reported. ``trees alone`` is the same pipeline without what its model is averaged with.
Differences are paired, bootstrapped by customer.

``simulated`` holds the shipped pipeline and its baselines against the *true* probability of each
customer of the simulated retailer, given all that its history can tell.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/churn_floor.py [everyone] [days: 90 180 270]
    python benchmarks/churn_floor.py simulated [settings of the pipeline, such as search.trials=0]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

END = pd.Timestamp("2011-12-09")
TEST = pd.Timestamp("2011-09-10")
HORIZON = pd.Timedelta(days=90)
YEAR = pd.Timedelta(days=365)
DAYS = (90, 180, 270)
OBSERVED = 738
"""Days from the first row of the file to ``END``."""
EVER = 10_000
WINDOWS = (30, 60, 90, 180, 365)
DRAWS = 1000
TAILS = (0.025, 0.975)
SWITCHES = "{order_lines: {net_returns: false, rules: {not_a_product: {then: keep}}}}"
OURS = "ours: candidate"
SECOND_SHEET = 525_461
"""Row of the file at which the second sheet of the published workbook begins."""


def teaching(days: int) -> int:
    """Cutoffs that teach the one ``days`` before the end, from 150 days after the data begin.

    They are 30 days apart, the last one 90 days before.
    """
    return (OBSERVED - days - 90 - 150) // 30 + 1


def folds(days: int) -> int:
    """Validation cutoffs, 90 days apart, three at most: as many as have something to learn from."""
    return min(3, (teaching(days) - 4) // 3 + 1)


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


def truth(sales: pd.DataFrame, cutoff: pd.Timestamp, active_days: float = 365) -> pd.Series:
    """1 = no purchase in the 90 days from ``cutoff``; customers active in the days before."""
    times = sales["time"]
    since = cutoff - pd.Timedelta(days=active_days)
    active = sales.loc[(times < cutoff) & (times >= since), "customer"].unique()
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


def histories(sales: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    """x, t_x, T in days and mean value of an order."""
    past = sales[sales["time"] < cutoff]
    orders = past.groupby(["customer", "order"]).agg(t=("time", "min"), amount=("amount", "sum"))
    by = orders.groupby("customer")
    first, last = by["t"].min(), by["t"].max()
    day = pd.Timedelta(days=1)
    return pd.DataFrame({
        "x": by.size() - 1.0, "t_x": (last - first) / day,
        "T": (cutoff - first) / day, "value": by["amount"].mean(),
    })  # fmt: skip


def floor_rows(
    sales: pd.DataFrame, cutoff: pd.Timestamp, index: pd.Index, active_days: float
) -> dict[str, np.ndarray]:
    """Scores of the re-run rows for the customers of ``index``."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    from training.models.purchases import BgNbd, Histories, fit

    begin = sales["time"].min() + pd.Timedelta(days=45)
    cutoffs = [cutoff - HORIZON - pd.DateOffset(months=k) for k in range(14)]
    cutoffs = [t for t in cutoffs if t >= begin]
    test = plain_features(sales, cutoff, active_days).reindex(index)
    frames = [plain_features(sales, t, active_days) for t in cutoffs]
    labels = [
        truth(sales, t, active_days).reindex(X.index) for t, X in zip(cutoffs, frames, strict=True)
    ]
    X, y = pd.concat(frames, ignore_index=True), pd.concat(labels, ignore_index=True)
    mild = XGBClassifier(
        n_estimators=300, learning_rate=0.03, max_depth=4, min_child_weight=20, subsample=0.8,
        colsample_bytree=0.6, n_jobs=2, random_state=0,
    )  # fmt: skip
    default = XGBClassifier(n_jobs=2, random_state=0)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    learners = {
        "logistic regression, R, F, M": (logistic, ["recency", "frequency", "total"]),
        "logistic regression, 31 features": (logistic, list(X)),
        "XGBoost default": (default, list(X)),
        "XGBoost mild": (mild, list(X)),
    }
    h = histories(sales, cutoff)[["x", "t_x", "T"]]
    told = Histories(*h.reindex(index).to_numpy().T)
    rates = fit(BgNbd, Histories(*h.to_numpy().T)).model
    rows = {
        "recency rule": test["recency"].to_numpy(),
        "frequency in 365 days": -test["orders_365"].to_numpy(),
        "BG/NBD, no labels": rates.no_purchase(told, HORIZON.days),
    }
    for name, (learner, columns) in learners.items():
        tame = np.log1p if name.startswith("logistic") else np.asarray
        learner.fit(tame(X[columns].fillna(0)), y)
        rows[name] = learner.predict_proba(tame(test[columns].fillna(0)))[:, 1]
    return rows


def run(
    work: Path, pipeline: str, *settings: str, name: str = "measured"
) -> tuple[Path, pd.Series]:
    """The run's folder, and the source's customer number by customer id."""
    command = [sys.executable, "-m", "training", "run", f"configs/{pipeline}.yaml", "--json"]
    for setting in (f"name={name}", "serve=null", *settings):
        command += ["--set", setting]
    with tempfile.TemporaryDirectory() as registry:
        command += ["--store", str(work), "--registry", registry]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    learned, tables = (
        next(p.parent for p in work.glob(f"{kind}/*/manifest.json"))
        for kind in (f"runs/{name}", "tables/*")
    )
    return learned, pd.read_parquet(tables / "links.parquet").set_index("customer_id")["source_id"]


def answered(learned: Path, links: pd.Series) -> pd.DataFrame:
    """What the candidate and the baselines said of the test's customers, and the label."""
    answers = pd.read_parquet(learned / "test.parquet")
    answers.index = pd.Index(answers["customer_id"].map(links), name="customer")
    told = [n for n in answers if n not in ("customer_id", "cutoff", "block")]
    return answers[[n for n in told if not n.endswith(".threshold")]]


def calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    """Mean gap of probability and rate over ten equally filled bins, as floor.md counts it."""
    bins = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(sum(abs((p[b] - y[b]).sum()) for b in bins) / len(y))


def figures(y: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """ROC-AUC and PR-AUC of any score; what a probability is judged by, too."""
    found = {"roc_auc": roc_auc_score(y, score), "pr_auc": average_precision_score(y, score)}
    if score.min() >= 0 and score.max() <= 1:
        found |= {
            "brier": brier_score_loss(y, score),
            "log_loss": log_loss(y, score),
            "ece": calibration_error(y, score),
            "mean_p": float(score.mean()),
        }
    return found


def differences(y: np.ndarray, scores: dict[str, np.ndarray]) -> pd.DataFrame:
    """Paired 95 % intervals, above 0 = ours is better."""
    rng = np.random.default_rng(0)
    draws: dict[str, list[dict[str, float]]] = {n: [] for n in scores if n != OURS}
    for _ in range(DRAWS):
        at = rng.integers(0, len(y), len(y))
        own = figures(y[at], scores[OURS][at])
        for name, taken in draws.items():
            other = figures(y[at], scores[name][at])
            better = {m: own[m] - other[m] for m in ("roc_auc", "pr_auc")}
            better |= {m: other[m] - own[m] for m in ("brier", "log_loss", "ece") if m in other}
            taken.append(better)
    said = {}
    for name, taken in draws.items():
        ends = pd.DataFrame(taken).quantile(TAILS)
        said[name] = {m: "[{:+.4f}, {:+.4f}]".format(*ends[m]) for m in ends}
    return pd.DataFrame(said).T.fillna("")


def real(sales: pd.DataFrame, days: int, active_days: float) -> None:
    """Print every row at one cutoff and the paired differences of ours to each."""
    cutoff = END - pd.Timedelta(days=days)
    y = truth(sales, cutoff, active_days)
    settings = (
        "data=online_retail_II", f"source={SWITCHES}",
        f"task.config.active_within_days={active_days:g}",
        f"cutoffs.test=end-{days}d", f"cutoffs.latest=end-{days + 90}d",
        f"cutoffs.count={teaching(days)}", f"cutoffs.folds={folds(days)}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        mine = answered(*run(Path(work), "churn", *settings))
        trees = ("model.averaged_with=[]", "baselines=[{use: recency.Recency}]")
        alone = answered(*run(Path(work), "churn", *settings, *trees, name="alone"))
        mine["trees alone"] = alone["candidate"]
    strangers = set(mine.index) ^ set(y.index)
    if strangers:
        sys.exit(f"{len(strangers)} customers are in one population and not the other")
    scores = floor_rows(sales, cutoff, y.index, active_days)
    own = mine.drop(columns="label").reindex(y.index).add_prefix("ours: ")
    scores |= {name: column.to_numpy() for name, column in own.items()}
    label = y.to_numpy()
    who = "who ever bought" if active_days == EVER else f"active in {active_days:g} days"
    print(f"\n{cutoff:%Y-%m-%d}: {len(y)} customers {who}, churn rate {label.mean():.4f}")
    table = pd.DataFrame({name: figures(label, score) for name, score in scores.items()}).T
    print(table.round(4).to_string(na_rep=""))
    print(f"{OURS} against each, paired 95 % intervals, above 0 = ours is better:")
    print(differences(label, scores).to_string(), flush=True)


def simulated(settings: list[str]) -> None:
    """Ours and the pipeline's baselines beside the true probabilities."""
    from features.simulate import SimulateConfig, draw_world, true_churn_probability

    config = SimulateConfig()
    kept = 1 - config.returned_share * config.returned_whole_share
    with tempfile.TemporaryDirectory() as work:
        learned, links = run(Path(work), "churn", "data=simulated", *settings)
        told = answered(learned, links)
        cutoff = pd.read_parquet(learned / "test.parquet")["cutoff"].iloc[0].to_pydatetime()
    world = draw_world(config)
    true = true_churn_probability(world, cutoff, HORIZON.days, "history", kept)
    # Accounts that were opened for fraud are nobody's: no process says when they order.
    told = told.loc[told.index.isin(true.index)]
    expected = true.reindex(told.index).to_numpy()
    print(f"simulated retailer, {cutoff:%Y-%m-%d}: {len(told)} customers, true mean probability "
          f"{expected.mean():.4f}, rate {told['label'].mean():.4f}")  # fmt: skip
    rows = {}
    for name, p in told.drop(columns="label").items():
        if p.min() < 0 or p.max() > 1:
            continue
        logit = np.log(p.clip(1e-6, 1 - 1e-6) / (1 - p.clip(1e-6, 1 - 1e-6)))
        line = LogisticRegression(C=np.inf).fit(
            np.tile(logit.to_numpy()[:, None], (2, 1)),
            np.repeat([1, 0], len(p)),
            sample_weight=np.concatenate([expected, 1 - expected]),
        )
        rows[name] = {
            "calibration slope": float(line.coef_[0, 0]),
            "mean p": float(p.mean()),
            "mean absolute error": float(np.abs(p - expected).mean()),
            "rank correlation": float(p.corr(true.reindex(told.index), method="spearman")),
        }
    print(pd.DataFrame(rows).T.round(4).to_string())


def main() -> None:
    """Every cutoff, or those named."""
    words = sys.argv[1:]
    if words[:1] == ["simulated"]:
        simulated(words[1:])
        return
    folder = os.environ.get("PERENNIAL_DATA_DIR") or sys.exit("set PERENNIAL_DATA_DIR")
    sales = population(Path(folder))
    active_days = EVER if "everyone" in words else 365
    for days in [int(word) for word in words if word != "everyone"] or DAYS:
        real(sales, days, active_days)


if __name__ == "__main__":
    main()
