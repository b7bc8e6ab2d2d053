"""Lifecycle: hidden stages of the simulated retailer, and the next period on Online Retail II.

``simulated``: the shipped pipeline on the simulated retailer. Hidden stages are those of its truth
from the first order on (``features.simulate.stages``): frequent or rare, then gone. What each
learned state and each stage by rules stands for is read off at the teaching cutoff and judged in
the periods after it: accuracy of the likeliest stage with paired intervals, bootstrapped by
customer; error of the moves between stages and of the time spent in each, of the chain both as it
expects them (its probability of each state, moved on) and counted between the likeliest stages, of
the rules as counted, for they tell nothing else.

``dwell`` says why a chain tells shorter stays than the truth has: the same fit to orders alone, of
as many customers drawn from a chain that has the true stages' moves and levels; of the simulated
ones, whose rates differ within a stage, with the true levels held; and of these, free. Beside each
stands what it tells of the last four periods of a later cutoff.

``retail`` (needs PERENNIAL_DATA_DIR): the shipped pipeline on the real file, its metrics beside the
stages by rules.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/lifecycle.py [simulated [customers]] [dwell]
        [retail]
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
from features.simulate import STAGES, SimulateConfig, draw_world, stage_paths, stages_at
from features.simulate.people import draw_people
from training import bundle as common
from training.keys import verifying_key
from training.lifecycle.bundle import LifecycleBundle
from training.lifecycle.chain import Chain
from training.lifecycle.fitting import Taught, _step, fit
from training.lifecycle.sequences import codes_of, sizes_of

HIDDEN = ("frequent", "rare", "gone")
FIRST = STAGES.index(HIDDEN[0])
DRAWS = 1_000
DAYS, PERIODS, LEVELS = 30, 18, (1, 2, 3)
ROUNDS = 200
LEAST = 1e-9
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
    """Place in HIDDEN of each customer at each moment, below 0 before it; shape of both."""
    truth = published(store / "simulated/simulated") / "truth"
    shoppers = pd.Index(pd.read_parquet(truth / "customers.parquet")["shopper"])
    links = pd.read_parquet(published(store / "tables/simulated") / "links.parquet")
    known = links.set_index(c.CUSTOMER)["source_id"].reindex(customers)
    at = stages_at(pd.read_parquet(truth / "stages.parquet"), ends)
    # Accounts that were opened for fraud are nobody's: they have no stage.
    at = np.vstack([at, np.full(len(ends), -1)])
    return at[shoppers.get_indexer(known)] - FIRST


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
        seen[name] = (truth, (paths >= 0) & (truth >= 0), {"states": states, "rules": rules})
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


def ordered(customers: int, cutoff: pd.Timestamp) -> tuple[Floats, Floats]:
    """Levels of orders and hidden stage (-1 = not known yet) by customer and period of 30 days."""
    world = draw_world(SimulateConfig(customers=customers))
    orders = world.orders[world.orders["customer"] >= 0]
    ends = cutoff - pd.to_timedelta(DAYS * np.arange(PERIODS - 1, -1, -1), unit="D")
    back = np.ceil((cutoff - orders["placed_at"]).dt.total_seconds() / 86_400 / DAYS).to_numpy()
    seen = (back >= 1) & (back <= PERIODS)
    counts = np.zeros((customers, PERIODS))
    np.add.at(counts, (orders["customer"][seen], PERIODS - back[seen].astype(int)), 1)
    stage = stages_at(stage_paths(world, draw_people(world)), ends) - FIRST
    counts[stage < 0] = np.nan
    known = stage[:, -1] >= 0
    return codes_of(counts[known, :, None], [LEVELS]), np.maximum(stage, -1)[known]


def of_truth(codes: Floats, stage: Floats) -> Chain:
    """The chain of three stages as they were: their starts, moves and levels counted."""
    start, move, emit = np.ones((2, 3)), np.full((3, 3), LEAST), np.ones((3, len(LEVELS) + 1))
    known = stage >= 0
    np.add.at(emit, (stage[known], codes[known][:, 0]), 1)
    np.add.at(start[1], stage[known[:, 0], 0], 1)
    new = known[:, 1:] & ~known[:, :-1]
    np.add.at(start[0], stage[:, 1:][new], 1)
    both = known[:, 1:] & known[:, :-1]
    np.add.at(move, (stage[:, :-1][both], stage[:, 1:][both]), 1)
    start, move, emit = (a / a.sum(axis=1, keepdims=True) for a in (start, move, emit))
    return Chain(start, move, (emit,))


def drawn_from(chain: Chain, known: Floats) -> Floats:
    """Codes of customers that live by the chain, known from the same periods on."""
    rng, codes = np.random.default_rng(7), np.full((*known.shape, 1), -1)
    stage = np.zeros(len(known), np.int64)
    for t in range(known.shape[1]):
        now, first = known[:, t], known[:, t] & ~known[:, t - 1] if t else known[:, t]
        p = np.where(first[:, None], chain.start[int(t == 0)], chain.move[stage])
        stage = (rng.random(len(p))[:, None] > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        shown = chain.emit[0][stage]
        level = (rng.random(len(p))[:, None] > shown.cumsum(axis=1)[:, :-1]).sum(axis=1)
        codes[now, t, 0] = level[now]
    return codes


def dwell(customers: int) -> None:
    """Print stays as the same fit learns them where it should find them, and where it does not."""
    end = pd.Timestamp(SimulateConfig().last_day) + pd.Timedelta(days=1)
    codes, stage = ordered(customers, end - pd.Timedelta(days=5 * DAYS))
    later, _ = ordered(customers, end - pd.Timedelta(days=DAYS))
    true = of_truth(codes, stage)
    sizes = sizes_of([LEVELS])
    held, taught = true, Taught.of(codes, sizes)
    for _ in range(ROUNDS):
        moved, _ = _step(held, taught, 1.0)
        held = Chain(moved.start, moved.move, true.emit)
    learned = {
        "the true stages, counted": true,
        "fit, drawn from those": fit(drawn_from(true, stage >= 0), sizes, 3, 1, 1.0),
        "moves alone, true levels held": held,
        **{f"fit, {k} states": fit(codes, sizes, k, 1, 1.0) for k in (3, 4, 5)},
    }
    for name, chain in learned.items():
        told = chain.filtered(later).loglik[:, -4:].mean()
        stays = ", ".join(f"{d:.1f}" for d in chain.dwell[:-1])
        print(f"{name:32s} stays {stays} periods; log-likelihood of later periods {told:.4f}")


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
    asked = sys.argv[1:] or ["simulated", "dwell", "retail"]
    if "simulated" in asked:
        after = asked[asked.index("simulated") + 1 :]
        simulated(int(after[0]) if after and after[0].isdigit() else 3_000)
    if "dwell" in asked:
        dwell(1_500)
    if "retail" in asked:
        retail()
