"""Rows by posted history: a request brings a customer's raw rows, features are made of them.

They are the expressions of the feature table, so the answer is that of the batch. What they take to
be compiled is in the signed release; compiling goes on beside the first requests by row.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, ValidationError

from features.errors import ConfigError, DataError
from features.posted import OURS
from features.schema import ARROW, FeatureColumn
from serving import background
from serving.lookup import Found
from serving.refused import Refused
from serving.release import Posted
from serving.rows import STRICT, first_error, refusal

if TYPE_CHECKING:
    from features.ondemand import OnDemand

log = logging.getLogger("perennial")


class HistoryBody(BaseModel):
    """A request that brings one customer's rows."""

    model_config = STRICT

    history: Annotated[
        dict[str, list[dict[str, Any]]],
        Field(
            description="rows of canonical tables by the table's name, all of one customer; /model "
            "lists tables and columns; moments are ISO text in business time, money is in minor "
            "units"
        ),
    ]
    reference: dict[str, list[dict[str, Any]]] = {}
    """Rows of tables that belong to no customer, such as the products of the history."""
    as_of: Annotated[
        str | None,
        Field(
            max_length=30,
            examples=["2025-06-30T00:00:00"],
            description="moment in business time; rows at it or later are left out; null = now",
        ),
    ] = None


class Histories:
    """Makes rows of one model from posted histories.

    Parameters
    ----------
    columns
        The model's columns, in its order.
    """

    def __init__(self, posted: Posted, columns: Sequence[FeatureColumn]) -> None:
        self.tables = {
            table: {name: kind for name, kind in columns.items() if name not in OURS}
            for table, columns in posted.schemas.items()
        }
        self._zone = ZoneInfo(posted.time_zone)
        self._names = tuple(column.name for column in columns)
        # A statement's plan belongs to a thread: one thread keeps it, and bounds what it costs.
        self.pool = background.thread("histories")
        self._compiled: Future[OnDemand] = self.pool.submit(_compiled, posted)

    @staticmethod
    def schema() -> dict[str, Any]:
        """JSON schema of a request body."""
        return HistoryBody.model_json_schema()

    def found(self, body: bytes) -> Found:
        """The row of the history in ``body``; to be called in a thread of :attr:`pool`.

        Raises
        ------
        Refused
            400 where the body is not JSON or repeats a name, 422 where rows do not fit, 503 where
            histories cannot be answered.
        """
        asked = _read(body)
        moment = self._moment(asked.as_of)
        compiled = self._compiled.result()
        try:
            row = compiled.row(asked.history, moment, asked.reference)
        except DataError as error:
            raise Refused(422, "invalid_history", str(error), "history") from None
        return Found([{name: row[name] for name in self._names}], [], cutoff=moment)

    def _moment(self, text: str | None) -> datetime:
        if text is None:
            return datetime.now(self._zone).replace(tzinfo=None)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is not None:
            said = "as_of: expected a moment without a zone, such as 2025-06-30T12:00:00"
            raise Refused(422, "invalid_field", said, "as_of")
        return moment


def check(posted: Posted, columns: Sequence[FeatureColumn]) -> None:
    """Refuse what could not be answered, before it is released.

    Raises
    ------
    ConfigError
        If a set needs other customers, or does not make a column of the model.
    """
    compiled = _compiled(posted)
    made = {column.name for column in compiled.columns}
    lacking = [column.name for column in columns if column.name not in made]
    if lacking:
        raise ConfigError(f"the pipeline's sets do not make {', '.join(lacking)}")


def _compiled(posted: Posted) -> "OnDemand":
    # Brings Ibis and DuckDB, which a service without histories does without.
    import pyarrow as pa

    from features.ondemand import OnDemand
    from features.snapshot import FeaturePart, sets_of

    schemas = {
        table: pa.schema([(name, ARROW[kind]) for name, kind in columns.items()])
        for table, columns in posted.schemas.items()
    }
    parts = [FeaturePart(**part) for part in posted.features]
    return OnDemand(sets_of(parts), schemas, posted.began)


def _read(body: bytes) -> HistoryBody:
    try:
        parsed = json.loads(body, object_pairs_hook=once, parse_constant=_no_number)
    except _RepeatedName:
        raise Refused(
            400, "repeated_name", "a name stands twice in one object of the body"
        ) from None
    except (ValueError, RecursionError):
        raise Refused(400, "unreadable_body", "the body is not JSON") from None
    try:
        return HistoryBody.model_validate(parsed)
    except ValidationError as error:
        first = first_error(error)
        if first["type"] == "extra_forbidden":
            text = 'the body has other names than "history", "reference" and "as_of"'
            raise Refused(422, "unknown_field", text) from None
        raise refusal(first) from None


class _RepeatedName(ValueError):
    """A name stands twice in one object; JSON parsers keep the last without a word."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook of a JSON parser that refuses repeated names."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _RepeatedName
    return made


def _no_number(_: str) -> Any:
    raise ValueError
