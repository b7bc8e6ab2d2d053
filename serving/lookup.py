"""Rows by customer: a request names customers, their published profiles are the rows."""

import logging
import os
from collections.abc import Sequence
from typing import Any

from features.errors import ConfigError, DataError
from features.identity import KEY_FILE, customer_ids, customer_key
from features.online import Profiles, default_url
from features.schema import FeatureColumn
from features.settings import Workspace
from serving.guard import Refused

log = logging.getLogger("perennial")

URL = "PERENNIAL_PROFILES_URL"
STALE_DAYS = 7.0
"""A profile older than this is warned of."""
UNAVAILABLE = Refused(
    503, "profiles_unavailable", "the profile store does not answer; try again, or send rows"
)


class Lookup:
    """Published profiles of one source, as rows of one model.

    Parameters
    ----------
    columns
        The model's columns, in its order.
    key
        Key of the customer ids, as in ``features.identity``.
    """

    def __init__(
        self, profiles: Profiles, columns: Sequence[FeatureColumn], source: str, key: bytes
    ) -> None:
        self._profiles, self._source, self._key = profiles, source, key
        self._names = tuple(column.name for column in columns)

    def rows(self, source_ids: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
        """A row for each customer, in order, and a warning where profiles are old.

        Parameters
        ----------
        source_ids
            The source's own ids.

        Raises
        ------
        Refused
            422 where a customer has no profile, 503 where the store does not answer.
        """
        ids = customer_ids(self._source, set(source_ids), self._key)
        try:
            found = self._profiles.get_many(list(ids.values()))
        except DataError:
            log.exception("profiles of %s cannot be read", self._source)
            raise UNAVAILABLE from None
        rows = []
        for i, source_id in enumerate(source_ids):
            profile = found.get(ids[source_id])
            if profile is None:
                text = f"customer {i} (the first is 0) has no profile; send a row"
                raise Refused(422, "unknown_customer", text, f"customers[{i}]")
            rows.append({name: profile.values[name] for name in self._names})
        age = next(iter(found.values())).age_days
        old = f"the profiles are {age:.0f} days old" if age > STALE_DAYS else ""
        return rows, [old] if old else []


def open_lookup(place: Workspace, source: str, columns: Sequence[FeatureColumn]) -> Lookup | None:
    """Profiles for a service, if some are published that fit it; why there are none is logged.

    ``PERENNIAL_PROFILES_URL`` says where they are, by default SQLite in the store.
    """
    url = os.environ.get(URL) or default_url(place)
    try:
        if not (place.keys / KEY_FILE).is_file():  # asking for a key would make one
            raise ConfigError(f"{place.keys}: no {KEY_FILE}; customers cannot be told from ids")
        profiles = Profiles.open(url, source, columns)
    except (ConfigError, DataError) as error:
        log.warning("customers cannot be asked for by id, rows can: %s", error)
        return None
    return Lookup(profiles, columns, source, customer_key(place.keys))
