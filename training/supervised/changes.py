"""What is different since the latest lesson and since the champion: drift, signature, cost."""

import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training import categories
from training.bundle import Loaded
from training.categories import encoded
from training.contract import category_columns, matrix
from training.drift import Bins
from training.report import Section
from training.rows import Rows
from training.supervised.bundle import Bundle

if TYPE_CHECKING:
    from training.supervised.case import SupervisedCase

FILE = "latest_rows.parquet"
SHOWN = 12
ASKED = 15


def sections(case: "SupervisedCase") -> list[Section]:
    """What is different since the latest lesson and since the champion, and what answers cost."""
    moved = drift(case.made, case.learned.folder, case.champion, case.reported.rows.X)
    return [
        *drift_section(moved),
        signature_section(signature(case.made, case.champion), case.champion_note),
        cost_section(case.costs),
    ]


def write_latest(folder: Path, rows: Rows) -> None:
    """Keep the rows of the latest teaching cutoff; words as words."""
    rows.X.astype(dict.fromkeys(category_columns(rows.X), object)).to_parquet(folder / FILE)


def drift(made: Bundle, folder: Path, champion: Loaded | None, words: pd.DataFrame) -> pd.DataFrame:
    """By how much the test rows depart from the latest lesson and from the champion's test rows.

    Parameters
    ----------
    folder
        Of the run, with what :func:`write_latest` wrote.
    words
        The test rows; words are words.

    Returns
    -------
    DataFrame
        ``since``, and the columns of :meth:`training.drift.Bins.table`.
    """
    tables = []
    if (folder / FILE).is_file():
        X = matrix(encoded(pd.read_parquet(folder / FILE), made.answer.columns), made.columns)
        bins = Bins.of(made)
        before = bins.counted(bins.codes(X, made.model.score(X)))
        tables.append(replace(bins, then=before).table(bins.then).assign(since="latest lesson"))
    if isinstance(champion, Bundle) and {*champion.columns} <= {*words.columns}:
        asked = words[list(champion.columns)]
        X = matrix(encoded(asked, champion.answer.columns), champion.columns)
        bins = Bins.of(champion)
        now = bins.counted(bins.codes(X, champion.model.score(X)))
        tables.append(bins.table(now).assign(since=f"champion, {champion.answer.cutoff}"))
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table[["since", *table.columns.drop("since")]]


def drift_section(table: pd.DataFrame) -> list[Section]:
    """The columns that moved most."""
    if table.empty:
        return []
    alerts = int(table["alert"].sum())
    text = (
        f"Population stability index of the test rows' columns and score, in tenths; {alerts} "
        "departed by 0.2 or more and by more than chance. drift.csv has every column."
    )
    columns = ["since", "column", "psi", "by_chance", "where", "share_then", "share_now", "alert"]
    shown = table.sort_values("psi", ascending=False, kind="stable")[columns].head(SHOWN)
    return [Section("Drift", [text], shown.round(4), files={"drift": table})]


def signature(made: Bundle, champion: Loaded | None) -> pd.DataFrame:
    """What a caller of the champion would notice: ``side``, ``name``, ``champion``, ``now``."""
    if champion is None:
        return pd.DataFrame(columns=["side", "name", "champion", "now"])
    lines = []
    for side, theirs, ours in (
        ("input", dict(champion.inputs), dict(made.inputs)),
        ("output", dict(champion.outputs), dict(made.outputs)),
        ("learned", _learned(champion), _learned(made)),
    ):
        for name in dict.fromkeys((*theirs, *ours)):
            before, now = theirs.get(name, "not there"), ours.get(name, "not there")
            if before != now:
                lines.append({"side": side, "name": name, "champion": before, "now": now})
    return pd.DataFrame(lines, columns=["side", "name", "champion", "now"])


def _learned(bundle: Loaded) -> dict[str, str]:
    a = bundle.answer
    model: dict[str, object] = {}
    if isinstance(bundle, Bundle):
        part = bundle.answer.model
        repaired = {f"repairs.{name}": k.model_dump() for name, k in part.repairs.items()}
        beside = {f"averaged_with.{p.use}": p.config for p in part.averaged_with}
        share = {"own_share": part.own_share} if beside else {}
        model = {"model": part.use, **part.config, **share, **beside, **repaired}
    told = {"source": a.source, "test cutoff": a.cutoff, "horizon_days": a.horizon_days, **model}
    return {name: str(value) for name, value in told.items()}


def signature_section(table: pd.DataFrame, note: str) -> Section:
    """Said even where nothing changed."""
    if table.empty:
        said = note or "Columns in, columns out, data and parameters are the champion's."
        return Section(
            "Changes since the champion", [said[0].upper() + said[1:]], files={"signature": table}
        )
    return Section(
        "Changes since the champion",
        ["Columns that a caller sends and gets, what was learned from, and parameters."],
        table,
        files={"signature": table},
    )


def cost(made: Bundle, folder: Path) -> dict[str, float]:
    """Milliseconds for one row and for the golden rows, size of the bundle, peak memory so far."""
    assert made.golden is not None, "a written bundle has golden rows"
    frame = categories.frame(made.answer.columns, made.golden.X)

    def milliseconds(rows: pd.DataFrame) -> float:
        spent = []
        for _ in range(ASKED):
            begun = time.perf_counter()
            made.predict_frame(rows)
            spent.append(time.perf_counter() - begun)
        return 1e3 * statistics.median(spent)

    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "one_row_ms": milliseconds(frame.iloc[:1]),
        "golden_rows_ms": milliseconds(frame),
        "bundle_mb": size / 1e6,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def cost_section(found: dict[str, float]) -> Section:
    """What an answer costs."""
    text = (
        "Medians of asking the bundle in this process, on the machine of the run; the seconds of "
        "each stage are metrics of the run in MLflow."
    )
    table = pd.DataFrame({"what": list(found), "value": np.round([*found.values()], 3)})
    return Section("Cost and latency", [text], table)
