"""Segments on Online Retail II, on customers of known types, and at a million customers.

``retail`` (needs PERENNIAL_DATA_DIR): the shipped pipeline at the cutoff 2011-09-10 with the
source's switches for the population of ``benchmarks/churn_floor.py`` (gross, all codes), judged by
spend in [2011-09-10, 2011-12-09). Spend is checked against that script's own, and the uncut sum of
quintile scores is re-run on the raw file with pandas alone. Differences are paired, bootstrapped by
customer.

``types``: customers of three simulated retailers, which differ in how often, for how much and how
long they buy, laid together: adjusted Rand index of each way against whose customer it is.

``scale``: a search over k = 2..12 and the chosen segmentation at 1,000,000 customers with 20
columns, beside loops of scikit-learn's KMeans and MiniBatchKMeans over the same k.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/segments.py [retail] [types] [scale [customers]]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

import numpy as np
import pandas as pd
from churn_floor import HORIZON, TEST, population
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_score

from features.schema import FeatureColumn
from features.settings import Part, resolve
from training.segments.baselines import PlainKMeans
from training.segments.choose import WAYS
from training.segments.segmentation import learn
from training.segments.stability import bootstrap

SWITCHES = "{order_lines: {net_returns: false, rules: {not_a_product: {then: keep}}}}"
SHOWN = [
    "buying_auc", "eta_squared", "eta_squared_log", "bootstrap_ari", "relearned_ari", "stayed",
    "smallest_share",
]  # fmt: skip


def pipeline(folder: Path, work: Path) -> tuple[Path, Path, Path]:
    """Run the shipped pipeline; the folders of its pack, its run and its tables."""
    command = [sys.executable, "-m", "training", "run", "configs/segments.yaml", "--json"]
    for option in ("store", "registry"):
        command += [f"--{option}", str(work / option)]
    for setting in ("data=online_retail_II", f"source={SWITCHES}"):
        command += ["--set", setting]
    subprocess.run([*command, "--data-dir", str(folder)], check=True, stdout=subprocess.DEVNULL)
    kinds = ("packs/segments", "runs/segments", "tables/online_retail_II")
    pack, run, tables = (
        next(p for p in (work / "store" / kind).iterdir() if (p / "manifest.json").is_file())
        for kind in kinds
    )
    return pack, run, tables


def quintile_sum(sales: pd.DataFrame, cutoff: pd.Timestamp) -> pd.Series:
    """The plain sum of R, F and M quintile scores, from the raw file."""
    past = sales[sales["time"] < cutoff]
    by = past.groupby("customer")
    recency = (cutoff - by["time"].max()).dt.total_seconds()
    scores = (-recency, by["order"].nunique(), by["amount"].sum())
    return sum(
        pd.qcut(s.rank(method="average"), 5, labels=False, duplicates="drop") for s in scores
    )


def retail() -> None:
    """Print the chosen segmentation, its metrics and the differences to the baselines."""
    folder = Path(os.environ.get("PERENNIAL_DATA_DIR") or sys.exit("set PERENNIAL_DATA_DIR"))
    sales = population(folder)
    with tempfile.TemporaryDirectory() as work:
        pack, run, tables = pipeline(folder, Path(work))
        links = pd.read_parquet(tables / "links.parquet").set_index("customer_id")["source_id"]
        test = pd.read_parquet(run / "test.parquet")
        metrics = pd.read_csv(pack / "metrics.csv")
        differences = pd.read_csv(pack / "differences.csv")
        apart = pd.read_csv(pack / "apart.csv")
        segments = pd.read_csv(pack / "segments.csv")
        way = json.loads((pack / "facts.json").read_text())["way"]
        trials = pd.read_csv(pack / "search.csv")
    test.index = pd.Index(test["customer_id"].map(links), name="customer")
    window = sales[(sales["time"] >= TEST) & (sales["time"] < TEST + HORIZON)]
    spend = window.groupby("customer")["amount"].sum().reindex(test.index, fill_value=0.0)
    print(f"{len(test):,} customers; spend differs from the raw file's by at most "
          f"{np.abs(spend - test['spend']).max():.4f}")  # fmt: skip
    uncut = quintile_sum(sales, TEST).reindex(test.index)
    print(f"uncut quintile sum, raw file: AUC {roc_auc_score(spend > 0, uncut):.4f}")
    print(f"chosen: {way}")
    print(segments.to_string(index=False))
    wide = metrics[metrics["metric"].isin(SHOWN)].copy()
    wide["cell"] = [f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in
                    zip(wide["value"], wide["ci_low"], wide["ci_high"], strict=True)]  # fmt: skip
    print(wide.set_index(["metric", "answer"])["cell"].unstack().to_string())  # noqa: PD010
    shown = differences[differences["metric"].isin(SHOWN)]
    print("candidate better by, paired 95 % interval:")
    print(shown.round(4).to_string(index=False))
    print(f"columns beyond R, F, M in which two segments' intervals are apart: at least "
          f"{apart['columns'].min()}")  # fmt: skip
    best = trials[trials["reason"] == "fits"].sort_values("score").groupby("nature").tail(1)
    print("best trial of rules, clusters and both that keeps every demand:")
    columns = ["nature", "way", "columns", "segments", "ari", "buying", "spend", "log_spend"]
    print(best[columns].round(3).to_string(index=False))


COLUMNS = tuple(
    FeatureColumn(name=name, unit=unit, meaning=name, missing="never", low=0)
    for name, unit in (
        ("rfm__recency_days", "days"), ("rfm__frequency_orders", "orders"),
        ("orders__spend_total", "currency"), ("orders__orders_365d", "orders"),
        ("rfm__monetary_value", "currency"), ("rfm__T_days", "days"),
    )
)  # fmt: skip
RETAILERS = (
    {"purchase_r": 12.0, "purchase_alpha_days": 80.0, "dropout_beta_days": 4e3, "spend_q": 12.0,
     "spend_gamma": 60.0},
    {"purchase_r": 12.0, "purchase_alpha_days": 700.0, "dropout_beta_days": 4e3, "spend_q": 12.0,
     "spend_gamma": 300.0},
    {"purchase_r": 12.0, "purchase_alpha_days": 400.0, "dropout_s": 12.0,
     "dropout_beta_days": 700.0, "spend_q": 12.0, "spend_gamma": 30.0},
)  # fmt: skip
"""Frequent buyers of small baskets, rare ones of large baskets, and those who soon leave."""


def known_types(customers: int = 1_500) -> tuple[pd.DataFrame, np.ndarray]:
    """R, F, M and more of the customers of three retailers, and whose they are."""
    from features.simulate.config import SimulateConfig
    from features.simulate.world import draw_world

    parts, kinds = [], []
    for kind, parameters in enumerate(RETAILERS):
        config = SimulateConfig(customers=customers, seed=kind, **parameters)
        world = draw_world(config)
        end = pd.Timestamp(config.last_day) + pd.Timedelta(days=1)
        orders = world.orders[world.orders["customer"] >= 0].copy()
        orders["age"] = (end - orders["placed_at"]).dt.total_seconds() / 86_400
        by = orders.groupby("customer")
        X = pd.DataFrame({
            "rfm__recency_days": by["age"].min(),
            "rfm__frequency_orders": by.size() - 1.0,
            "orders__spend_total": by["amount_cents"].sum() / 100.0,
            "orders__orders_365d": orders[orders["age"] <= 365].groupby("customer").size(),
            "rfm__monetary_value": by["amount_cents"].mean() / 100.0,
            "rfm__T_days": by["age"].max(),
        }).fillna({"orders__orders_365d": 0.0})  # fmt: skip
        X = X[X["rfm__T_days"] > 365]
        parts.append(X)
        kinds.append(np.full(len(X), kind))
    return pd.concat(parts, ignore_index=True), np.concatenate(kinds)


def types() -> None:
    """Print the agreement of each way with the true types."""
    X, kind = known_types()
    print(f"{len(X):,} customers of {len(RETAILERS)} types, known for more than a year")
    columns = ["rfm__recency_days", "orders__orders_365d", "rfm__monetary_value"]
    given = {"columns": columns, "k": len(RETAILERS)}
    for part in (
        Part(use="kmeans.KMeans", config=given),
        Part(use="mixture.Mixture", config=given),
        Part(use="mixture.Mixture", config={**given, "covariance": "full"}),
        Part(use="hierarchical.Hierarchical", config=given),
        Part(use="density.Density", config={"columns": columns, "smallest": 0.05}),
    ):
        way = resolve(WAYS, part)
        found = learn(way, X, COLUMNS, "orders__spend_total", seed=1).segmentation
        shuffled = X.sample(frac=1.0, random_state=1)
        again = learn(way, shuffled, COLUMNS, "orders__spend_total", seed=1).segmentation
        print(f"    {part.use:28s} {part.config.get('covariance', ''):5s} adjusted Rand index "
              f"{adjusted_rand_score(kind, found.labels(X)):.3f}, shuffled rows give the same "
              f"files: {again.save() == found.save()}")  # fmt: skip
    for logged in (False, True):
        plain = PlainKMeans(len(RETAILERS), logged)
        plain.fit(X, 1)
        found = adjusted_rand_score(kind, plain.labels(X))
        print(f"    plain k-means on {'log ' if logged else ''}R, F, M: {found:.3f}")


def scale(customers: int) -> None:
    """Print minutes and memory of the searches, each in a process of its own."""
    for side in ("ours", "KMeans", "MiniBatchKMeans"):
        printed = subprocess.check_output(
            [sys.executable, __file__, "--child", side, str(customers)], text=True
        )
        print(f"    {side:18s} {printed.strip()}")


def child(side: str, customers: int) -> None:
    """One search over k on customers of eight kinds in 20 columns."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 8, customers)
    X = rng.lognormal(rng.normal(2.0, 0.7, (8, 20))[kind], 0.5)
    held, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if side == "ours":
        schema = [
            FeatureColumn(name=f"x__{j}", unit="orders", meaning="x", missing="never", low=0)
            for j in range(20)
        ]
        frame = pd.DataFrame(X, columns=[c.name for c in schema], copy=False)
        some, scores = frame.iloc[:4_000], {}
        for k in range(2, 13):
            way = resolve(WAYS, Part(use="kmeans.KMeans", config={"columns": list(frame), "k": k}))
            found = learn(way, some, schema, "x__0", seed=1).segmentation
            (stable,) = bootstrap(way, some, schema, "x__0", found, [some], repeats=10, seed=1)
            Z = found.space.scaled(found.rows(some))
            scores[k] = (stable.ari.mean() >= 0.9, silhouette_score(Z, found.labels(some)))
        best = max(scores, key=lambda k: scores[k])
        way = resolve(WAYS, Part(use="kmeans.KMeans", config={"columns": list(frame), "k": best}))
        labels = learn(way, frame, schema, "x__0", seed=1).segmentation.labels(frame)
        said = "with 10 refits for each k"
    else:
        Z = np.log1p(X)
        Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
        make = KMeans if side == "KMeans" else MiniBatchKMeans
        fits = {k: make(k, n_init=1, random_state=0).fit(Z) for k in range(2, 13)}
        found = {k: silhouette_score(Z[:4_000], m.labels_[:4_000]) for k, m in fits.items()}
        best = max(found, key=lambda k: found[k])
        labels, said = fits[best].labels_, "one start for each k, no stability"
    seconds = time.perf_counter() - begun
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1e3
    print(f"{seconds:7.1f} s, {peak:+7.0f} MB, k = {best}, "
          f"adjusted Rand index {adjusted_rand_score(kind, labels):.3f} ({said})")  # fmt: skip


def main() -> None:
    """What is named, or all."""
    words = sys.argv[1:] or ["retail", "types", "scale"]
    if words[0] == "--child":
        child(words[1], int(words[2]))
        return
    if "retail" in words:
        retail()
    if "types" in words:
        types()
    if "scale" in words:
        sizes = [int(word) for word in words if word.isdigit()]
        scale(sizes[0] if sizes else 1_000_000)


if __name__ == "__main__":
    main()
