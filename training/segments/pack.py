"""The review pack of a segmentation: judged beside baselines and champion, and drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from features import columns as c
from features.leakage.report import read_checks
from features.settings import Workspace
from features.store import Published
from training import bundle as common
from training import categories, pack
from training import plots as drawing
from training.bundle import Loaded
from training.gates import CANDIDATE, CHAMPION, gate_results
from training.keys import verifying_key
from training.pipeline import Prepared
from training.segments import card, plots
from training.segments.baselines import RFM, baselines
from training.segments.bundle import SegmentsBundle
from training.segments.by_category import spend_by_category
from training.segments.card import SegmentsCase
from training.segments.config import SegmentsPlan
from training.segments.judge import compare
from training.segments.lineage import names_of
from training.segments.matching import Followed, follow, migration, warnings
from training.segments.profile import LEAST_SHOWN, examples, withheld
from training.segments.reach import reached

ADDITIVITY = 1e-6
WORKED_ROWS = 12
TOLD = ("median", "mean", "ci_low", "ci_high", "shift")
MOVED = ("share", "value_before", "value_after")
FOLLOWED = ("stays", "overlap", "drift")
"""Columns of the profile, of migrations and of what became of segments that tell of customers."""


def write_pack(
    place: Workspace,
    plan: SegmentsPlan,
    prepared: Prepared,
    learned: Published,
    champion: Loaded | None,
    folder: Path,
) -> dict[str, Any]:
    """Judge the candidate beside baselines and champion, and write the pack into ``folder``."""
    config, facts = plan.config, learned.manifest["facts"]
    made = _bundle(place, learned)
    ids = [segment.id for segment in made.answer.segments]
    tables = {n: pd.read_parquet(learned.folder / f"{n}.parquet") for n in ("taught", "test")}
    rows = {n: pd.read_parquet(learned.folder / f"{n}_rows.parquet") for n in tables}
    X = rows["test"]
    refits = pd.read_csv(learned.folder / "refits.csv")
    history = pd.read_parquet(learned.folder / "history.parquet")
    note, followed, before = _against(champion, made, rows, tables)
    moved = {
        name: migration(*_at(history, back), ids) for name, back in (("month", 1), ("period", None))
    }
    customers = tables["test"][c.CUSTOMER].to_numpy(np.int64)
    judged = compare(
        tables["taught"], tables["test"], refits, facts["once"], config.bootstrap, config.seed,
        spend_by_category(plan, prepared, customers),
    )  # fmt: skip
    apart = pd.read_csv(learned.folder / "apart.csv")
    leakage = read_checks(prepared.checks.folder)
    gates = gate_results(
        config.gates, judged, next(iter(baselines(2))), note,
        {
            "margins are sums over columns (largest gap)": (facts["additivity"], ADDITIVITY),
            "golden rows replayed in Python (largest gap)": (made.replay(), common.TOLERANCE),
            "golden rows through the MLflow loader (largest gap)": (
                _pyfunc_difference(made), common.TOLERANCE,
            ),
            "pairs of segments that differ in fewer than two columns beyond R, F, M": (
                float((apart["columns"] < 2).sum()), 0.0,
            ),
            "leakage checks: broken promises": (float(len(leakage.failed)), 0.0),
            "leakage checks: planted leaks that were missed": (float(len(leakage.missed)), 0.0),
        },
    )  # fmt: skip
    test = made.assign(made.segmentation.rows(X))
    worth = np.nan_to_num(X[config.value].to_numpy(np.float64))
    alarm = warnings(0, test, worth, moved["period"], ids)
    profile = pd.read_csv(learned.folder / "profile.csv")
    small = [s.id for s in made.answer.segments if s.customers < LEAST_SHOWN]
    profile.loc[profile["segment"].isin(small), list(TOLD)] = np.nan
    numbers = [k.name for k in made.answer.columns if k.dtype != "string"] or list(RFM)
    typical = examples(X, numbers, made.segmentation.labels(X), len(ids))
    by_channel = reached(plan, prepared, customers, test.segment, ids)
    typical["segment"] = [ids[s] for s in typical["segment"]]
    case = SegmentsCase(
        plan=plan, prepared=prepared, learned=learned, gates=gates, champion_note=note,
        code=pack.code_state(), judged=judged, answer=made.answer,
        trials=pd.read_csv(learned.folder / "search.csv"),
        stability=pd.read_csv(learned.folder / "stability.csv").assign(
            stayed=_stayed(history, len(ids))
        ),
        reach=by_channel,
        profile=profile, apart=apart, examples=typical,
        segments=_segments(made, tables["test"], worth),
        moved={name: withheld(table, MOVED) for name, table in moved.items()},
        alarm=withheld(alarm, ["value"]),
        followed=withheld(followed.table(before, ids), FOLLOWED) if followed else None,
        known=float(X[list(made.columns)].notna().all(axis=1).mean()),
    )  # fmt: skip
    _plots(folder / "plots", case, made, X, refits, moved["period"])
    _tables(folder, case, made, tables["test"])
    return pack.finish(folder, case, card.sections(case), judged, champion)


def _bundle(place: Workspace, learned: Published) -> SegmentsBundle:
    made = common.load(learned.folder / "bundle", verifying_key(place.keys))
    assert isinstance(made, SegmentsBundle), "learned by this family"
    return made


def _against(
    champion: Loaded | None,
    made: SegmentsBundle,
    rows: dict[str, pd.DataFrame],
    tables: dict[str, pd.DataFrame],
) -> tuple[str, Followed | None, list[str]]:
    """How the champion's segments go on in the candidate's; or why that cannot be said."""
    if champion is None:
        return "no champion yet", None, []
    if not isinstance(champion, SegmentsBundle):
        return f"the champion answers a question of kind {champion.answer.kind}", None, []
    if champion.answer.source != made.answer.source:
        return f"the champion answers for source {champion.answer.source}", None, []
    lacking = [name for name in champion.columns if name not in rows["test"]]
    if lacking:
        return f"the champion needs columns that this run lacks: {', '.join(lacking)}", None, []
    words = {k.name: k.levels for k in made.answer.columns}
    if any(k.levels != words.get(k.name, ()) for k in champion.answer.columns):
        return "the champion's words have other codes than this run's", None, []
    for name, table in tables.items():
        table[CHAMPION] = champion.segmentation.labels(rows[name])
    segments = [segment.id for segment in champion.answer.segments]
    old, new = (tables["test"][name].to_numpy(np.int64) for name in (CHAMPION, CANDIDATE))
    return "", follow(old, new, len(segments), len(made.answer.segments)), segments


def _at(history: pd.DataFrame, back: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customers at two cutoffs: adjacent teaching ones, or the last of them and the test's."""
    moments = np.sort(history[c.CUTOFF].unique())
    first, second = (moments[-3], moments[-2]) if back else (moments[-2], moments[-1])
    keyed = history.set_index(c.CUSTOMER)[[c.CUTOFF, "segment", "value"]]
    before, after = (
        keyed[keyed[c.CUTOFF] == moment].drop(columns=c.CUTOFF) for moment in (first, second)
    )
    return before, after


def _stayed(history: pd.DataFrame, k: int) -> np.ndarray:
    """Share of each segment's customers who are still in it at the next teaching cutoff."""
    at = history.pivot_table(index=c.CUSTOMER, columns=c.CUTOFF, values="segment").to_numpy()
    before, after = at[:, :-2].ravel(), at[:, 1:-1].ravel()
    known = ~np.isnan(before) & ~np.isnan(after)
    was, kept = before[known].astype(int), before[known] == after[known]
    size = np.bincount(was, minlength=k)
    stayed: np.ndarray = np.bincount(was, kept, minlength=k) / np.maximum(size, 1)
    return np.where(size < LEAST_SHOWN, np.nan, stayed)


def _pyfunc_difference(made: SegmentsBundle) -> float:
    """Largest difference between the golden answers and those of the class that MLflow loads."""
    assert made.golden is not None, "a written bundle has golden rows"
    frame = categories.frame(made.answer.columns, made.golden.X)
    found = common.PyfuncAnswer(made).predict(frame)
    ids = np.array([segment.id for segment in made.answer.segments])
    if list(found["segment"]) != list(ids[made.golden.segment.astype(int)]):
        return float("inf")
    return float(
        max(
            np.abs(found["margin"].to_numpy() - made.golden.margin).max(),
            np.abs(found["confidence"].to_numpy() - made.golden.confidence).max(),
        )
    )


def _segments(made: SegmentsBundle, test: pd.DataFrame, worth: np.ndarray) -> pd.DataFrame:
    """The segments at the test cutoff; what few customers would show is left out."""
    labels, spend = test[CANDIDATE].to_numpy(), test["spend"].to_numpy()
    lines = []
    for s, segment in enumerate(made.answer.segments):
        own = labels == s
        few = own.sum() < LEAST_SHOWN
        shown: dict[str, Any] = {
            "customers": f"under {LEAST_SHOWN}" if few else int(own.sum()),
            "share": "not shown" if few else float(own.mean()),
            "value_share": "not shown"
            if few
            else float(worth[own].sum() / max(worth.sum(), 1e-12)),
            "bought": "not shown" if few else float((spend[own] > 0).mean()),
            "mean_spend": "not shown" if few else float(spend[own].mean()),
        }
        lines.append({"segment": segment.id, "name": segment.name, **shown})
    return pd.DataFrame(lines)


def _plots(
    folder: Path, case: SegmentsCase, made: SegmentsBundle, X: pd.DataFrame,
    refits: pd.DataFrame, moved: pd.DataFrame,
) -> None:  # fmt: skip
    ids = [segment.id for segment in made.answer.segments]
    drawing.save(folder, "profile", case.profile, plots.heat(case.profile))
    shares = case.segments[["segment", "name", "share", "value_share"]].replace("not shown", None)
    drawing.save(folder, "sizes", shares, plots.sizes(shares, f"{case.test:%Y-%m-%d}"))
    tidy = refits.melt(var_name="answer", value_name="ari")
    drawing.save(folder, "stability", tidy, plots.stability(tidy))
    drawing.save(folder, "choice", case.trials, plots.choice(case.trials))
    title = f"Customers from {case.facts['taught_at']} to {case.test:%Y-%m-%d}"
    drawing.save(folder, "migration", case.moved["period"], plots.migration(moved, ids, title))
    Z = made.segmentation.space.scaled(made.segmentation.rows(X))
    found = plots.axes_table(Z, made.segmentation.labels(X), ids, case.plan.config.seed)
    drawing.save(folder, "axes", found, plots.scatter(found))


def _tables(folder: Path, case: SegmentsCase, made: SegmentsBundle, test: pd.DataFrame) -> None:
    for name, table in {
        "segments": case.segments, "profile": case.profile, "apart": case.apart,
        "search": case.trials, "migration": case.moved["period"],
        "migration_month": case.moved["month"], "warnings": case.alarm,
        "stability": case.stability, "examples": case.examples,
    }.items():  # fmt: skip
        table.to_csv(folder / f"{name}.csv", index=False)
    if case.reach is not None:
        case.reach.to_csv(folder / "reach.csv", index=False)
    if case.followed is not None:
        case.followed.to_csv(folder / "followed.csv", index=False)
    lines = [named.model_dump() for named in names_of(made)]
    (folder / "names.yaml").write_text(
        "# Edit the names and put these lines into the pipeline YAML: what is learned anew keeps\n"
        "# letter and name of the segment that it is most like.\n"
        + yaml.safe_dump({"names": lines}, sort_keys=False, allow_unicode=True)
    )
    assert made.golden is not None, "a written bundle has golden rows"
    example = categories.rows(made.answer.columns, made.golden.X[:3])
    (folder / "input_example.json").write_text(json.dumps({"rows": example}, indent=1))
    told = pd.DataFrame(made.told(made.golden.X[:WORKED_ROWS]))
    told.to_csv(folder / "worked_rows.csv", index=False)
