"""How recommendations are learned: rankers on earlier cutoffs, makers at the test cutoff."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError, DataError
from features.settings import resolve
from features.tables import Tables
from training.gates import CANDIDATE
from training.keys import signing_key
from training.pipeline import Prepared
from training.recommend import bundle as bundles
from training.recommend.asof import AsOf, read_asof
from training.recommend.bundle import ListsAnswer, ListsBundle
from training.recommend.config import ListsPlan
from training.recommend.evaluate import Answered, beyond_accuracy, maker_lists, measured
from training.recommend.explain import SPACE
from training.recommend.histories import Ints
from training.recommend.makers import HOME
from training.recommend.metrics import hits, measure
from training.recommend.pairs import Candidates
from training.recommend.ranker import Ranker, RankerConfig, Taught
from training.recommend.recommender import ALL, DISCOVERY, RANKERS, Recommender, first, teach
from training.recommend.shelf import Shelf, by_name, named_makers

K = 20
CHOSEN_BY = "ndcg_at_10"
TRIALS = ("list", "trial", CHOSEN_BY, *RankerConfig.model_fields, "chosen")
LEAST_ASKED = 10
"""Customers with a purchase in the window that every cutoff needs."""


def read_cutoffs(plan: ListsPlan, prepared: Prepared) -> dict[datetime, AsOf]:
    """What was known and what followed, at every teaching cutoff and the test cutoff.

    Teaching cutoffs whose window does not end by the test cutoff are left out.

    Raises
    ------
    DataError
        If too few customers bought anything after a cutoff.
    """
    task, moments = plan.task, prepared.moments
    gap = timedelta(days=task.horizon_days + task.maturity_days)
    teaching = [t for t in moments.teaching if t + gap <= moments.test]
    tables = prepared.stored.open(plan.config.sample, plan.config.engine)
    seen = {}
    for moment in (*teaching, moments.test):
        found = _read(plan, tables, moment)
        seen[moment] = _asked(found, task.config.active_within_days)
    few = {t: len(s.asked) for t, s in seen.items() if len(s.asked) < LEAST_ASKED}
    if few or len(seen) < 3:
        raise DataError.listing(
            f"recommendations need two teaching cutoffs with their whole window before the test "
            f"cutoff, and {LEAST_ASKED} buying customers after each; found {len(seen) - 1} of them",
            [f"{t:%Y-%m-%d}: {n} customers bought anything after it" for t, n in few.items()],
        )
    return seen


def read_test(plan: ListsPlan, prepared: Prepared) -> AsOf:
    """The customers of the test cutoff who bought anything in its window."""
    tables = prepared.stored.open(plan.config.sample, plan.config.engine)
    found = _read(plan, tables, prepared.moments.test)
    seen = _asked(found, plan.task.config.active_within_days)
    return seen.take(seen.asked)


def _read(plan: ListsPlan, tables: Tables, moment: datetime) -> AsOf:
    task, said = plan.task, plan.task.config
    return read_asof(
        tables, moment, task.horizon_days, task.maturity_days, said.interactions,
        said.next_basket, said.segment,
    )  # fmt: skip


def _asked(seen: AsOf, active_within_days: int | None) -> AsOf:
    """Customers who are asked about; makers learn from everyone all the same."""
    if active_within_days is None:
        return seen
    newest = seen.past.age[np.minimum(seen.past.start[:-1], len(seen.past.age) - 1)]
    idle = newest > active_within_days
    truth = seen.truth.copy()
    truth.data[np.repeat(idle, np.diff(truth.indptr))] = 0.0
    truth.eliminate_zeros()
    return replace(seen, truth=truth, beyond=np.where(idle, 0, seen.beyond))


def shelf_at(plan: ListsPlan, seen: AsOf) -> Shelf:
    """Makers fitted to what was known at a cutoff."""
    made = Shelf(plan.config.candidates, plan.task.horizon_days, named_makers(plan.config.makers))
    return made.fit(seen.past, seen.attributes, seen.segment)


def some_asked(seen: AsOf, most: int, seed: int) -> AsOf:
    """At most so many of those who bought, drawn by seed."""
    asked = seen.asked
    if len(asked) > most:
        rng = np.random.default_rng([seed, seen.cutoff.toordinal()])
        asked = np.sort(rng.permutation(asked)[:most])
    return seen.take(asked)


@dataclass(frozen=True)
class Block:
    """A teaching cutoff: some customers, the makers as of then, and the rankers' rows."""

    seen: AsOf
    shelf: Shelf
    rows: dict[str, Taught]


def blocks_of(
    plan: ListsPlan, seen: Mapping[datetime, AsOf], step: Callable[[int, int], None]
) -> list[Block]:
    """The teaching cutoffs, makers fitted at each."""
    *teaching, _ = seen
    made = []
    for moment in teaching:
        shelf = shelf_at(plan, seen[moment])
        some = some_asked(seen[moment], plan.config.most_customers, plan.config.seed)
        made.append(Block(some, shelf, teach(shelf, some)))
        step(len(made), len(teaching))
    return made


def chosen(
    plan: ListsPlan, blocks: Sequence[Block], step: Callable[[int, int], None]
) -> tuple[dict[str, RankerConfig], pd.DataFrame]:
    """For each list the settings that order the last teaching cutoff best, learned before it.

    Of one setting there is nothing to choose, and no trial is made.
    """
    configs, seed = plan.config.rankers, plan.config.seed
    if len(configs) == 1:
        return dict.fromkeys(RANKERS, configs[0]), pd.DataFrame(columns=TRIALS)
    *before, last = blocks
    shards = last.seen.past.shards(last.shelf.shard)
    pairs = [last.shelf.candidates(some) for _, some in shards]
    lines: list[dict[str, Any]] = []
    for name in RANKERS:
        for number, config in enumerate(configs):
            ranker = Ranker(config)
            ranker.fit(_lessons(before, name), seed)
            found = [_ordered(ranker, some, name) for some in pairs]
            value = ndcg(np.vstack(found), last.seen, name)
            lines.append(
                {"list": name, "trial": number, CHOSEN_BY: value, **config.model_dump(mode="json")}
            )
            step(len(lines), len(configs) * len(RANKERS))
    trials = pd.DataFrame(lines)
    best = trials.groupby("list", sort=False)[CHOSEN_BY].idxmax()
    trials["chosen"] = trials.index.isin(best)
    return {name: configs[int(trials.loc[i, "trial"])] for name, i in best.items()}, trials


def _lessons(blocks: Sequence[Block], name: str) -> list[Taught]:
    """What teaches the ranker of a list.

    Raises
    ------
    ConfigError
        If nobody bought a candidate.
    """
    found = [block.rows[name] for block in blocks]
    if not any(taught.y.any() for taught in found):
        kind = "items never bought before" if name == DISCOVERY else "items"
        n = sum(len(taught.y) for taught in found)
        raise ConfigError(
            f"recommend: of {n:,} candidates among {kind} at {len(found)} teaching cutoffs none "
            "was bought, so nothing teaches their order; add makers that propose such items "
            "(ease.Ease, popular.Recent), or raise candidates.each"
        )
    return found


def _ordered(ranker: Ranker, pairs: Candidates, name: str) -> Ints:
    kept = ~pairs.bought if name == DISCOVERY else np.ones(len(pairs.item), bool)
    score = ranker.score(pairs.X[kept])
    return first(pairs.customer[kept], pairs.item[kept], score, pairs.customers, 10)


def fitted(
    plan: ListsPlan,
    seen: Mapping[datetime, AsOf],
    blocks: Sequence[Block],
    best: Mapping[str, RankerConfig],
) -> Recommender:
    """Rankers learned from every teaching cutoff, over makers as of the test cutoff."""
    rankers = {}
    for name in RANKERS:
        rankers[name] = Ranker(best[name])
        rankers[name].fit(_lessons(blocks, name), plan.config.seed)
    said = plan.task.config.interactions.said
    return Recommender(shelf_at(plan, seen[max(seen)]), rankers, said)


def ndcg(lists: Ints, seen: AsOf, name: str) -> float:
    """Mean NDCG@10 of lists of everything or of what was never bought."""
    truth = seen.truth
    if name == DISCOVERY:
        owned = seen.past.matrix()
        owned.data[:] = 1.0
        truth = (truth - truth.multiply(owned)).tocsr()
        truth.eliminate_zeros()
    relevant = np.diff(truth.indptr) + seen.beyond
    return float(np.nanmean(measure(hits(lists, truth), relevant, 10)["ndcg"]))


def write_learned(
    folder: Path, plan: ListsPlan, seen: Mapping[datetime, AsOf], blocks: Sequence[Block],
    made: Recommender, trials: pd.DataFrame, key: str, keys: Path,
) -> dict[str, Any]:  # fmt: skip
    """The bundle, and the measures of every answer's lists at the test cutoff, by customer."""
    moment = max(seen)
    now = seen[moment]
    asked = {f"{block.seen.cutoff:%Y-%m-%d}": len(block.seen.customers) for block in blocks}
    test = now.take(now.asked)
    said = ListsAnswer(
        task=plan.task.name, question=plan.task.question, kind="lists", output=plan.task.output,
        cutoff=f"{moment:%Y-%m-%d}", horizon_days=plan.task.horizon_days,
        source=plan.source.name, currency=plan.source.currency, run_key=key, space=SPACE,
        interactions=plan.task.config.interactions,
        makers=plan.config.makers, candidates=plan.config.candidates,
        rankers={name: ranker.config for name, ranker in made.rankers.items()},
        scales={name: ranker.scales for name, ranker in made.rankers.items()},
        ranked_by=made.columns, items=len(now.attributes.products),
    )  # fmt: skip
    bundle = bundles.with_golden(ListsBundle(said, made), plan.config.golden, plan.config.seed)
    digest = bundles.write(bundle, folder / "bundle", signing_key(keys))
    table: dict[str, np.ndarray] = {c.CUSTOMER: test.customers}
    once, lists = {}, made.lists(test.past, K)
    for name, answered in answers(plan, made, lists, now, test).items():
        table |= {f"{name}|{metric}": values for metric, values in answered.by_customer.items()}
        once[name] = answered.once
    pd.DataFrame(table).to_parquet(folder / "test.parquet")
    pd.DataFrame(once).T.rename_axis("answer").to_csv(folder / "once.csv")
    trials.to_csv(folder / "search.csv", index=False)
    splits = pd.DataFrame(
        [
            {"cutoff": f"{t:%Y-%m-%d}", "role": "test" if t == moment else "teaching",
             "known_customers": len(s.customers), "buying_customers": len(s.asked),
             "items": len(s.attributes.products), "true_items": int(s.truth.nnz + s.beyond.sum()),
             "taught_by": asked.get(f"{t:%Y-%m-%d}", 0)}
            for t, s in seen.items()
        ]
    )  # fmt: skip
    splits.to_csv(folder / "splits.csv", index=False)
    categories(made, lists[ALL][:, :10], test).to_csv(folder / "categories.csv", index=False)
    return {
        "digest": digest,
        "test_rows": len(test.customers),
        "taught_rows": int(sum(asked.values())),
        "items": len(now.attributes.products),
        "beyond_share": float(test.beyond.sum() / max(test.truth.nnz + test.beyond.sum(), 1)),
        "newcomers": now.newcomers,
        "segments": list(made.shelf.demand.segments),
        # Repeats are as many as there are; the ladder fills up the other two.
        "fallback": {n: float((lists[n][:, 9] < 0).mean()) for n in (ALL, DISCOVERY)},
        "tags": {
            "model_family": "makers and trees",
            "items": str(len(now.attributes.products)),
        },
        "params": {
            f"{name}.{key}": value
            for name, ranker in made.rankers.items()
            for key, value in ranker.config.model_dump().items()
        } | {"makers": ",".join(part.use for part in plan.config.makers)},
    }  # fmt: skip


def answers(
    plan: ListsPlan, made: Recommender, ours: Mapping[str, Ints], now: AsOf, test: AsOf
) -> dict[str, Answered]:
    """The candidate and every baseline on the same customers of the test cutoff."""
    shelf = made.shelf
    alike = made.alike

    def judged(lists: Mapping[str, Ints]) -> Answered:
        beyond = beyond_accuracy(lists[ALL], shelf.demand, shelf.offered, alike)
        return Answered(measured(lists, test), beyond)

    found = {CANDIDATE: judged(ours)}
    there = by_name(plan.config.makers)
    for name, part in by_name(plan.config.baselines).items():
        maker = shelf.makers[name] if there.get(name) == part else None
        if maker is None:
            maker = resolve(HOME, part)
            maker.fit(now.past, shelf.shop)
        found[name] = judged(maker_lists(maker, test.past, shelf.offered, K))
    return found


def categories(made: Recommender, listed: Ints, test: AsOf) -> pd.DataFrame:
    """Share of each category among purchases before, lists and purchases after: calibration.

    Steck (2018), "Calibrated recommendations": lists should mirror what customers care for.
    """
    category = made.shelf.attributes.category
    size = int(category.max(initial=-1)) + 1
    if not size:
        return pd.DataFrame(columns=["category", "bought", "listed", "bought_after"])

    def share(items: Ints) -> np.ndarray:
        of = category[items]
        counts = np.bincount(of[of >= 0], minlength=size).astype(np.float64)
        shares: np.ndarray = counts / max(counts.sum(), 1.0)
        return shares

    names = sorted({word for word in made.shelf.attributes.categories if word})
    return pd.DataFrame({
        "category": names, "bought": share(test.past.item),
        "listed": share(listed[listed >= 0]), "bought_after": share(test.truth.indices),
    })  # fmt: skip
