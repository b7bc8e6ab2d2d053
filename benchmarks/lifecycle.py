"""Lifecycle: hidden stages of the simulated retailer, and the next period on Online Retail II.

``simulated``: the shipped pipeline on the simulated retailer. Hidden stages are those of its truth:
gone (after the dropout), and before it frequent or rare by the true purchase rate, cut at the
median. What each learned state and each stage by rules stands for is read off at the teaching
cutoff and judged in the periods after it: accuracy, error of the moves between stages and of the
time spent in each, with paired intervals, bootstrapped by customer.

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


def moves(label: Floats, known: Floats) -> Floats:
    """Shares of moves between hidden stages; periods are columns."""
    both = known[:, 1:] & known[:, :-1]
    counts = np.zeros((3, 3))
    np.add.at(counts, (label[:, :-1][both], label[:, 1:][both]), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


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
        states = made.chain.filtered(made.codes(X)).state
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
    true_moves = moves(truth, known)
    sizes = dict(zip(HIDDEN, np.bincount(truth[late], minlength=3).tolist(), strict=True))
    print(f"{len(total):,} customers, {int(total.sum()):,} periods of them after the teaching "
          f"cutoff; hidden stages {sizes}")  # fmt: skip
    for name, own in label.items():
        draws = hits[name][drawn].sum(axis=1) / total[drawn].sum(axis=1)
        found = moves(own, known)
        stay, true = (1 / np.maximum(1 - np.diag(m), 1e-3) for m in (found, true_moves))
        print(f"{name}: accuracy {hits[name].sum() / total.sum():.4f} "
              f"[{np.quantile(draws, 0.025):.4f}, {np.quantile(draws, 0.975):.4f}], mean error "
              f"of moves {np.abs(found - true_moves).mean():.4f}, dwell in frequent, rare "
              f"{stay[0]:.1f}, {stay[1]:.1f} periods (truth {true[0]:.1f}, {true[1]:.1f})"
        )  # fmt: skip
    by = (hits["states"] - hits["rules"])[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    print(f"states less rules: {(hits['states'] - hits['rules']).sum() / total.sum():+.4f} "
          f"[{np.quantile(by, 0.025):+.4f}, {np.quantile(by, 0.975):+.4f}]")  # fmt: skip


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
