"""Rows in: the type of a request, generated from what a bundle declares, and its reader."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, from_json
from starlette.requests import Request

from features.errors import DataError
from features.schema import FeatureColumn
from serving.lookup import Found, Lookup, no_histories, no_profiles
from serving.refused import Refused
from training import categories
from training.contract import Floats

MAX_ROWS = 1000
MAX_WORD = 200
"""Most characters of a category's word."""
MOST_WARNINGS = 20
_WORD = re.compile(rb':\s*"(?:[^"\\]|\\.)*"', re.DOTALL)
_BESIDE = re.compile(rb'\s{0,99}.\s{0,99}"(customers|history|reference|as_of)"', re.DOTALL)
"""How a body begins whose rows are found elsewhere: to read it may take a while."""
ALWAYS_KNOWN = "never"
"""What ``FeatureColumn.missing`` says where there is always a value."""

STRICT = ConfigDict(
    strict=True,
    extra="forbid",
    allow_inf_nan=False,
    hide_input_in_errors=True,
    protected_namespaces=(),
    use_attribute_docstrings=True,
)


def row_type(columns: Sequence[FeatureColumn], example: Floats) -> type[BaseModel]:
    """The type of one request row: a number, word or null for each column, nothing else.

    Parameters
    ----------
    columns
        Feature columns in the model's order.
    example
        A row of shape (n_features,) that the model answers; NaN = missing.

    Raises
    ------
    DataError
        If a column's name cannot be a field's name.
    """
    odd = [c.name for c in columns if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", c.name)]
    if odd:
        raise DataError.listing("feature columns cannot be fields of a request", map(repr, odd))
    fields: dict[str, Any] = {}
    shown = categories.rows(columns, example[None])[0]
    for column in columns:
        kind: Any = Annotated[float, Field(ge=column.low, le=column.high)]
        said = f"{column.meaning}, in {column.unit}" if column.unit else column.meaning
        if column.dtype == "string":
            kind = Annotated[str, Field(max_length=MAX_WORD)]
            said = f"{column.meaning}: {', '.join(column.levels)}; other words count as missing"
        known = column.missing == ALWAYS_KNOWN
        about = Field(
            description=said if known else f"{said}; null = {column.missing}",
            examples=[shown[column.name]],
        )
        fields[column.name] = (Annotated[kind if known else kind | None, about], ...)
    return create_model("Row", __config__=STRICT, **fields)


@dataclass(frozen=True)
class Asked:
    """The rows of a request."""

    X: Floats
    """float64 of shape (n_rows, n_features) in the model's order; NaN = missing."""
    warnings: list[str]
    """Where words stand that the model has not learned, and old profiles; no value is repeated."""
    customers: NDArray[np.int64] | None = None
    """Internal numbers of the customers, where they were named."""
    cutoff: datetime | None = None
    """The moment as of which the rows hold, where that is known."""


class Customers(BaseModel):
    """A request that names customers; their published profiles are the rows."""

    model_config = STRICT

    customers: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_WORD)]],
        Field(min_length=1, max_length=MAX_ROWS),
        FailFast(),
    ]
    """The source's own ids."""


class RowReader:
    """Reads bodies ``{"rows": [{...}, ...]}`` into arrays, or says what is wrong with them.

    With a ``lookup`` also ``{"customers": ["id", ...]}`` and ``{"history": {table: [...]}}``.
    """

    def __init__(
        self, columns: Sequence[FeatureColumn], example: Floats, lookup: Lookup | None = None
    ) -> None:
        self.lookup, self.known = lookup, tuple(columns)
        self.columns = tuple(column.name for column in columns)
        self.words = {k.name: categories.codes(k) for k in columns if k.dtype == "string"}
        row: Any = row_type(columns, example)
        # FailFast: one wrong row is enough to refuse; to list 1,000 would cost 1,000 times as much.
        rows: Any = Annotated[list[row], Field(min_length=1, max_length=MAX_ROWS), FailFast()]
        self.request = create_model("Rows", __config__=STRICT, rows=(rows, ...))

    def schema(self) -> dict[str, Any]:
        """JSON schema of a request body, without references."""
        forms = [self._rows_schema()]
        if self.lookup is not None and self.lookup.profiles is not None:
            forms.append(Customers.model_json_schema())
        if self.lookup is not None and self.lookup.histories is not None:
            forms.append(self.lookup.histories.schema())
        return {"oneOf": forms} if len(forms) > 1 else forms[0]

    def _rows_schema(self) -> dict[str, Any]:
        schema = self.request.model_json_schema()
        row = schema.pop("$defs")["Row"]
        schema["properties"]["rows"]["items"] = row
        return schema

    def row_schema(self) -> dict[str, Any]:
        """JSON schema of one row."""
        row: dict[str, Any] = self._rows_schema()["properties"]["rows"]["items"]
        return row

    def example(self) -> dict[str, Any]:
        """A request body that works: the row that the fields show as examples."""
        row = self.row_schema()["properties"]
        return {"rows": [{name: field["examples"][0] for name, field in row.items()}]}

    async def asked(self, request: Request) -> Asked:
        """The rows of a request; a store is asked in another thread.

        Raises
        ------
        Refused
            As :meth:`read`.
        """
        body = await request.body()
        if not _BESIDE.match(body):
            return self.read(body)
        histories = self.lookup.histories if self.lookup else None
        pool = histories.pool if histories and not names_customers(body) else None
        return await asyncio.get_running_loop().run_in_executor(pool, self.read, body)

    def read(self, body: bytes) -> Asked:
        """The rows, or why they are refused.

        Raises
        ------
        Refused
            400 where the body is not JSON or repeats a name, 422 where a row or field does not fit.
        """
        if names_customers(body):
            return self._profiles(body)
        if _BESIDE.match(body):
            return self._history(body)
        fits = self._names_fit(body)
        if not fits:
            self._refuse_names(body)
        try:
            request: Any = self.request.model_validate_json(body)
        except ValidationError as error:
            first = first_error(error)
            if first["type"] in ("missing", "extra_forbidden"):
                self._refuse_names(body)
            raise refusal(first) from None
        if not fits:
            raise Refused(400, "repeated_name", "a name stands twice in one object of the body")
        return self._asked(Found([row.__dict__ for row in request.rows], []))

    def _profiles(self, body: bytes) -> Asked:
        """The published rows of the customers that the body names."""
        if self.lookup is None:
            raise no_profiles()
        if body.count(b'"customers"') > 1:
            raise Refused(400, "repeated_name", 'the body may name "customers" once')
        try:
            asked = Customers.model_validate_json(body).customers
        except ValidationError as error:
            first = first_error(error)
            if first["type"] == "extra_forbidden":
                text = 'the body has other names than "customers"'
                raise Refused(422, "unknown_field", text) from None
            raise refusal(first) from None
        return self._asked(self.lookup.found(asked))

    def _history(self, body: bytes) -> Asked:
        """The row of the history that the body brings."""
        if self.lookup is None or self.lookup.histories is None:
            raise no_histories()
        return self._asked(self.lookup.histories.found(body))

    def _asked(self, found: Found) -> Asked:
        warnings = [*found.warnings, *(self._coded(found.rows) if self.words else [])]
        X = np.array([list(row.values()) for row in found.rows], dtype=np.float64)
        return Asked(X, warnings, found.customers, found.cutoff)

    def _coded(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Put codes in place of words; say which words have none."""
        unknown = []
        for i, row in enumerate(rows):
            for name, codes in self.words.items():
                word = row[name]
                row[name] = None if word is None else codes.get(word)
                if word is not None and row[name] is None:
                    unknown.append(f"rows[{i}].{name}: not learned, counts as missing")
        more = len(unknown) - MOST_WARNINGS
        return unknown[:MOST_WARNINGS] + ([f"and {more} more"] if more > 0 else [])

    def _names_fit(self, body: bytes) -> bool:
        """Whether every object has as many names as it should, told by counting quotes.

        In a body that fits, quotes stand around names alone and braces open rows alone, so that
        ``2 n_features`` quotes lie between two braces. JSON parsers keep the last of repeated names
        without a word; the count is how they are noticed. It also bounds the work that a body with
        100,000 unknown names would make. Words are taken out first: they follow a colon, and no
        known name has one.
        """
        if self.words:
            body = _WORD.sub(b":", body)
        start, *objects = body.split(b"{", MAX_ROWS + 1)
        quotes = 2 * len(self.columns)
        return (
            not start.strip()
            and len(objects) >= 2
            and objects[0].count(b'"') == 2
            and all(text.count(b'"') == quotes for text in objects[1:])
        )

    def _refuse_names(self, body: bytes) -> None:
        """Refuse what is not JSON, and missing and unknown names; return where only values err."""
        try:
            parsed = from_json(body)
        except ValueError as error:  # its text is a fixed phrase and a position
            raise _unreadable(str(error)) from None
        if not isinstance(parsed, dict):
            return
        if parsed.keys() - {"rows"}:
            raise Refused(422, "unknown_field", 'the body has other names than "rows"')
        rows = parsed.get("rows")
        for i, row in enumerate(rows[:MAX_ROWS] if isinstance(rows, list) else []):
            if not isinstance(row, dict):
                return
            missing = [name for name in self.columns if name not in row]
            unknown = len(row) + len(missing) - len(self.columns)
            # Unknown names are counted and not repeated: they may hold anything, a person included.
            also = f"{unknown} unknown name(s), /model lists the known ones"
            if missing:
                more = f" ({len(missing)} fields are)" if len(missing) > 1 else ""
                more += f"; {also}" if unknown else ""
                text = f"row {i} (the first is 0): {missing[0]} is missing{more}"
                raise Refused(422, "missing_field", text, f"rows[{i}].{missing[0]}")
            if unknown:
                text = f"row {i} (the first is 0): {also}"
                raise Refused(422, "unknown_field", text, f"rows[{i}]")


def names_customers(body: bytes) -> bool:
    """Whether the body seems to name customers."""
    found = _BESIDE.match(body)
    return found is not None and found[1] == b"customers"


_ADVICE = {
    "finite_number": "; null says missing",
    "float_type": " and no text, truth value or list",
}


def _unreadable(said: str) -> Refused:
    return Refused(400, "unreadable_body", f"the body is not JSON: {said}")


def first_error(error: ValidationError) -> ErrorDetails:
    """What does not fit first, without the value that was sent."""
    return error.errors(include_url=False, include_context=False, include_input=False)[0]


def refusal(first: ErrorDetails) -> Refused:
    """The refusal of a body by its first error, without a value of it."""
    if first["type"] == "json_invalid":
        return _unreadable(first["msg"].removeprefix("Invalid JSON: "))
    said = first["msg"] + _ADVICE.get(first["type"], "")
    match first["loc"]:
        case ("rows", int(i), str(name), *_):
            text = f"row {i} (the first is 0), {name}: {said}"
            return Refused(422, "invalid_field", text, f"rows[{i}].{name}")
        case ("rows", int(i), *_):
            text = f"row {i} (the first is 0): {said}"
            return Refused(422, "invalid_row", text, f"rows[{i}]")
        case ("customers", int(i), *_):
            text = f"customer {i} (the first is 0): {said}"
            return Refused(422, "invalid_customer", text, f"customers[{i}]")
        case ("customers", *_):
            return Refused(422, "invalid_customers", f"customers: {said}", "customers")
        case ("rows", *_):
            return Refused(422, "invalid_rows", f"rows: {said}", "rows")
        case ("history" | "reference" | "as_of" as part, *_):
            return Refused(422, "invalid_field", f"{part}: {said}", part)
        case _:
            return Refused(422, "invalid_body", f"the body: {said}")
