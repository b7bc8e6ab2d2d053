"""Lifecycle: hidden stages of the simulated retailer, and the next period on Online Retail II.

``simulated``: the shipped pipeline on the simulated retailer. Hidden stages are those of its truth:
gone (after the dropout), and before it frequent or rare by the true purchase rate, cut at the
median. What each learned state and each stage by rules stands for is read off at the teaching
cutoff and judged in the periods after it: accuracy of the likeliest stage with paired intervals,
bootstrapped by customer; error of the moves between stages and of the time spent in each, of the
chain both as it expects them (its probability of each state, moved on) and counted between the
likeliest stages, of the rules as counted, for they tell nothing else.

``retail`` (needs PERENNIAL_DATA_DIR): the shipped pipeline on the real file, its metrics beside the
stages by rules.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/lifecycle.py [simulated [customers]] [retail]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from features import columns as c
from training import bundle as common
from training.keys import verifying_key
from training.lifecycle.bundle import LifecycleBundle

HIDDEN = ("frequent", "rare", "gone")
DRAWS = 1_000
Floats = np.ndarray


def pipeline(work: Path, *settings: str) -> tuple[Path, Path]:
    """Run the shipped pipeline; the folders of its pack and its run."""
    command = [sys.executable, "-m", "training", "run", "configs/lifecycle.yaml", "--json"]
    for option in ("store", "registry"):
        command += [f"--{option}", str(work / option)]
    for setting in settings:
        command += ["--set", setting]
    keys = {"PERENNIAL_KEYS_DIR": str(work / "keys")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | keys)
    pack, run = (published(work / "store" / kind / "lifecycle") for kind in ("packs", "runs"))
    return pack, run


def published(root: Path) -> Path:
    """The one published folder below ``root``."""
    return next(p for p in root.iterdir() if (p / "manifest.json").is_file())


def hidden_of(store: Path, customers: Floats, ends: pd.DatetimeIndex) -> Floats:
    """Place in HIDDEN of each customer at each moment, from the truth; shape of both."""
    truth = pd.read_parquet(published(store / "simulated/simulated") / "truth/customers.parquet")
    links = pd.read_parquet(published(store / "tables/simulated") / "links.parquet")
    people = truth.set_index("shopper").loc[
        links.set_index(c.CUSTOMER)["source_id"].reindex(customers)
    ]
    gone = people["dropout_at"].to_numpy()[:, None] < ends.to_numpy()[None]
    rate = people["purchase_rate_per_day"].to_numpy()
    rare = (rate < np.median(truth["purchase_rate_per_day"]))[:, None]
    return np.where(gone, 2, np.where(rare, 1, 0))


def counted(label: Floats, known: Floats) -> Floats:
    """Moves between hidden stages by customer, shape (n_rows, 3, 3); periods are columns."""
    one = np.eye(3)[label] * known[..., None]
    return np.einsum("nta,ntb->nab", one[:, :-1], one[:, 1:])


def expected(made: LifecycleBundle, codes: Floats, stands_for: Floats, known: Floats) -> Floats:
    """The same as the chain expects it: the probability of each state, moved on by a period."""
    step = made.chain.filtered(codes).step[:, :-1] * (known[:, 1:] & known[:, :-1])[..., None]
    own = made.chain.midway > 0
    return sum(
        np.einsum("nb,a->nab", made.chain.following((step * own[s]).sum(axis=1)) @ stands_for,
                  stands_for[s])
        for s in range(made.chain.n_states)
    )  # fmt: skip


def shares(counts: Floats) -> Floats:
    """Shares of moves from each hidden stage."""
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-9)


def simulated(customers: int) -> None:
    """Run the shipped pipeline on the simulated retailer and print what it recovers."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pack, run = pipeline(work, f"source={{simulate.customers: {customers}}}")
        recovered(work, pack, run)


def recovered(work: Path, pack: Path, run: Path) -> None:
    """Print how far states and rules of a run tell the hidden stages."""
    show(pd.read_csv(pack / "metrics.csv"))
    made = common.load(run / "bundle", verifying_key(work / "keys"))
    assert isinstance(made, LifecycleBundle)
    frames = {n: pd.read_parquet(run / f"{n}.parquet") for n in ("taught", "test")}
    facts = json.loads((run / "manifest.json").read_text())["facts"]
    cutoffs = {
        "test": pd.Timestamp(made.answer.cutoff), "taught": pd.Timestamp(facts["taught_at"]),
    }  # fmt: skip
    held = facts["held_periods"]
    seen = {}
    for name, frame in frames.items():
        X = frame[list(made.columns)].to_numpy(np.float64)
        paths = made.rules.paths(made.counts(X))
        back = np.arange(paths.shape[1] - 1, -1, -1) * made.answer.horizon_days
        ends = pd.DatetimeIndex([cutoffs[name] - pd.Timedelta(days=int(d)) for d in back])
        truth = hidden_of(work / "store", frame[c.CUSTOMER].to_numpy(), ends)
        rules = np.eye(len(made.answer.stages))[np.maximum(paths, 0)]
        codes = made.codes(X)
        states = made.chain.filtered(codes).state
        seen[name] = (truth, paths >= 0, {"states": states, "rules": rules})
    truth, known, answers = seen["taught"]
    read = {}
    for name, p in answers.items():
        counts = np.stack([(p[known] * (truth[known] == h)[:, None]).sum(axis=0) for h in range(3)])
        counts += 1e-9  # what nobody was in at the teaching cutoff says nothing
        read[name] = (counts / counts.sum(axis=0)).T
    truth, known, answers = seen["test"]
    known = known.copy()
    known[:, : -held - 1] = False
    label = {name: (p @ read[name]).argmax(axis=2) for name, p in answers.items()}
    late = known.copy()
    late[:, -held - 1] = False
    hits = {n: ((own == truth) & late).sum(axis=1) for n, own in label.items()}
    rng, total = np.random.default_rng(7), late.sum(axis=1)
    drawn = rng.integers(0, len(total), (DRAWS, len(total)))
    sizes = dict(zip(HIDDEN, np.bincount(truth[late], minlength=3).tolist(), strict=True))
    print(f"{len(total):,} customers, {int(total.sum()):,} periods of them after the teaching "
          f"cutoff; hidden stages {sizes}")  # fmt: skip
    for name, own in hits.items():
        draws = own[drawn].sum(axis=1) / total[drawn].sum(axis=1)
        print(f"{name}: accuracy {own.sum() / total.sum():.4f} {span(draws)}")
    moved = {f"{name}, counted": counted(own, known) for name, own in label.items()}
    stands_for = np.eye(3)[read["states"].argmax(axis=1)]
    moved["states, expected"] = expected(made, codes, stands_for, known)
    truth_of = counted(truth, known)
    true, errors = shares(truth_of.sum(axis=0)), {}
    for name, own in moved.items():
        found = shares(own.sum(axis=0))
        errors[name] = np.array([
            np.abs(shares(own[i].sum(axis=0)) - shares(truth_of[i].sum(axis=0))).mean()
            for i in (slice(None), *drawn)
        ])  # fmt: skip
        stay, lasts = (1 / np.maximum(1 - np.diag(m), 1e-3) for m in (found, true))
        print(f"{name}: mean error of moves {errors[name][0]:.4f} {span(errors[name][1:])}, dwell "
              f"in frequent, rare {stay[0]:.1f}, {stay[1]:.1f} periods (truth {lasts[0]:.1f}, "
              f"{lasts[1]:.1f})")  # fmt: skip
    less = errors["states, expected"] - errors["rules, counted"]
    print(f"error of moves, states expected less rules: {less[0]:+.4f} {span(less[1:])}")
    by = (hits["states"] - hits["rules"])[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    more = (hits["states"] - hits["rules"]).sum() / total.sum()
    print(f"accuracy, states less rules: {more:+.4f} {span(by)}")


def span(draws: Floats) -> str:
    """The middle 95 % of draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"[{low:+.4f}, {high:+.4f}]"


def retail() -> None:
    """Print metrics and differences of the shipped pipeline on the real file."""
    os.environ.get("PERENNIAL_DATA_DIR") or sys.exit("set PERENNIAL_DATA_DIR")
    with tempfile.TemporaryDirectory() as folder:
        pack, _ = pipeline(Path(folder), "data=online_retail_II")
        show(pd.read_csv(pack / "metrics.csv"))
        print("candidate better by, paired 95 % interval:")
        print(pd.read_csv(pack / "differences.csv").round(4).to_string(index=False))
        print(pd.read_csv(pack / "search.csv").round(4).to_string(index=False))
        print(pd.read_csv(pack / "stays.csv").to_string(index=False))
        print((pack / "CARD.md").read_text().partition("## Learned states")[2].partition("##")[0])


def show(metrics: pd.DataFrame) -> None:
    """Print metrics down, answers across."""
    spans = zip(metrics["value"], metrics["ci_low"], metrics["ci_high"], strict=True)
    metrics = metrics.assign(cell=[f"{v:.4f} [{a:.4f}, {b:.4f}]" for v, a, b in spans])
    print(metrics.pivot_table(index="metric", columns="answer", values="cell", aggfunc="first",
                              sort=False).to_string())  # fmt: skip


if __name__ == "__main__":
    asked = sys.argv[1:] or ["simulated", "retail"]
    if "simulated" in asked:
        after = asked[asked.index("simulated") + 1 :]
        simulated(int(after[0]) if after and after[0].isdigit() else 3_000)
    if "retail" in asked:
        retail()
