"""The matured-label ledger: what versions answered, held against what then happened.

A logged answer says for whom and as of when it was given. Once the source knows everything of its
label window, the answers of a cutoff are evaluated as the test was, and the result is attached to
the version: an entry of the record, metrics and tags in MLflow.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.cutoffs import Snapshots
from features.erasure import tombstones
from features.settings import Workspace, fingerprint
from features.tables import Stored, build_tables
from training import predictions, track, tracker
from training.contract import LABEL, Floats, Kind
from training.evaluate import SLICE_METRICS, judge
from training.gates import CANDIDATE
from training.metrics import LOWER_IS_BETTER, customer_weights, interval
from training.pipeline import load_plan
from training.record import MATURED, Entry, Record
from training.rows import KEYS, PLACE, Rows, labels_of
from training.supervised.bundle import Bundle
from training.supervised.config import SupervisedPlan
from training.versions import bundle_of

log = logging.getLogger("perennial")

EVENT = MATURED
BIAS = "bias"
"""Mean answer minus mean label."""
LARGE_BIAS: dict[Kind, float] = {"event": 0.05, "amount": 0.1}
"""An alert from here on: a difference of probabilities, or a share of the mean amount."""


@dataclass(frozen=True)
class Matured:
    """Answers of one version as of one cutoff, judged by what happened."""

    entry: Entry
    """The version's registration."""
    kind: Kind
    cutoff: datetime
    origin: str
    """``batch`` or ``request``: those who were asked for by id need not be like everyone."""
    asked: int
    """Customers whom the question asks about at the cutoff."""
    answered: int
    """Those of them with a logged answer and a known label."""
    table: pd.DataFrame
    """Tidy: metric, value, ci_low, ci_high, test; the last is what the review pack said."""
    key: str
    """Fingerprint of the answers judged."""

    @property
    def alerts(self) -> list[str]:
        """What is worse than promised, each with its size."""
        said = [line for line in self.table.itertuples() if line.metric in self._watched]
        return [text for line in said if (text := self._alert(line))]

    @property
    def _watched(self) -> tuple[str, ...]:
        return (*SLICE_METRICS[self.kind][:2], BIAS)

    def _alert(self, line: Any) -> str:
        of = f"{line.value:.3f} [{line.ci_low:.3f}, {line.ci_high:.3f}]"
        if line.metric == BIAS:
            limit = LARGE_BIAS[self.kind] * (1 if self.kind == "event" else line.mean_label)
            if abs(line.value) < limit or line.ci_low <= 0 <= line.ci_high:
                return ""
            return f"answers are {of} from what happened on average, an alert from {limit:.3g}"
        lower = line.metric in LOWER_IS_BETTER
        worse = line.ci_low > line.test if lower else line.ci_high < line.test
        return f"{line.metric} is {of}, at the test it was {line.test:.3f}" if worse else ""

    @property
    def evidence(self) -> dict[str, Any]:
        """What the record keeps."""
        columns = ["value", "ci_low", "ci_high", "test"]
        metrics = self.table.set_index("metric")[columns]
        return {
            "key": self.key, "cutoff": f"{self.cutoff:%Y-%m-%d}", "origin": self.origin,
            "asked": self.asked, "answered": self.answered, "alerts": self.alerts,
            "mean_label": float(self.table["mean_label"].iloc[0]),
            "metrics": {
                name: {k: None if pd.isna(v) else float(v) for k, v in row.items()}
                for name, row in metrics.iterrows()
            },
        }  # fmt: skip


def evaluate(place: Workspace, model: str) -> list[Matured]:
    """Judge what has matured of the log of ``model`` and attach it to its versions.

    What is attached already is not judged again; erased customers leave the log first.

    Raises
    ------
    ConfigError, DataError
        If the source cannot be read, or a version's files are not what was registered.
    """
    entries = Record(place).entries(model)
    known = {entry.evidence["key"] for entry in entries if entry.event == EVENT}
    logged = predictions.versions(place, model)
    found = []
    for entry in entries:
        if entry.event == "registered" and entry.version in logged:
            for matured in _Version(place, entry).matured(known):
                _attach(place, matured)
                found.append(matured)
    return found


def entries(place: Workspace, model: str) -> pd.DataFrame:
    """The ledger of ``model`` as the record has it: one line a version, cutoff, origin, metric."""
    lines = []
    for entry in Record(place).entries(model):
        if entry.event != EVENT:
            continue
        said = entry.evidence
        head = {name: said[name] for name in ("cutoff", "origin", "asked", "answered")}
        for metric, values in said["metrics"].items():
            lines.append({"version": entry.version, **head, "metric": metric, **values})
    columns = ["version", "cutoff", "origin", "asked", "answered", "metric",
               "value", "ci_low", "ci_high", "test"]  # fmt: skip
    return pd.DataFrame(lines, columns=columns)


def _attach(place: Workspace, matured: Matured) -> None:
    """To MLflow first: written again after a kill, it is the same there; the entry ends it."""
    entry, values = matured.entry, dict(matured.table[["metric", "value"]].itertuples(index=False))
    stem = f"{EVENT}.{matured.origin}"
    track.log_matured(place, entry.model, entry.version, stem, matured.cutoff, values)
    Record(place).append(
        EVENT, entry.model, entry.version, entry.digest,
        actor="ledger", reason=f"labels of {matured.cutoff:%Y-%m-%d} have matured",
        evidence=matured.evidence,
    )  # fmt: skip
    for text in matured.alerts:
        log.warning("%s version %d: %s", entry.model, entry.version, text)


class _Version:
    """A registered version with its log and the pipeline that made it."""

    def __init__(self, place: Workspace, entry: Entry) -> None:
        self.place, self.entry = place, entry
        erased = tombstones(place, self.plan.source.name)
        predictions.forget(place, entry.model, entry.version, erased)
        told = predictions.read(place, entry.model, entry.version).dropna(subset=KEYS)
        latest = told.drop_duplicates([*KEYS, "origin"], keep="last")
        self.log = latest.astype({c.CUSTOMER: "int64"}).sort_values(KEYS, ignore_index=True)

    @cached_property
    def plan(self) -> SupervisedPlan:
        pack = tracker.review_folder(self.place, self.entry.model, self.entry.version)
        return load_plan(self.place, pack / "config.resolved.yaml")  # type: ignore[return-value]

    @cached_property
    def stored(self) -> Stored:
        return build_tables(self.place, self.plan.source)

    def matured(self, known: set[str]) -> Iterator[Matured]:
        """What has matured and is not ``known``, by cutoff and origin."""
        if self.log.empty or self.plan.task.kind not in SLICE_METRICS:
            return  # of a segment, stage or list no label says whether it was right
        if isinstance(self.plan.config.cutoffs, Snapshots):
            return
        task = self.plan.task
        for (cutoff, origin), answered in self.log.groupby([c.CUTOFF, "origin"]):
            until = cutoff + timedelta(days=task.horizon_days + task.maturity_days)
            judged = sha256(answered[c.CUSTOMER].to_numpy().tobytes())
            judged.update(answered["answer"].to_numpy().tobytes())
            key = fingerprint(self.entry.digest, cutoff, origin, judged.hexdigest())
            if until <= self.stored.end and key not in known:
                yield self._judged(cutoff.to_pydatetime(), origin, answered, key)

    def _judged(self, cutoff: datetime, origin: str, answered: pd.DataFrame, key: str) -> Matured:
        task, config = self.plan.task, self.plan.config
        with self.stored.open(config.sample) as tables:
            labels, unknown = labels_of(tables, task, [cutoff])
        both = answered.merge(labels, on=KEYS, validate="one_to_one").sort_values(PLACE)
        y, p = (both[name].to_numpy(np.float64) for name in (LABEL, "answer"))
        rows = Rows(both[[]], y, both[c.CUSTOMER].to_numpy(), both[c.CUTOFF].to_numpy())
        threshold = self._threshold()
        judged = judge(
            rows, {CANDIDATE: p}, {CANDIDATE: threshold}, config.bootstrap, config.seed, task.kind
        )
        table = judged.table().drop(columns=["answer"])
        bias = _bias(rows, p, config.bootstrap, config.seed)
        table = pd.concat([table, pd.DataFrame([bias])], ignore_index=True)
        promised = self.entry.evidence["metrics"]
        tests = [promised.get(f"test.{m}", {}).get("value", np.nan) for m in table["metric"]]
        table = table.assign(test=tests, mean_label=float(y.mean()))
        asked = len(labels) + sum(unknown.values())
        return Matured(
            self.entry, task.kind, cutoff, origin, asked, len(rows),
            table[["metric", "value", "ci_low", "ci_high", "test", "mean_label"]], key,
        )  # fmt: skip

    def _threshold(self) -> float:
        loaded = bundle_of(self.place, self.entry)
        assert isinstance(loaded, Bundle), "only supervised answers are logged"
        found = loaded.answer.threshold
        return float("nan") if found is None else found


def _bias(rows: Rows, p: Floats, repeats: int, seed: int) -> dict[str, Any]:
    """Mean answer minus mean label, with its interval."""
    gap = p - rows.y
    weights = customer_weights(rows.customers, repeats, seed)
    low, high = interval(weights @ gap / weights.sum(axis=1))
    return {"metric": BIAS, "value": float(gap.mean()), "ci_low": low, "ci_high": high}
