"""One page about a version in use: volume, drift, and how right it was where labels matured."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from features.errors import ConfigError, DataError
from features.settings import Workspace
from training import drift, ledger, predictions, versions
from training.drift import Bins
from training.record import Record
from training.report import Section, page

PAGE = "report.html"


@dataclass(frozen=True)
class Reported:
    """What was written, and what needs a person."""

    page: Path
    alerts: list[str]
    drift: pd.DataFrame
    """One line a column, as in ``drift.csv``."""


def report(
    place: Workspace,
    model: str,
    *,
    number: int | None = None,
    days: int = 30,
    out: Path | None = None,
) -> Reported:
    """Write the page and its tables (``volume``, ``drift``, ``ledger``, ``alerts``) as CSV.

    Parameters
    ----------
    number
        Version; None = the newest with a log.
    days
        So many of the newest logged days count for drift.
    out
        Folder; None = below the store.

    Raises
    ------
    ConfigError
        If nothing of the model was logged.
    """
    logged = predictions.versions(place, model)
    if not logged or number not in (None, *logged):
        raise ConfigError(
            f"the prediction log has {logged or 'nothing'} of {model!r}: serve it, or run "
            f"`python -m serving score {model} --out FILE`"
        )
    number = number or logged[-1]
    told = predictions.read(place, model, number)
    told = told[told["time"] > told["time"].max() - timedelta(days=days)]
    bins = _bins(place, model, number)
    shifted = bins.table(bins.counted(predictions.codes(told)))
    known = ledger.entries(place, model)
    matured = [e for e in Record(place).entries(model) if e.event == ledger.EVENT]
    worse = [text for e in matured if e.version == number for text in e.evidence["alerts"]]
    alerts = [*drift.alerts(shifted), *worse]
    tables = {
        "volume": _volume(told), "drift": shifted, "ledger": known,
        "alerts": pd.DataFrame({"alert": alerts}),
    }  # fmt: skip
    folder = out or place.store / "reports" / model
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    text = page(f"{model} version {number} in use", _sections(tables, days), folder)
    (folder / PAGE).write_text(text, encoding="utf-8")
    return Reported(folder / PAGE, alerts, shifted)


def _bins(place: Workspace, model: str, number: int) -> Bins:
    entries = Record(place).entries(model)
    own = [e for e in entries if e.event == "registered" and e.version == number]
    if not own:
        raise DataError(f"{place.registry}: version {number} of {model!r} is not in the record")
    return Bins.of(versions.bundle_of(place, own[0]))


def _volume(told: pd.DataFrame) -> pd.DataFrame:
    """Rows, requests and mean answer by day and origin."""
    day = told["time"].dt.strftime("%Y-%m-%d").rename("day")
    by_day = told.groupby([day, "origin"])
    return by_day.agg(
        requests=("request_id", "nunique"), rows=("answer", "size"), mean_answer=("answer", "mean")
    ).reset_index()


def _sections(tables: dict[str, pd.DataFrame], days: int) -> list[Section]:
    found, known = tables["alerts"]["alert"].to_list(), tables["ledger"]
    matured = known.assign(test=known["test"].map(lambda v: "-" if np.isnan(v) else f"{v:.4f}"))
    nothing = "No label of a logged answer has matured yet, or `training ledger` did not run since."
    return [
        Section("Alerts", found or ["None: no column has shifted, no promise is broken."]),
        Section("Volume", [f"The newest {days} logged days."], tables["volume"]),
        Section(
            "Drift",
            [
                "Population stability index of each column and of the score, against the customers "
                f"at the test cutoff, in their deciles. An alert needs {drift.LARGE:g} and more "
                "than chance gives samples of these sizes; it says where most shares changed."
            ],
            tables["drift"],
        ),
        Section(
            "Matured labels",
            ["What was answered, held against what then happened; test: what the review saw."],
            matured,
        )
        if len(known)
        else Section("Matured labels", [nothing]),
    ]
