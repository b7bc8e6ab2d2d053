"""Online profiles: features of a customer, read by id from what was published.

A call is answered from one publication: readers see the old one or the new one, never parts of
both. Where profiles lie is a URL; :mod:`features.publishing` puts them there, the stores themselves
are in :mod:`features.profile_stores`.
"""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from features.errors import DataError
from features.identity import customer_ids
from features.profile_stores import ProfileStore, open_store
from features.schema import FeatureColumn
from features.settings import Workspace

FORMAT = 1
"""Version of how a profile is packed; a reader takes no other."""
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


def default_url(place: Workspace) -> str:
    """SQLite in the store: profiles can be made again."""
    return f"sqlite:///{quote(str(place.store / 'profiles'))}"


def business_clock(time_zone: str) -> Callable[[], datetime]:
    """Now in a zone, without naming it: business time."""
    zone = ZoneInfo(time_zone)
    return lambda: datetime.now(zone).replace(tzinfo=None)


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
            business_clock(spelled["time_zone"]),
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
