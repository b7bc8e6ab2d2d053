"""Valid tables: built once from raw files, then opened and looked at from any time.

A row has two clocks: when it happened and when we learned it. The past at cutoff ``t`` holds the
rows with both before ``t``; what follows in ``[t, t + horizon)`` is for labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from features import columns as c
from features.engine import connect
from features.errors import DataError
from features.identity import customer_key
from features.ingest import ingest, rule_version
from features.settings import Workspace, code_fingerprint, fingerprint
from features.simulate import simulate
from features.sources import Source, find_files, source_fingerprint
from features.store import Published, publish
from features.views import View


@dataclass(frozen=True)
class Tables:
    """The canonical tables of a source, as Ibis expressions on one backend."""

    backend: Backend
    order_lines: ir.Table
    began: datetime
    """Time of the first row: what lies before could not be observed."""

    def asof(self, cutoffs: Sequence[datetime]) -> "View":
        """The past as known at each of ``cutoffs``; rows carry the cutoff they are seen from."""
        moments = _moments(cutoffs)
        lines = self.order_lines
        seen = lines.join(
            moments,
            [lines[c.EVENT_TIME] < moments[c.CUTOFF], lines[c.KNOWN_TIME] < moments[c.CUTOFF]],
        )
        return View(seen, self.began)

    def following(
        self, cutoffs: Sequence[datetime], horizon_days: int, maturity_days: int
    ) -> "View":
        """What happened in ``[t, t + horizon)`` and was known by ``t + horizon + maturity``."""
        moments = _moments(cutoffs)
        end = moments[c.CUTOFF] + ibis.interval(days=horizon_days)
        lines = self.order_lines
        seen = lines.join(
            moments,
            [
                lines[c.EVENT_TIME] >= moments[c.CUTOFF],
                lines[c.EVENT_TIME] < end,
                lines[c.KNOWN_TIME] < end + ibis.interval(days=maturity_days),
            ],
        )
        return View(seen, self.began)


def _moments(cutoffs: Sequence[datetime]) -> ir.Table:
    return ibis.memtable({c.CUTOFF: list(cutoffs)}, schema={c.CUTOFF: "timestamp(6)"})


@dataclass(frozen=True)
class Stored:
    """Published tables of a source and the facts of their build."""

    source: Source
    published: Published

    @property
    def facts(self) -> dict[str, Any]:
        """Account, spans and counts as the build wrote them."""
        return dict(self.published.manifest["facts"])

    @property
    def end(self) -> datetime:
        """Midnight after the last complete day: the day of the last row is taken as unfinished."""
        return _midnight(datetime.fromisoformat(self.facts["last"]))

    @property
    def first(self) -> datetime:
        """Time of the first row."""
        return datetime.fromisoformat(self.facts["first"])

    def open(self) -> Tables:
        """Connect to the stored tables."""
        # The folder above it, because what the engine spills must not lie in a published folder.
        backend = connect(self.published.folder.parent)
        path = self.published.folder / "order_lines.parquet"
        return Tables(backend, backend.read_parquet(path, table_name="order_lines"), self.first)

    def source_ids(self) -> dict[int, str]:
        """Internal customer -> the source's own id, for approved exports and benchmarks."""
        links = pq.read_table(self.published.folder / "links.parquet")
        return dict(zip(links[c.CUSTOMER].to_pylist(), links["source_id"].to_pylist(), strict=True))


def raw_folder(place: Workspace, source: Source) -> Path | None:
    """Where the raw files of ``source`` lie; a simulated source is written first, once."""
    if source.simulate is None:
        return place.data
    config = source.simulate
    key = fingerprint(config, code_fingerprint("features.simulate"))

    def write(folder: Path) -> dict[str, Any]:
        simulate(config, folder)
        return {"config": config.model_dump(mode="json")}

    return publish(place.store / "simulated" / source.name, key, write).folder


def tables_key(source: Source, files: list[Path], key: bytes) -> str:
    """Fingerprint of all that valid tables depend on: files, declaration, code, customer key."""
    return fingerprint(source_fingerprint(source, files), rule_version(source), key.hex())


def build_tables(place: Workspace, source: Source) -> Stored:
    """Read the raw files of ``source`` into published tables, unless they already are.

    Raises
    ------
    ConfigError
        If files cannot be found.
    DataError
        If a file or the account of its records is broken; nothing is published then.
    """
    files = find_files(source, raw_folder(place, source))
    key = customer_key(place.keys)
    inputs = tables_key(source, files, key)
    root = place.store / "tables" / source.name

    def write(folder: Path) -> dict[str, Any]:
        facts = ingest(source, files, key, folder)
        first, last = facts["first"], facts["last"]
        if _midnight(last) - first < timedelta(days=1):
            raise DataError(f"source {source.name}: no complete day between {first} and {last}")
        return facts

    return Stored(source, publish(root, inputs, write))


def _midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)
