"""Publishing of online profiles: the newest cutoff of a feature table, packed for a store.

A publication is whole or absent. What reads them is in :mod:`features.online`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ConfigError
from features.online import FORMAT, Meta, business_clock
from features.profile_stores import Packed, open_store
from features.schema import FeatureColumn
from features.settings import fingerprint
from features.store import MANIFEST

if TYPE_CHECKING:
    from features.sources import Source
    from features.tables import Stored

ROWS_A_BATCH = 20_000


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
        published_at=(clock or business_clock(source.time_zone))(),
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
