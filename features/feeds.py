"""What a source declares of a table: where its files are, how columns are found, read and used.

A table is fed by one layout of raw files, or by several ``parts``. A column comes from the file, is
the same for all rows (``constant``), or is the record's number (``row``).
"""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from features import columns as c
from features.canonical import MINOR
from features.checks import Check
from features.databases import Database
from features.raw_files import Dialect
from features.schema import Column, TableSchema
from features.settings import Strict

ColumnType = Literal["text", "integer", "number", "decimal", "money", "boolean", "timestamp"]


def _as_text(value: Any) -> Any:
    """YAML's own dates, numbers and booleans as the text that a file would hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return str(value) if isinstance(value, int | float | date) else value


def _as_list(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"YAML reads this word as {value}; put it into quotes, such as 'no'")
    return (value,) if isinstance(value, str) else value


Word = Annotated[str, BeforeValidator(_as_text)]


class SourceColumn(Strict):
    """One column: where it is, how it is typed and repaired, what it is for."""

    source: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(alias="from")] = ()
    """Column name in the file; of several, texts are joined by ``-`` and numbers added."""
    constant: Word | None = None
    """The same value for every row, such as the date of a snapshot."""
    row: bool = False
    """The record's number over the files, from 0: where nothing else tells records apart."""
    type: ColumnType | None = None
    """None: what the canonical column is."""
    unit: str = ""
    meaning: str = ""
    format: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)] = (
        "%Y-%m-%d %H:%M:%S",
    )
    """strptime formats, the first that fits counts; ``%z`` reads an offset. Timestamps only."""
    zone: str | None = None
    """Zone of this clock, such as ``UTC``, where it is not the source's. Timestamps only."""
    decimal_comma: bool = False
    """Declared repair: ``1.234,50`` is 1234.50. Numbers and amounts only."""
    required: bool | None = None
    """Whether a record without a value goes to quarantine; None: as the canonical column says."""
    extract: str | None = None
    """Declared repair: a pattern whose first group is the value; no match = quarantine."""
    upper: bool = False
    """Declared repair: upper case."""
    map: dict[str, Word] = {}
    """Declared repair: the file's words -> ours."""
    unmapped: Literal["quarantine", "missing", "keep"] = "quarantine"
    """What becomes of words that ``map`` does not know."""
    category: str = ""
    """Kind of data, such as ``transaction`` or ``identifier``."""
    purposes: tuple[str, ...] = ()
    """What it may be used for."""

    @property
    def repairs(self) -> list[str]:
        """What is done to texts of the file, in order; blanks around them are always trimmed."""
        declared = ("extract", "upper", "map", "decimal_comma")
        return ["trim", *(name for name in declared if getattr(self, name))] if self.source else []

    @model_validator(mode="after")
    def _one_origin(self) -> "SourceColumn":
        if bool(self.source) + (self.constant is not None) + self.row != 1:
            raise ValueError("give exactly one of from, constant and row")
        if self.constant is None and not (self.category and self.purposes):
            raise ValueError("category and purposes are needed for what comes from a file")
        if self.zone and any("%z" in format for format in self.format):
            raise ValueError("zone and an offset (%z) in the text contradict each other")
        if not self.source and (self.extract or self.upper or self.map):
            raise ValueError("extract, upper and map repair what comes from a column of a file")
        return self


class Condition(Strict):
    """A test of one typed column; exactly one of the tests is given.

    A missing value passes none but ``missing``.
    """

    column: str
    missing: bool | None = None
    matches: str | None = None
    not_matches: str | None = None
    below: float | None = None
    at_least: float | None = None
    equals: float | None = None

    @model_validator(mode="after")
    def _one_test(self) -> "Condition":
        given = [
            name
            for name in type(self).model_fields
            if name != "column" and getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(f"give exactly one test, found {given or 'none'}")
        return self


class Rule(Strict):
    """What becomes of the records that meet all conditions. The first rule that fits decides."""

    when: tuple[Condition, ...] = Field(min_length=1)
    then: Literal["quarantine", "filter", "keep"]
    """``quarantine``: wrong; ``filter``: right but not for us; ``keep``: the rule is off."""
    why: str


class Repeats(Strict):
    """A period that the publisher delivered more than once, record by record."""

    first_day: date
    """First day, inclusive."""
    end_day: date
    """Day after the last, exclusive."""
    copies: int = Field(ge=2)
    why: str


class Feed(Strict):
    """One layout of raw files of a table."""

    files: tuple[str, ...] = ()
    """Names, globs or folders below the data folder, of which the first with a match is read in
    name order; or addresses in object storage (``s3://``, ``gs://``), which are all read. CSV, TSV
    and JSON Lines, each also packed (.gz), Excel (.xlsx) and Parquet."""
    database: Database | None = None
    """In place of files."""
    dialect: Dialect = Dialect()
    columns: dict[str, SourceColumn] = {}
    """Canonical name -> column; ``customer_ref`` and ``other_ref`` are the source's own numbers."""
    currency: str | Literal[False] | None = None
    """Column of the file that names the currency of a record's amounts, by code or sign: a record
    in another one than the source's goes to quarantine. None: all are in the source's, and a file
    with a column that is called like one is refused; False: such a column says nothing of them."""
    known_time: str | None = None
    """The column that says when a record became known; None: the column ``known_time`` where
    there is one, else ``event_time``."""
    repeats: Repeats | None = None
    rules: dict[str, Rule] = {}
    """In order; names are the reasons in the account."""
    returns: tuple[Condition, ...] = ()
    """Order lines only: a record that meets all conditions takes back goods or money."""
    net_returns: bool = True
    """True: returns are kept and netted against what they cancel.

    False: they are dropped (gross figures, for benchmarks).
    """

    @property
    def clock(self) -> str:
        """The column that says when a record became known."""
        return self.known_time or (c.KNOWN_TIME if c.KNOWN_TIME in self.columns else c.EVENT_TIME)

    @property
    def reads(self) -> list[str]:
        """Columns of the file, each once."""
        named = [self.currency] if self.currency else []
        return list(dict.fromkeys([*named, *(n for k in self.columns.values() for n in k.source)]))

    @property
    def dated(self) -> bool:
        """Whether the files say when things happened, rather than a constant."""
        return self.columns[c.EVENT_TIME].constant is None


class TableSource(Feed):
    """How a table is found and read: one feed, or parts laid over what they share."""

    owner: str
    steward: str
    max_quarantined_share: float | None = Field(default=None, ge=0, le=1)
    """None: the source's."""
    retain_days: int | None = Field(default=None, ge=1)
    """Rows that happened longer before the table's last row are filtered; None: all are kept."""
    checks: dict[str, Check] = {}
    """What the finished table has to hold; see :mod:`features.checks`."""
    parts: dict[str, Feed] = {}
    """Further layouts by name: columns and rules are added one by one, the rest is replaced."""

    @property
    def feeds(self) -> dict[str, Feed]:
        """Part -> complete feed; a table without parts is its own, named by nothing."""
        return {name: self._under(part) for name, part in self.parts.items()} or {"": self}

    def _under(self, part: Feed) -> Feed:
        given = {name: getattr(part, name) for name in part.model_fields_set}
        shared = {name: getattr(self, name) for name in Feed.model_fields}
        for one, other in (("files", "database"), ("database", "files")):
            if one in given:
                shared.pop(other)
        for name in ("columns", "rules"):
            given[name] = {**shared[name], **given.get(name, {})}
        return Feed.model_validate({**shared, **given})


# --- what a feed may bring ------------------------------------------------------------------------

REF, OTHER_REF, UNIT_PRICE = "customer_ref", "other_ref", "unit_price"
MADE = {c.CUSTOMER: REF, c.OTHER: OTHER_REF, c.ROW: "", c.ORDER_REF: ""}
"""Columns that no source maps, and what is mapped in their place."""
DTYPES: dict[ColumnType, Any] = {
    "text": "string", "integer": "int64", "number": "float64", "decimal": "float64",
    "money": "int64", "boolean": "bool", "timestamp": "timestamp",
}  # fmt: skip


def targets(schema: TableSchema) -> dict[str, Column]:
    """Name -> column that a source may map: canonical ones but those made here, own numbers."""
    found = {k.name: k for k in schema.columns if k.name not in MADE}
    loose = [c.KNOWN_TIME]
    for made, name in MADE.items():
        if name and made in schema:
            meaning = "the customer's number in the source"
            found[name] = Column(name=name, dtype="string", meaning=meaning, required=True)
    if c.IS_RETURN in schema:  # told by conditions; the amount comes of a price, or is given
        loose += [c.IS_RETURN, c.AMOUNT]
        found[UNIT_PRICE] = Column(name=UNIT_PRICE, dtype="float64", meaning="price of one item")
    return found | {
        name: found[name].model_copy(update={"required": False}) for name in loose if name in found
    }


def types(target: Column) -> tuple[ColumnType, ...]:
    """Types that fit a canonical column; the first is meant where none is given."""
    if target.name == UNIT_PRICE:
        return ("decimal",)  # multiplied before it is rounded: a float would not do
    if target.unit == MINOR:
        return ("money", "integer")
    return tuple(
        kind for kind, dtype in DTYPES.items() if dtype == target.dtype and kind != "money"
    )


def type_of(schema: TableSchema, name: str, column: SourceColumn) -> ColumnType | None:
    """The declared type, else the canonical column's; None where neither says."""
    target = targets(schema).get(name)
    return column.type or (types(target)[0] if target else None)


def amounts(schema: TableSchema, feed: Feed) -> list[str]:
    """Columns of ``feed`` that are amounts of money."""
    told = {k.name for k in targets(schema).values() if k.unit == MINOR or k.name == UNIT_PRICE}
    return [
        name
        for name, column in feed.columns.items()
        if name in told or type_of(schema, name, column) == "money"
    ]


def constant_value(text: str, kind: ColumnType) -> Any:
    """A constant as its type; ValueError or ArithmeticError where it is none."""
    if kind == "boolean":
        return ["false", "true"].index(text) == 1
    if kind == "timestamp":
        return datetime.fromisoformat(text)
    if kind == "money":
        return int((Decimal(text) * 100).to_integral_value(ROUND_HALF_UP))
    if kind == "integer":
        return int(text)
    return text if kind == "text" else float(text)
