"""Rows that a request does not bring: published profiles of customers, or made of a history."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.errors import ConfigError, DataError
from features.identity import KEY_FILE, customer_ids, customer_key
from features.online import Profile, Profiles, default_url
from features.schema import FeatureColumn
from features.settings import Workspace
from serving.refused import Refused

if TYPE_CHECKING:
    from serving.histories import Histories

log = logging.getLogger("perennial")

URL = "PERENNIAL_PROFILES_URL"
STALE_DAYS = 7.0
"""A profile older than this is warned of."""
unavailable = partial(
    Refused,
    503,
    "profiles_unavailable",
    "the profile store does not answer; try again, or send rows",
)


no_profiles = partial(
    Refused,
    422,
    "no_profiles",
    "no profiles are published for this service; send rows",
    "customers",
)
no_histories = partial(
    Refused, 422, "no_histories", "this service cannot make rows of histories; send rows", "history"
)


@dataclass(frozen=True)
class Found:
    """Rows found for a request, in the order asked."""

    rows: list[dict[str, Any]]
    warnings: list[str]
    customers: NDArray[np.int64] | None = None
    """Internal numbers of the customers, where they were named."""
    cutoff: datetime | None = None
    """The moment as of which the rows hold."""


class Lookup:
    """Where rows of one model come from, if the request has none.

    Parameters
    ----------
    profiles
        Published profiles; None = customers cannot be named.
    columns
        The model's columns, in its order.
    key
        Key of the customer ids, as in ``features.identity``.
    histories
        What makes rows of a posted history; None = none can be posted.
    """

    def __init__(
        self,
        profiles: Profiles | None,
        columns: Sequence[FeatureColumn],
        source: str,
        key: bytes,
        histories: "Histories | None" = None,
    ) -> None:
        self.profiles, self._source, self._key = profiles, source, key
        self.histories = histories
        self._names = tuple(column.name for column in columns)

    def found(self, source_ids: Sequence[str]) -> Found:
        """A row for each customer, in order, and a warning where profiles are old.

        Parameters
        ----------
        source_ids
            The source's own ids.

        Raises
        ------
        Refused
            422 where a customer has no profile, such as without consent, or none are published; 503
            where the store does not answer.
        """
        if self.profiles is None:
            raise no_profiles()
        ids = customer_ids(self._source, set(source_ids), self._key)
        try:
            found = self.profiles.get_many(list(ids.values()))
        except DataError:
            log.exception("profiles of %s cannot be read", self._source)
            raise unavailable() from None
        rows = []
        for i, source_id in enumerate(source_ids):
            profile = found.get(ids[source_id])
            if profile is None:
                raise _no_profile(i, self.profiles.meta().consent)
            rows.append({name: profile.values[name] for name in self._names})
        first = next(iter(found.values()))
        age = first.age_days
        old = [f"the profiles are {age:.0f} days old"] if age > STALE_DAYS else []
        numbers = np.array([ids[source_id] for source_id in source_ids], dtype=np.int64)
        return Found(rows, old, numbers, first.cutoff)

    def profile(self, source_id: str) -> Profile | None:
        """All that is published of a customer, columns of other models included.

        Raises
        ------
        DataError
            If the store does not answer.
        """
        if self.profiles is None:
            return None
        ids = customer_ids(self._source, [source_id], self._key)
        return self.profiles.get(ids[source_id])

    def published(self) -> dict[str, Any] | None:
        """As of when the profiles hold and how old they are; None where none can be read."""
        if self.profiles is None:
            return None
        try:
            meta, age = self.profiles.meta(), self.profiles.age_days()
        except DataError:
            log.exception("profiles of %s cannot be read", self._source)
            return None
        return {"cutoff": f"{meta.cutoff:%Y-%m-%d}", "age_days": age, "customers": meta.rows}


def _no_profile(i: int, consent: str | None) -> Refused:
    """Why the customer is not answered for; nothing tells who refused from who is unknown."""
    if consent is None:
        text = f"customer {i} (the first is 0) has no profile; send a row"
        return Refused(422, "unknown_customer", text, f"customers[{i}]")
    text = (
        f"customer {i} (the first is 0) is unknown or did not allow {consent!r}: profiles hold "
        "those alone who did; no answer is given"
    )
    return Refused(422, "no_consent_known", text, f"customers[{i}]")


def open_lookup(
    place: Workspace,
    source: str,
    columns: Sequence[FeatureColumn],
    histories: "Histories | None" = None,
) -> Lookup | None:
    """Profiles for a service, if some are published that fit it; why there are none is logged.

    ``PERENNIAL_PROFILES_URL`` says where they are, by default SQLite in the store. None where
    nothing but rows can be answered.
    """
    url = os.environ.get(URL) or default_url(place)
    profiles, key = None, b""
    try:
        if not (place.keys / KEY_FILE).is_file():  # asking for a key would make one
            raise ConfigError(f"{place.keys}: no {KEY_FILE}; customers cannot be told from ids")
        profiles, key = Profiles.open(url, source, columns), customer_key(place.keys)
    except (ConfigError, DataError) as error:
        log.warning("customers cannot be asked for by id, rows can: %s", error)
    if profiles is None and histories is None:
        return None
    return Lookup(profiles, columns, source, key, histories)
