"""What a service answers, counted for ``/metrics`` and kept in the prediction log.

A request pays for one append to a list: a thread of its own bins the rows once a second, and writes
files. Whatever happens there fails no request; rows that cannot be kept are counted.
"""

import logging
import os
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.errors import ConfigError
from features.settings import Workspace
from serving import background
from training import predictions
from training.contract import Floats
from training.drift import MISSING, Bins
from training.predictions import REQUEST, Answered

if TYPE_CHECKING:
    from serving.release import Release
    from serving.rows import Asked
    from training.bundle import Loaded

log = logging.getLogger("perennial")

SHARE = "PERENNIAL_LOG_SHARE"
"""Environment: share of the requests that go to the prediction log; 0 or nothing = none."""
SECONDS = 1.0
"""Between two looks at what is waiting."""
FILE_SECONDS, FILE_ROWS = 60.0, 50_000
"""A file is written when so much time has passed or so many rows have come."""
MOST_WAITING = 100_000
"""Rows that may wait to be binned; more are lost, and counted."""
WINDOW_ROWS = 10_000
"""Drift is told of at least so many of the newest rows, and less than twice as many."""


class Watch(Collector):
    """Counts and logs the answers of one released bundle.

    Parameters
    ----------
    into
        Folder of the version's log.
    share
        Share of the requests that are logged, chosen by a hash of the request id.
    """

    def __init__(self, bundle: "Loaded", into: Path, share: float) -> None:
        self._bins, self._into, self._share = Bins.of(bundle), into, share
        self._learned = date.fromisoformat(bundle.answer.cutoff)
        self._lock = threading.Lock()
        self._waiting: list[tuple[Answered, Floats]] = []
        self._waiting_rows = self.lost = self.answered = self.logged = self._files = 0
        self._older = self._newer = self._nothing()
        self._tables: list[pa.Table] = []
        self._since = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    @classmethod
    def of(cls, place: Workspace, bundle: "Loaded", release: "Release") -> "Watch":
        """The watch over a released version, with the share that the environment says.

        Raises
        ------
        ConfigError
            If that is no share.
        """
        into = predictions.folder(place, release.model, release.version)
        return cls(bundle, into, share_of(os.environ.get(SHARE, "0")))

    def add(self, asked: "Asked", request_id: str, answers: Floats, scores: Floats) -> None:
        """Note the answers to one request; returns at once."""
        told = Answered(
            REQUEST, request_id, predictions.now(), answers, scores, asked.customers, asked.cutoff
        )
        with self._lock:
            if self._waiting_rows + len(answers) > MOST_WAITING:
                self.lost += len(answers)
                return
            self._waiting_rows += len(answers)
            self._waiting.append((told, asked.X))

    def close(self) -> None:
        """Write what is waiting, and end."""
        _OPEN.discard(self)
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        background.stand_back()
        while not self._stop.wait(SECONDS):
            self._look(last=False)
        self._look(last=True)

    def _look(self, last: bool) -> None:
        with self._lock:
            waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        try:
            if waiting:
                self._bin(waiting)
            self._since += SECONDS
            rows = sum(len(table) for table in self._tables)
            if rows and (last or self._since >= FILE_SECONDS or rows >= FILE_ROWS):
                self._write(rows)
        except Exception as error:  # the log must not end with one bad disk or row
            self.lost += sum(len(told.answers) for told, _ in waiting)
            log.error("the prediction log lost rows: %s", type(error).__name__)

    def _bin(self, waiting: list[tuple[Answered, Floats]]) -> None:
        X = np.concatenate([rows for _, rows in waiting])
        scores = np.concatenate([told.scores for told, _ in waiting])
        codes = self._bins.codes(X, scores)
        self.answered += len(X)
        counts = self._bins.counted(codes)
        self._newer = tuple(a + b for a, b in zip(self._newer, counts, strict=True))
        if self._newer[0].sum() >= WINDOW_ROWS:
            self._older, self._newer = self._newer, self._nothing()
        logged = [zlib.crc32(told.request_id.encode()) < self._share * 2**32 for told, _ in waiting]
        if any(logged):
            kept = np.repeat(logged, [len(rows) for _, rows in waiting])
            told = [one for (one, _), wanted in zip(waiting, logged, strict=True) if wanted]
            self._tables.append(predictions.table(told, codes[kept]))

    def _write(self, rows: int) -> None:
        table, self._tables, self._since = pa.concat_tables(self._tables), [], 0.0
        self._files += 1
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{self._files}"
        try:
            predictions.write(self._into, name, table)
        except OSError as error:
            self.lost += rows
            log.error("the prediction log cannot be written: %s", type(error).__name__)
        else:
            self.logged += rows

    def table(self) -> pd.DataFrame:
        """Drift of the newest rows, as :meth:`training.drift.Bins.table`."""
        return self._bins.table(self._newest())

    def _newest(self) -> list[Any]:
        return [a + b for a, b in zip(self._older, self._newer, strict=True)]

    def _nothing(self) -> tuple[Any, ...]:
        return tuple(np.zeros(len(counts), np.int64) for counts in self._bins.then)

    def collect(self) -> Iterator[Metric]:
        """All families, for Prometheus."""
        for name, said, count in (
            ("perennial_answers", "Rows answered.", self.answered),
            ("perennial_log_rows", "Rows written to the prediction log.", self.logged),
            ("perennial_log_lost_rows", "Rows that the prediction log could not keep.", self.lost),
        ):
            yield CounterMetricFamily(name, said, count)
        age = (datetime.now(UTC).date() - self._learned).days
        yield GaugeMetricFamily("perennial_model_age_days", "Days since the model's cutoff.", age)
        now, table = self._newest(), self.table()
        for family, said, column in (
            ("perennial_drift_index", "Population stability index, newest rows.", "psi"),
            ("perennial_missing_ratio", "Share of missing values, newest rows.", "missing_now"),
        ):
            gauge = GaugeMetricFamily(family, said, labels=("column",))
            for line in table.itertuples():
                gauge.add_metric((line.column,), getattr(line, column))
            yield gauge
        scores, total = now[-1][MISSING + 1 :], max(now[-1].sum(), 1)
        shares = GaugeMetricFamily(
            "perennial_score_ratio", "Share of the newest scores by decile of the test's.",
            labels=("decile",),
        )  # fmt: skip
        for k, count in enumerate(scores.tolist(), start=1):
            shares.add_metric((str(k),), count / total)
        yield shares


_OPEN: set[Watch] = set()
"""Watches of this process that may have something to write."""


def close_all() -> None:
    """End every watch of this process; it is called before the process does."""
    for watch in list(_OPEN):
        watch.close()


def share_of(text: str) -> float:
    """A share from text.

    Raises
    ------
    ConfigError
        If it is no number from 0 to 1.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"{SHARE}={text!r}: expected a share from 0 to 1")
    return share
