"""The review pack of recommendations: judged beside baselines and champion, and drawn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.leakage.report import read_checks
from features.settings import Workspace
from features.store import Published
from training import bundle as common
from training import pack
from training import plots as drawing
from training.bundle import Loaded
from training.gates import CHAMPION, Compared, gate_results
from training.keys import verifying_key
from training.pipeline import Prepared
from training.recommend import card, plots
from training.recommend.bundle import ListsBundle
from training.recommend.card import ListsCase
from training.recommend.config import ListsPlan
from training.recommend.evaluate import Answered, compare, measured
from training.recommend.histories import Histories
from training.recommend.learn import K, read_test
from training.recommend.shelf import by_name

ADDITIVITY = 1e-4


def write_pack(
    place: Workspace,
    plan: ListsPlan,
    prepared: Prepared,
    learned: Published,
    champion: Loaded | None,
    folder: Path,
) -> dict[str, Any]:
    """Judge the candidate beside baselines, and write the pack into ``folder``."""
    config = plan.config
    made = common.load(learned.folder / "bundle", verifying_key(place.keys))
    assert isinstance(made, ListsBundle), "learned by this family"
    note, theirs = of_champion(plan, prepared, champion)
    judged = read_judged(learned.folder, config.bootstrap, config.seed, theirs)
    worked = [made.reply(said["body"], explained=True) for said in made.golden]
    leakage = read_checks(prepared.checks.folder)
    gates = gate_results(
        config.gates, judged, next(iter(by_name(config.baselines))), note,
        {
            "contributions add up to the score (largest gap)": (_additivity(worked), ADDITIVITY),
            "golden lists replayed in Python (largest gap)": (made.replay(), common.TOLERANCE),
            "golden lists through the MLflow loader (largest gap)": (
                _pyfunc_difference(made), common.TOLERANCE,
            ),
            "lists shorter than asked without a reason": (_silent(worked), 0.0),
            "leakage checks: broken promises": (float(len(leakage.failed)), 0.0),
            "leakage checks: planted leaks that were missed": (float(len(leakage.missed)), 0.0),
        },
    )  # fmt: skip
    case = ListsCase(
        plan=plan, prepared=prepared, learned=learned, gates=gates, champion_note=note,
        code=pack.code_state(), judged=judged, answer=made.answer,
        trials=pd.read_csv(learned.folder / "search.csv"),
        splits=pd.read_csv(learned.folder / "splits.csv"),
        categories=pd.read_csv(learned.folder / "categories.csv"),
        importance=importance(worked),
    )  # fmt: skip
    _plots(folder / "plots", case)
    _tables(folder, case, made, worked)
    return pack.finish(folder, case, card.sections(case), judged, champion)


def of_champion(
    plan: ListsPlan, prepared: Prepared, champion: Loaded | None
) -> tuple[str, dict[str, Answered]]:
    """The champion's lists for the customers of the test cutoff, or why there are none.

    It sees the same histories, of the items that it knows.
    """
    if champion is None:
        return "no champion yet", {}
    if not isinstance(champion, ListsBundle):
        return f"the champion answers a question of kind {champion.answer.kind}", {}
    asked, now = champion.answer, plan.task
    if (asked.source, asked.horizon_days) != (plan.source.name, now.horizon_days):
        return f"the champion answers for {asked.source}, {asked.horizon_days} days", {}
    seen = read_test(plan, prepared)
    products, known = seen.attributes.products, champion.recommender.places
    place = np.array([known.get(code, -1) for code in products], np.int64)
    back = np.full(len(known), -1, np.int64)
    back[place[place >= 0]] = np.flatnonzero(place >= 0)
    past, kept = seen.past, place[seen.past.item] >= 0
    columns = {
        "customer": past.customer[kept], "item": place[past.item[kept]], "age": past.age[kept],
        "quantity": past.quantity[kept], "amount": past.amount[kept],
    }  # fmt: skip
    theirs = champion.recommender.lists(Histories.of(columns, len(past), len(known)), K)
    lists = {name: np.where(items >= 0, back[items], -1) for name, items in theirs.items()}
    return "", {CHAMPION: Answered(measured(lists, seen), {})}


def read_judged(folder: Path, repeats: int, seed: int, more: Mapping[str, Answered]) -> Compared:
    """The measures that learning wrote down, and ``more``, with intervals over customers."""
    table, once = pd.read_parquet(folder / "test.parquet"), pd.read_csv(folder / "once.csv")
    answers: dict[str, Answered] = {}
    for name, *values in once.itertuples(index=False):
        own = {
            column.partition("|")[2]: table[column].to_numpy(np.float64)
            for column in table.columns
            if column.partition("|")[0] == name
        }
        answers[name] = Answered(own, dict(zip(once.columns[1:], values, strict=True)))
    return compare(answers | dict(more), table[c.CUSTOMER].to_numpy(np.int64), repeats, seed)


def _additivity(worked: list[dict[str, Any]]) -> float:
    """Largest gap between a score and its parts, over ranker and item-to-item makers."""
    return max((item["sum_check"] for reply in worked for item in reply["items"]), default=0.0)


def _silent(worked: list[dict[str, Any]]) -> float:
    return float(sum(len(reply["items"]) < 10 and not reply["short"] for reply in worked))


def _pyfunc_difference(made: ListsBundle) -> float:
    """Largest difference between golden lists of everything and those that MLflow's class gives."""
    plain = [said for said in made.golden if said["body"]["list"] == "all"]
    frame = pd.DataFrame(
        [{"customer": str(i), **line}
         for i, said in enumerate(plain) for line in said["body"]["history"]]
    )  # fmt: skip
    found = common.PyfuncAnswer(made).predict(frame)
    known = [item for said in plain for item in said["reply"]["items"]]
    if list(found["product_id"]) != [item["product_id"] for item in known]:
        return float("inf")
    return float(np.abs(found["score"] - [item["score"] for item in known]).max())


def importance(worked: list[dict[str, Any]]) -> pd.DataFrame:
    """Mean size of each family's contribution over the invented customers' lists."""
    lines = [
        {"list": reply["list"], "family": part["family"], "size": abs(part["contribution"])}
        for reply in worked
        for item in reply["items"] if item["step"] == "ranked" and reply["list"] != "basket"
        for part in item["contributions"]
    ]  # fmt: skip
    table = pd.DataFrame(lines, columns=["list", "family", "size"])
    return table.groupby(["list", "family"], as_index=False, sort=True)["size"].mean()


def _plots(folder: Path, case: ListsCase) -> None:
    table = case.judged.table()
    for name, (tidy, figure) in plots.of_lists(table).items():
        drawing.save(folder, name, tidy, figure)
    if len(case.categories):
        drawing.save(folder, "categories", case.categories, plots.categories(case.categories))
    drawing.save(folder, "importance", case.importance, plots.importance(case.importance))


def _tables(folder: Path, case: ListsCase, made: ListsBundle, worked: list[dict[str, Any]]) -> None:
    for name, table in {
        "search": case.trials, "splits": case.splits, "importance": case.importance,
        "categories": case.categories,
    }.items():  # fmt: skip
        table.to_csv(folder / f"{name}.csv", index=False)
    if case.plan.task.config.next_basket:
        card.next_basket(case.judged).to_csv(folder / "next_basket.csv", index=False)
    lines = [
        {"list": reply["list"], "rank": item["rank"], "product_id": item["product_id"],
         "name": item["name"] or "", "score": item["score"], "reason": item["reason"]}
        for reply in worked for item in reply["items"]
    ]  # fmt: skip
    pd.DataFrame(lines).to_csv(folder / "worked_lists.csv", index=False)
    body = made.golden[0]["body"]
    rows = [{"customer": "somebody", **line} for line in body["history"]]
    (folder / "input_example.json").write_text(json.dumps({"rows": rows}, indent=1))
    (folder / "request_example.json").write_text(json.dumps(body, indent=1))
