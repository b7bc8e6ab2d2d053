"""Online profiles: the newest feature table, published to be read by customer id.

A publication is whole or absent, and a call is answered from one publication: readers see the old
one or the new one, never parts of both. Where profiles lie is a URL; the stores themselves are in
:mod:`features.profile_stores`.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ConfigError, DataError
from features.identity import customer_ids
from features.profile_stores import Packed, ProfileStore, open_store
from features.schema import FeatureColumn
from features.settings import Workspace, fingerprint
from features.store import MANIFEST

if TYPE_CHECKING:  # readers need none of what makes tables
    from features.sources import Source
    from features.tables import Stored

FORMAT = 1
"""Version of how a profile is packed; a reader takes no other."""
ROWS_A_BATCH = 20_000
DAY_SECONDS = 86_400.0
Value = float | str | None


@dataclass(frozen=True)
class Meta:
    """What is published: of which source, as of when, with which columns."""

    source: str
    time_zone: str
    cutoff: datetime
    """The moment as of which the values hold, business time."""
    published_at: datetime
    """When they were published, business time."""
    rows: int
    features: str
    """Content hash of the feature table behind."""
    columns: tuple[FeatureColumn, ...]
    consent: str | None = None
    """The purpose that customers must have allowed to be among them; None: everyone is."""


@dataclass(frozen=True)
class Profile:
    """The features of one customer."""

    customer_id: int
    values: dict[str, Value]
    """By column, in the order of the schema; None = missing."""
    cutoff: datetime
    published_at: datetime
    age_days: float
    """From the cutoff to the moment of asking."""


# --- publishing -----------------------------------------------------------------------------


def default_url(place: Workspace) -> str:
    """SQLite in the store: profiles can be made again."""
    return f"sqlite:///{quote(str(place.store / 'profiles'))}"


def publication_moment(stored: "Stored", cutoff: str | None) -> datetime:
    """The date ``cutoff``, by default the end of the source's data.

    Raises
    ------
    ConfigError
        If it is no date, or lies outside the data.
    """
    if cutoff is None:
        return stored.end
    try:
        moment = datetime.fromisoformat(cutoff)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or not stored.first < moment <= stored.end:
        raise ConfigError(
            f"cutoff {cutoff!r}: expected a date without a zone, after {stored.first:%Y-%m-%d} and "
            f"not after the end of the data, {stored.end:%Y-%m-%d}"
        )
    return moment


def publish_profiles(
    url: str, folder: Path, source: "Source", clock: Callable[[], datetime] | None = None,
    consent: str | None = None, accounts: Mapping[int, Sequence[int]] | None = None,
) -> Meta:  # fmt: skip
    """Publish the newest cutoff of the feature table in ``folder``.

    Parameters
    ----------
    consent
        The purpose that its customers have allowed; None: it holds everyone.
    accounts
        Customer -> further numbers under which the same profile is to be found.

    Raises
    ------
    ConfigError
        If the URL names no store, or its driver is not installed.
    DataError
        If the store does not answer.
    """
    from features.snapshot import read_schema

    part = max(folder.glob("features-*.parquet"))
    moment = pq.ParquetFile(part).read_row_group(0, columns=[c.CUTOFF])[c.CUTOFF][0].as_py()
    meta = Meta(
        source=source.name,
        time_zone=source.time_zone,
        cutoff=moment,
        published_at=(clock or _clock(source.time_zone))(),
        rows=pq.read_metadata(part).num_rows,
        features=json.loads((folder / MANIFEST).read_text())["content"],
        columns=tuple(read_schema(folder)),
        consent=consent,
    )
    told = {str(owner): numbers for owner, numbers in (accounts or {}).items()}
    key = fingerprint(FORMAT, meta.source, meta.features, meta.cutoff, meta.columns, consent, told)
    with open_store(url, source.name) as store:
        store.publish(key, _spelled(meta), lambda: _packed(part, meta.columns, accounts or {}))
    return meta


def _packed(
    part: Path, columns: Sequence[FeatureColumn], accounts: Mapping[int, Sequence[int]]
) -> Iterator[Packed]:
    """Customer, numbers as little-endian float64 (NaN = missing), words as JSON."""
    own = set(pq.read_table(part, columns=[c.CUSTOMER])[c.CUSTOMER].to_pylist()) if accounts else ()
    numbers = [k.name for k in columns if k.dtype == "float64"]
    words = [k.name for k in columns if k.dtype == "string"]
    for batch in pq.ParquetFile(part).iter_batches(ROWS_A_BATCH):
        ids = batch[c.CUSTOMER].to_pylist()
        block = np.empty((batch.num_rows, len(numbers)), dtype="<f8")
        for position, name in enumerate(numbers):
            block[:, position] = batch[name].to_numpy(zero_copy_only=False)
        said: list[str | None] = [None] * batch.num_rows
        if words:
            said = [_json(row) for row in zip(*(batch[n].to_pylist() for n in words), strict=True)]
        for row, customer in enumerate(ids):
            packed = block[row].tobytes()
            yield customer, packed, said[row]
            for account in accounts.get(customer, ()):
                if account not in own:  # else it was still another customer at the cutoff
                    yield account, packed, said[row]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _spelled(meta: Meta) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "source": meta.source,
        "time_zone": meta.time_zone,
        "cutoff": meta.cutoff.isoformat(),
        "published_at": meta.published_at.isoformat(),
        "rows": meta.rows,
        "features": meta.features,
        "columns": [column.model_dump() for column in meta.columns],
        "consent": meta.consent,
    }


# --- reading --------------------------------------------------------------------------------


class Profiles:
    """Published profiles of one source; may be shared by threads.

    Parameters
    ----------
    columns
        What the reader expects, such as a model's columns: another publication is refused.
    clock
        Now, in the source's business time without a zone.
    """

    def __init__(
        self,
        store: ProfileStore,
        columns: Sequence[FeatureColumn] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._store = store
        self._expected = columns
        self._now = clock
        self._known: dict[str, _Decoder] = {}

    @classmethod
    def open(
        cls,
        url: str,
        source: str,
        columns: Sequence[FeatureColumn] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> Self:
        """Profiles of ``source`` at ``url``.

        Raises
        ------
        ConfigError
            If the URL names no store, or its driver is not installed.
        DataError
            If nothing is published there, or by another version or with other columns.
        """
        profiles = cls(open_store(url, source), columns, clock)
        try:
            profiles.meta()
        except BaseException:
            profiles.close()
            raise
        return profiles

    def close(self) -> None:
        """Give back what the calling thread holds."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meta(self) -> Meta:
        """What is published now."""
        return self._decoder(*self._store.read([])[:2]).meta

    def age_days(self) -> float:
        """Days from the published cutoff to now."""
        decoder = self._decoder(*self._store.read([])[:2])
        return decoder.age_days((self._now or decoder.clock)())

    def get(self, customer_id: int) -> Profile | None:
        """The customer's profile; None if there is none."""
        return self.get_many([customer_id]).get(customer_id)

    def get_many(self, customer_ids: Sequence[int]) -> dict[int, Profile]:
        """Profiles of those customers that have one, all from the same publication.

        Raises
        ------
        DataError
            If the store does not answer, or what it holds was published by another version or with
            other columns.
        """
        key, spelled, found = self._store.read(customer_ids)
        decoder = self._decoder(key, spelled)
        now = (self._now or decoder.clock)()
        return {customer: decoder.profile(customer, *found[customer], now) for customer in found}

    def find(self, source_id: str, key: bytes) -> Profile | None:
        """The profile of the source's own customer number; ``key`` as in ``features.identity``."""
        source = self.meta().source
        return self.get(customer_ids(source, [source_id], key)[source_id])

    def _decoder(self, key: str, spelled: dict[str, Any]) -> "_Decoder":
        decoder = self._known.get(key)
        if decoder is None:
            decoder = _Decoder.of(spelled)
            if self._expected is not None:
                _refuse_other(self._expected, decoder.meta.columns)
            self._known = {key: decoder}
        return decoder


@dataclass(frozen=True)
class _Decoder:
    """Reads the packed profiles of one publication."""

    meta: Meta
    clock: Callable[[], datetime]
    numbers: struct.Struct
    names: tuple[str, ...]
    """Numbers first, then words: as they are packed."""
    order: tuple[str, ...] | None
    """Columns in the schema's order, where that is another one."""

    @classmethod
    def of(cls, spelled: dict[str, Any]) -> "_Decoder":
        if spelled.get("format") != FORMAT:
            raise DataError(
                f"profiles of format {spelled.get('format')!r}; this version reads {FORMAT}: "
                "publish them anew with `python -m features publish`"
            )
        columns = tuple(FeatureColumn(**column) for column in spelled["columns"])
        moments = {k: datetime.fromisoformat(spelled[k]) for k in ("cutoff", "published_at")}
        facts = {k: v for k, v in spelled.items() if k != "format"}
        meta = Meta(**{**facts, **moments, "columns": columns})
        numbers = [k.name for k in columns if k.dtype == "float64"]
        words = [k.name for k in columns if k.dtype == "string"]
        order = tuple(k.name for k in columns)
        return cls(
            meta,
            _clock(spelled["time_zone"]),
            struct.Struct(f"<{len(numbers)}d"),
            (*numbers, *words),
            None if order == (*numbers, *words) else order,
        )

    def profile(self, customer: int, packed: bytes, words: str | None, now: datetime) -> Profile:
        """Unpack one profile."""
        numbers = [None if v != v else v for v in self.numbers.unpack(packed)]  # noqa: PLR0124
        said = json.loads(words) if words else []
        values = dict(zip(self.names, [*numbers, *said], strict=True))
        if self.order:
            values = {name: values[name] for name in self.order}
        meta = self.meta
        return Profile(customer, values, meta.cutoff, meta.published_at, self.age_days(now))

    def age_days(self, now: datetime) -> float:
        """Days from the cutoff to ``now``."""
        return (now - self.meta.cutoff).total_seconds() / DAY_SECONDS


def _refuse_other(expected: Sequence[FeatureColumn], found: Sequence[FeatureColumn]) -> None:
    """Types and names have to be the expected ones; more columns than expected do no harm."""
    types = {k.name: k.dtype for k in found}
    problems = [
        f"column {k.name!r} is not published"
        if k.name not in types
        else f"column {k.name!r} is published as {types[k.name]}, expected {k.dtype}"
        for k in expected
        if types.get(k.name) != k.dtype
    ]
    if problems:
        raise DataError.listing(
            "the published profiles have other columns than expected; publish them with the "
            "pipeline of the model",
            problems[:20],
        )


def _clock(time_zone: str) -> Callable[[], datetime]:
    zone = ZoneInfo(time_zone)
    return lambda: datetime.now(zone).replace(tzinfo=None)
