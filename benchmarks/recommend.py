"""Recommendations on Online Retail II beside what an afternoon gets, on the same customers.

Population and truth are made here from the raw file with pandas alone: known customer, quantity and
price above zero, no cancellation, product codes that begin with five digits, one copy of
1-9 December 2010 dropped; gross of returns. Cutoff 2011-09-10, truth [2011-09-10, 2011-12-09); a
cutoff in another season by argument. The floor rows are re-run here with numpy, scipy and implicit;
ours is the shipped pipeline's makers and rankers, whose settings were chosen on earlier cutoffs.
Differences are paired, bootstrapped by customer.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/recommend.py [YYYY-MM-DD ... | latency]

`latency` measures requests alone, by rankers of the same size taught by few customers.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "2")

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

TEST = pd.Timestamp("2011-09-10")
HORIZON = pd.Timedelta(days=90)
DRAWS = 1000
SECOND_SHEET = 525_461
"""Row of the file at which the second sheet of the published workbook begins."""
FLOOR = {"TIFU-like": (0.373, 0.084), "EASE": (0.278, 0.093)}
"""NDCG@10 of all and of never bought, as first measured."""
BEST = {"all": "TIFU-like", "discovery": "EASE"}
REQUESTS = 200


def sales(folder: Path) -> pd.DataFrame:
    """Sales lines of the raw file, by the rules above."""
    name = "online_retail_II.csv.gz"
    path = next(p for p in (folder / "online_retail_II" / name, folder / name) if p.is_file())
    texts = {"Invoice": str, "StockCode": str, "Customer ID": str}
    raw = pd.read_csv(path, dtype=texts, parse_dates=["InvoiceDate"])
    twice = (raw["InvoiceDate"] >= "2010-12-01") & (raw["InvoiceDate"] < "2010-12-10")
    raw = raw[~(twice & (np.arange(len(raw)) >= SECOND_SHEET))]
    sold = (raw["Quantity"] > 0) & (raw["Price"] > 0) & ~raw["Invoice"].str.startswith("C")
    raw = raw[sold & raw["Customer ID"].notna() & raw["StockCode"].str.match(r"^\d{5}")]
    return pd.DataFrame(
        {
            "customer": raw["Customer ID"].str.removesuffix(".0").astype(int),
            "day": raw["InvoiceDate"].dt.normalize(),
            "product": raw["StockCode"].str.upper(),
            "quantity": raw["Quantity"],
            "amount": raw["Quantity"] * raw["Price"],
            "name": raw["Description"].str.strip(),
        }
    )


class World:
    """Population and truth at one cutoff, by pandas alone."""

    def __init__(self, lines: pd.DataFrame, cutoff: pd.Timestamp) -> None:
        past = lines[lines["day"] < cutoff]
        after = lines[(lines["day"] >= cutoff) & (lines["day"] < cutoff + HORIZON)]
        self.cutoff, self.past = cutoff, past
        self.customers = np.sort(past["customer"].unique())
        self.products = np.sort(past["product"].unique())
        last = past[past["name"].str.contains("[A-Z]{3}", na=False)].sort_values("day")
        named = last.drop_duplicates("product", keep="last").set_index("product")["name"]
        self.names = tuple(named.reindex(self.products).fillna(""))
        self.after = after[after["customer"].isin(self.customers)]
        self.asked = np.flatnonzero(np.isin(self.customers, self.after["customer"].unique()))
        pairs = self.after[["customer", "product"]].drop_duplicates()
        known = pairs[pairs["product"].isin(self.products)]
        self.truth = self._matrix(known, np.ones(len(known)))
        other = pairs[~pairs["product"].isin(self.products)]
        at = np.searchsorted(self.customers, other["customer"])
        self.beyond = np.bincount(at, minlength=len(self.customers))
        age = (cutoff - past["day"]).dt.days.to_numpy()
        days = past.assign(age=age).drop_duplicates(["customer", "product", "day"])
        self.decayed = self._matrix(days, np.exp2(-days["age"].to_numpy() / 180))
        self.year = self._matrix(days, np.exp2(-days["age"].to_numpy() / 365)).sqrt()
        self.often = self._matrix(days, np.ones(len(days)))
        season = days[(days["age"] <= 365) & (days["age"] > 365 - HORIZON.days)]
        self.season = self._matrix(season.drop_duplicates(["customer", "product"]), 1.0)
        self.bought = self.decayed > 0

    def _matrix(self, pairs: pd.DataFrame, values: np.ndarray | float) -> sp.csr_matrix:
        at = (
            np.searchsorted(self.customers, pairs["customer"]),
            np.searchsorted(self.products, pairs["product"]),
        )
        values = np.broadcast_to(values, len(pairs))
        made = sp.csr_matrix((values, at), shape=(len(self.customers), len(self.products)))
        made.sum_duplicates()
        return made


def floor_scores(world: World) -> dict[str, np.ndarray]:
    """Scores of the re-run rows for the customers who bought, shape (n_asked, n_products)."""
    X, Y, rows = world.decayed, world.year, world.asked
    recent = np.asarray((X > 0.7).sum(axis=0)).ravel()  # bought within about 90 days
    unit = sp.diags(1 / np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())) @ X
    near = (unit[rows] @ unit.T).toarray()
    near[np.arange(len(rows)), rows] = 0
    edge = -np.partition(-near, 99, axis=1)[:, 99:100]
    near[near < edge] = 0
    others = sp.csr_matrix(near / np.maximum(near.sum(axis=1, keepdims=True), 1e-12)) @ X
    inverse = np.linalg.inv((Y.T @ Y).toarray() + 500 * np.eye(Y.shape[1]))
    links = -inverse / np.diag(inverse)
    np.fill_diagonal(links, 0)
    own = X[rows].toarray()
    gram = (Y.T @ Y).toarray()
    length = np.sqrt(np.diag(gram))
    cosine = gram / (length[:, None] * length + 10)
    np.fill_diagonal(cosine, 0)
    cosine[cosine < -np.partition(-cosine, 199, axis=0)[199]] = 0  # 200: best on 2011-06-12
    return {
        "popularity": np.broadcast_to(recent, own.shape).astype(float),
        "same season last year": np.broadcast_to(
            np.asarray(world.season.sum(axis=0)).ravel() + 1e-6 * recent, own.shape
        ),
        "GP-TopFreq": world.often[rows].toarray() + 1e-6 * recent,
        "personal, half-life 180": own + 1e-6 * recent,
        "item-kNN, cosine": np.asarray(Y[rows] @ cosine),
        "ALS (implicit)": als(Y)[rows],
        "TIFU-like": 0.5 * own + 0.5 * others.toarray(),
        "EASE": np.asarray(Y[rows] @ links),
    }


def als(weights: sp.csr_matrix) -> np.ndarray:
    """Scores by `implicit`, all its own: its vectors of customers, too."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    confidence = (2 * weights).astype(np.float32)
    confidence.data += 1
    with threadpool_limits(limits=1):
        learner = AlternatingLeastSquares(
            factors=64, regularization=30.0, iterations=15, num_threads=1, random_state=7
        )
        learner.fit(confidence, show_progress=False)
    return learner.user_factors @ learner.item_factors.T


def listed(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The ten best of what is allowed."""
    return np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")[:, :10]


def measures(lists: np.ndarray, truth: sp.csr_matrix, beyond: np.ndarray) -> dict[str, np.ndarray]:
    """NDCG, recall and hit rate at 10 by customer; NaN without truth; by a plain loop."""
    made = {name: np.full(len(lists), np.nan) for name in ("ndcg", "recall", "hit rate")}
    for i, own in enumerate(lists):
        true = set(truth.indices[truth.indptr[i] : truth.indptr[i + 1]].tolist())
        total = len(true) + int(beyond[i])
        if total:
            hit = [int(item) in true for item in own]
            gain = sum(h / np.log2(2 + place) for place, h in enumerate(hit))
            best = sum(1 / np.log2(2 + place) for place in range(min(10, total)))
            made["ndcg"][i], made["recall"][i] = gain / best, sum(hit) / total
            made["hit rate"][i] = float(any(hit))
    return made


def paired(ours: np.ndarray, other: np.ndarray) -> str:
    """Difference with a 95 % interval over bootstrap draws of customers."""
    told = ~np.isnan(ours)
    by = (ours - other)[told]
    rng = np.random.default_rng(0)
    means = [by[rng.integers(0, len(by), len(by))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{by.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def seen(world: World):
    """The same for our package."""
    from training.recommend.asof import AsOf
    from training.recommend.catalogue import Attributes
    from training.recommend.histories import Histories

    past = world.past
    columns = {
        "customer": np.searchsorted(world.customers, past["customer"]),
        "item": np.searchsorted(world.products, past["product"]),
        "age": (world.cutoff - past["day"]).dt.days.to_numpy(),
        "quantity": past["quantity"].to_numpy(),
        "amount": past["amount"].to_numpy(),
    }
    histories = Histories.of(columns, len(world.customers), len(world.products))
    attributes = Attributes(tuple(world.products.tolist()), world.names)
    moment = world.cutoff.to_pydatetime()
    truth = world.truth.copy()
    return AsOf(moment, world.customers, histories, attributes, truth, world.beyond)


def learned(lines: pd.DataFrame, world: World, *settings: str):
    """By the shipped pipeline's settings, learned before the cutoff."""
    from features.settings import Workspace
    from training.pipeline import load_plan
    from training.recommend.learn import blocks_of, chosen, fitted

    place = Workspace.locate()
    plan: Any = load_plan(
        place, place.configs / "recommend.yaml", ["data=online_retail_II", *settings]
    )
    first, step = lines["day"].min() + HORIZON, pd.Timedelta(days=plan.config.cutoffs.every_days)
    teaching = [world.cutoff - HORIZON - k * step for k in range(plan.config.cutoffs.count)]
    at = {t: seen(World(lines, t)) for t in reversed(teaching) if t >= first}
    at[world.cutoff] = seen(world)
    begun = time.perf_counter()
    blocks = blocks_of(plan, at, _say)
    best, trials = chosen(plan, blocks, lambda done, n: None)
    if len(trials):
        print(trials[["list", "objectives", "ndcg_at_10", "chosen"]].to_string(index=False))
    made = fitted(plan, at, blocks, best)
    print(
        f"  taught at {[f'{t:%Y-%m-%d}' for t in at][:-1]} in {time.perf_counter() - begun:.0f} s"
    )
    return made


def _say(done: int, n: int) -> None:
    print(f"  candidates at teaching cutoff {done} of {n}", flush=True)


def report(lines: pd.DataFrame, cutoff: pd.Timestamp) -> None:
    """Every row at one cutoff."""
    world = World(lines, cutoff)
    rows = world.asked
    bought = world.bought[rows].toarray()
    truth, beyond = world.truth[rows].tocsr(), world.beyond[rows]
    again = truth.multiply(world.bought[rows]).tocsr()
    new = (truth - again).tocsr()
    new.eliminate_zeros()
    everyone = lines.loc[lines["day"] < cutoff, "customer"].nunique()
    print(
        f"\n{cutoff:%Y-%m-%d}: {everyone:,} customers before, {len(rows):,} with truth, "
        f"{len(world.products):,} items; {int(((np.diff(new.indptr) + beyond) > 0).sum()):,} "
        "bought something new"
    )
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {"all": {}, "repeat": {}, "discovery": {}}
    truths = {"all": (truth, beyond), "repeat": (again, 0 * beyond), "discovery": (new, beyond)}
    allowed = {"all": np.ones_like(bought), "repeat": bought, "discovery": ~bought}
    for name, scores in floor_scores(world).items():
        for kind, (true, more) in truths.items():
            found[kind][name] = measures(listed(scores, allowed[kind]), true, more)
    made = learned(lines, world)
    begun = time.perf_counter()
    lists = made.lists(seen(world).past.take(rows), 10)
    print(f"  lists of {len(rows):,} customers in {time.perf_counter() - begun:.1f} s")
    for kind, (true, more) in truths.items():
        found[kind]["ours"] = measures(lists[kind], true, more)
        print(f"{kind:10s} {'':26s} NDCG@10  Recall@10  hit rate   ours better in NDCG by")
        for name, values in found[kind].items():
            shown = "   ".join(f"{np.nanmean(v):.4f}" for v in values.values())
            by = "" if name == "ours" else paired(found[kind]["ours"]["ndcg"], values["ndcg"])
            print(f"{'':10s} {name:26s} {shown}     {by}")
    if cutoff == TEST:
        latency(made, world)


def latency(made, world: World) -> None:
    """One request in this process, one thread: posted histories of the customers asked."""
    from training.recommend.requests import answer

    by_customer = dict(tuple(world.past.groupby("customer")))
    bodies = [
        {
            "history": [
                {"product_id": p, "days_ago": (world.cutoff - d).days, "quantity": float(q)}
                for p, d, q in zip(own["product"], own["day"], own["quantity"], strict=True)
            ][:5000],
            "list": "mix",
        }
        for own in (by_customer[c] for c in world.customers[world.asked][:REQUESTS])
    ]
    for explained in (False, True):
        answer(made, bodies[0], explained)
        took = []
        for body in bodies:
            begun = time.perf_counter(), time.process_time()
            answer(made, body, explained)
            ended = time.perf_counter(), time.process_time()
            took.append([1000 * (b - a) for a, b in zip(begun, ended, strict=True)])
        (p50, cpu50), (p99, cpu99) = np.quantile(took, [0.5, 0.99], axis=0)
        word = "explained" if explained else "recommended"
        print(
            f"  {word}, {len(took)} requests in process: p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
            f"of the processor p50 {cpu50:.1f} ms, p99 {cpu99:.1f} ms"
        )


def main() -> None:
    """Measure the named cutoffs, or the floor's."""
    folder = os.environ.get("PERENNIAL_DATA_DIR")
    if not folder:
        raise SystemExit("set PERENNIAL_DATA_DIR to the folder with the raw file")
    lines = sales(Path(folder))
    if sys.argv[1:] == ["latency"]:
        world = World(lines, TEST)
        latency(learned(lines, world, "most_customers=300", "cutoffs.count=2"), world)
        return
    for word in sys.argv[1:] or [f"{TEST:%Y-%m-%d}"]:
        report(lines, pd.Timestamp(word))


if __name__ == "__main__":
    main()
