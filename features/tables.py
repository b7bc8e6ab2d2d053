"""Valid tables: built once from raw files, then opened and looked at from any time.

A row has two clocks: when it happened and when we learned it. The past at cutoff ``t`` holds the
rows with both before ``t``; what follows in ``[t, t + horizon)`` is for labels.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq
from ibis.backends import BaseBackend

from features import columns as c
from features.canonical import CANONICAL
from features.consent import CONSENTS, Consent, allowed
from features.engine import Engine, connect
from features.erasure import tombstones
from features.errors import ConfigError, DataError
from features.identity import customer_key
from features.ingest import ingest, rule_version
from features.linkage.decisions import decisions, fitted_weights
from features.owners import owned, owners, surviving, told_to
from features.settings import Workspace, code_fingerprint, fingerprint
from features.simulate import simulate
from features.sources import Source, find_files, source_fingerprint
from features.spark import connect_spark
from features.store import Published, current, publish
from features.views import View, Window

SAMPLE_STEPS = 1_000_000
A_TABLE = 1 << 48
"""More rows than a table has."""


@dataclass(frozen=True)
class Tables:
    """The canonical tables of a source, as Ibis expressions on one backend."""

    backend: BaseBackend
    tables: Mapping[str, ir.Table]
    began: Mapping[str, datetime]
    """Time of each table's first row: what lies before could not be observed."""
    consent: Consent | None = None
    """What customers must have allowed to be seen by :meth:`asof`; None: everyone is."""
    oldest: Collection[str] | None = None
    """Attributes of a merged customer of which the oldest value survives, else the newest one that
    is not missing; None: rows stay as they are."""
    as_at: datetime | None = None
    """See :meth:`Stored.as_long_as`."""

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.disconnect()

    def passes(self, cutoffs: Sequence[datetime]) -> list[tuple[datetime, ...]]:
        """Cutoffs that one view can hold: all, or one each where tables depend on the cutoff."""
        return [(t,) for t in cutoffs] if self.one_at_a_time else [tuple(cutoffs)]

    @property
    def one_at_a_time(self) -> bool:
        """Whether tables depend on the cutoff that they are seen from."""
        return self.merging or self.as_at is not None

    @property
    def merging(self) -> bool:
        """Whether accounts turn out to be one person as time goes by."""
        return "merges" in self.tables

    def asof(self, cutoffs: Sequence[datetime], moments: ir.Table | None = None) -> View:
        """The past as known at each of ``cutoffs``; rows carry the cutoff they are seen from.

        Parameters
        ----------
        moments
            The cutoffs as a table of the engine, for expressions that serve others, too.

        Raises
        ------
        DataError
            If the cutoffs are more than one pass can hold.
        """
        tables = self.tables
        if self.merging:
            t = self._only(cutoffs)
            tables = owned(tables, owners(tables["merges"], t))
            if self.oldest is not None and "customers" in tables:
                tables["customers"] = surviving(tables["customers"], t, self.oldest)
        view = View(tables, self.began, tuple(cutoffs), None, moments)
        if self.as_at is not None:
            self._only(cutoffs)
            view = view.of_one_length(self.as_at)
        if self.consent is None:
            return view
        permitted = allowed(view, self.consent.purpose, self.consent.channel)
        return replace(view, _allowed=permitted)

    def following(self, cutoffs: Sequence[datetime], horizon_days: int, maturity_days: int) -> View:
        """What happened in ``[t, t + horizon)`` and was known by ``t + horizon + maturity``."""
        tables = self.tables
        if self.merging:
            t = self._only(cutoffs)
            mature = t + timedelta(days=horizon_days + maturity_days)
            then, later = (owners(tables["merges"], moment) for moment in (t, mature))
            tables = {
                name: told_to(table, then, later) if c.CUSTOMER in CANONICAL[name] else table
                for name, table in tables.items()
                if name != "merges"
            }
        return View(tables, self.began, tuple(cutoffs), Window(horizon_days, maturity_days))

    def places(self) -> ir.Table:
        """Where the source first names each customer: an order that knows nothing of the key.

        Returns
        -------
        ir.Table
            ``customer_id`` and ``place``: that of the first row in the first table that has the
            customer; no two are equal.
        """
        found = [
            table.group_by(c.CUSTOMER).aggregate(place=table[c.ROW].min() + number * A_TABLE)
            for number, name in enumerate(CANONICAL)
            if (table := self.tables.get(name)) is not None and c.CUSTOMER in CANONICAL[name]
        ]
        every = ibis.union(*found)
        return every.group_by(c.CUSTOMER).aggregate(place=every.place.min())

    @staticmethod
    def _only(cutoffs: Sequence[datetime]) -> datetime:
        if len(cutoffs) != 1:
            raise DataError(
                f"{len(cutoffs)} cutoffs in one view of tables that depend on the cutoff: take one "
                "of Tables.passes(cutoffs) at a time"
            )
        return cutoffs[0]

    def sampled(self, share: float) -> "Tables":
        """The rows of a share of the customers, chosen by their keyed number: always the same."""
        if share >= 1:
            return self
        limit = round(share * SAMPLE_STEPS)
        tables = {
            name: table.filter(table[c.CUSTOMER] % SAMPLE_STEPS < limit)
            if c.CUSTOMER in CANONICAL[name] else table
            for name, table in self.tables.items()
        }  # fmt: skip
        return replace(self, tables=tables)


@dataclass(frozen=True)
class Stored:
    """Published tables of a source and the facts of their build."""

    source: Source
    published: Published
    consent: Consent | None = None
    """What customers must have allowed to be looked at through :meth:`open`."""
    as_at: datetime | None = None
    """See :meth:`as_long_as`."""

    def consenting(self, consent: Consent | None) -> "Stored":
        """The same tables, of which only customers are seen who allow this at the cutoff.

        Raises
        ------
        ConfigError
            If the source brings no consents.
        """
        if consent is not None and CONSENTS not in self.brought:
            raise ConfigError(
                f"consent: source {self.source.name!r} brings no table {CONSENTS!r}; what may be "
                "done rests on its lawful_basis: leave consent out, or declare the table"
            )
        return replace(self, consent=consent)

    def as_long_as(self, reference: datetime) -> "Stored":
        """The same tables, at every cutoff from ``reference`` on no longer than they were then.

        What happened earlier than that is not seen, as if data had begun so much later; what holds
        until it is replaced, such as a price or a consent, is known all the same. Only so can
        customers of two cutoffs be compared: where data are young, everyone has a short history.
        """
        return replace(self, as_at=reference)

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

    def open(self, sample: float = 1.0, engine: Engine = "duckdb") -> Tables:
        """Connect to the stored tables, until closed; ``sample`` keeps a share of the customers."""
        # The folder above it, because what the engine spills must not lie in a published folder.
        backend = connect_spark() if engine == "spark" else connect(self.published.folder.parent)
        tables = {
            name: backend.read_parquet(self.published.folder / f"{name}.parquet", table_name=name)
            for name in self.brought
        }
        who = self.source.identity
        oldest = None if who is None else who.oldest
        whole = Tables(backend, tables, self.began, self.consent, oldest, self.as_at)
        return whole.sampled(sample)

    @property
    def brought(self) -> list[str]:
        """Names of the canonical tables that the source brings."""
        return [n for n in CANONICAL if (self.published.folder / f"{n}.parquet").is_file()]

    @property
    def largest(self) -> int:
        """Rows of the largest table."""
        files = [self.published.folder / f"{name}.parquet" for name in self.brought]
        return max(int(pq.read_metadata(file).num_rows) for file in files)

    @property
    def began(self) -> dict[str, datetime]:
        """Time of the first row of each table."""
        spans = self.facts["tables"] | self.facts.get("made", {})
        return {name: datetime.fromisoformat(spans[name]["first"]) for name in self.brought}

    def source_ids(self) -> dict[int, str]:
        """Internal number -> the source's own id, for approved exports and benchmarks.

        Of every account: what belongs to another customer by now was its own at earlier cutoffs.
        """
        links = pq.read_table(self.published.folder / "links.parquet")
        return dict(zip(links[c.ACCOUNT].to_pylist(), links["source_id"].to_pylist(), strict=True))

    def accounts(self) -> dict[int, list[int]]:
        """Customer -> the internal numbers of further ids that were found to be the same person."""
        links = pq.read_table(self.published.folder / "links.parquet")
        found: dict[int, list[int]] = {}
        for owner, account in zip(*(links[k].to_pylist() for k in (c.CUSTOMER, c.ACCOUNT)),
                                  strict=True):  # fmt: skip
            if account != owner:
                found.setdefault(owner, []).append(account)
        return found


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


def tables_key(source: Source, files: dict[str, list[Path]], key: bytes) -> str:
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
    extracts = place.store / "extracts" / source.name
    files = find_files(source, raw_folder(place, source), extracts)
    key = customer_key(place.keys)
    erased = tombstones(place, source.name)
    inputs = tables_key(source, files, key)
    if erased:
        inputs = fingerprint(inputs, sorted(erased))
    who: dict[str, Any] = {}
    if source.identity is not None:
        who = {
            "weights": fitted_weights(place, source.identity.weights),
            "decisions": decisions(place, source.name),
        }
        inputs = fingerprint(inputs, who["weights"], [asdict(k) for k in who["decisions"]])
    root = place.store / "tables" / source.name

    def write(folder: Path) -> dict[str, Any]:
        before = current(root)
        last_build = before.folder if before else None
        facts = ingest(source, files, key, folder, last_build, erased, **who)
        first, last = facts["first"], facts["last"]
        if not facts["snapshot"] and _midnight(last) - first < timedelta(days=1):
            raise DataError(f"source {source.name}: no complete day between {first} and {last}")
        return facts

    return Stored(source, publish(root, inputs, write))


def _midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)
