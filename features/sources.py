"""Raw files -> valid canonical tables, quarantine and an account of every record.

``configs/data/<source>.yaml`` declares what a source holds; this module reads it, and nothing that
is not declared. Each record ends in exactly one place:
``seen = accepted + quarantined + duplicates + filtered``, each by reason.
"""

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from features.errors import ConfigError
from features.settings import Strict, Workspace, fingerprint, load_yaml, overlaid, validated
from features.simulate.config import SimulateConfig
from features.staging import Dialect

ColumnType = Literal["text", "integer", "decimal", "timestamp"]


class SourceColumn(Strict):
    """One column of a raw file: where it is, how it is typed, what it is for."""

    source: Annotated[str, Field(alias="from")]
    """Column name in the file."""
    type: ColumnType
    unit: str = ""
    format: str = "%Y-%m-%d %H:%M:%S"
    """strptime format; timestamps only."""
    required: bool = True
    """Whether a record without a value goes to quarantine."""
    upper: bool = False
    """Declared repair: upper case."""
    extract: str | None = None
    """Declared repair: a pattern whose first group is the value; no match = quarantine."""
    category: str
    """Kind of data, such as ``transaction`` or ``identifier``."""
    purposes: tuple[str, ...]
    """What it may be used for."""


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


class OrderLinesSource(Strict):
    """How order lines are found and read."""

    files: tuple[str, ...]
    """Names or globs below the data folder; the first with a match is read, in name order."""
    dialect: Dialect = Dialect()
    owner: str
    steward: str
    columns: dict[str, SourceColumn]
    """Canonical name -> column.

    Needed: order_id, product_id, quantity, unit_price, event_time, customer_ref.
    """
    known_time: str = "event_time"
    """The column that says when a record became known."""
    repeats: Repeats | None = None
    rules: dict[str, Rule] = {}
    """In order; names are the reasons in the account."""
    returns: tuple[Condition, ...] = ()
    """A record that meets all conditions takes back goods or money."""
    net_returns: bool = True
    """True: returns are kept and netted against what they cancel.

    False: they are dropped (gross figures, for benchmarks).
    """

    @model_validator(mode="after")
    def _columns(self) -> "OrderLinesSource":
        needed = {
            "order_id": "text", "product_id": "text", "quantity": "integer",
            "unit_price": "decimal", "event_time": "timestamp", "customer_ref": "text",
        }  # fmt: skip
        problems = [f"column {name!r} is missing" for name in needed if name not in self.columns]
        problems += [
            f"column {name!r} must be of type {kind}"
            for name, kind in needed.items()
            if name in self.columns and self.columns[name].type != kind
        ]
        if self.known_time not in self.columns or self.columns[self.known_time].type != "timestamp":
            problems.append(f"known_time: {self.known_time!r} is no timestamp column")
        conditions = [k for rule in self.rules.values() for k in rule.when] + list(self.returns)
        problems += [
            f"a rule tests {k.column!r}, which is not declared"
            for k in conditions
            if k.column not in self.columns
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Source(Strict):
    """One source base: where it comes from, under what right, and its tables."""

    name: str
    description: str
    time_zone: str
    """Zone of the clocks in the files; all clocks of a base are kept in this business time."""
    currency: str
    """ISO 4217 code of the amounts."""
    lawful_basis: str
    """Why these people's data may be processed, since the base has no consent table."""
    max_quarantined_share: float = Field(default=0.01, ge=0, le=1)
    """A larger share of quarantined records stops the build: nothing is published."""
    simulate: SimulateConfig | None = None
    """Parameters of the generator of this source's raw files; None = the files are given."""
    order_lines: OrderLinesSource


def load_source(place: Workspace, name: str, overrides: Mapping[str, Any]) -> Source:
    """Read ``configs/data/<name>.yaml`` with ``overrides`` (nested or dotted) laid over it.

    Raises
    ------
    ConfigError
        If the file is missing, has unknown keys or contradicts itself.
    """
    path = place.source_yaml(name)
    values = overlaid(load_yaml(path), overrides, f"source, over {path}")
    source = validated(Source, values, str(path))
    if source.name != name:
        raise ConfigError(
            f"{path}: name is {source.name!r}, expected {name!r} as the file is called"
        )
    return source


def find_files(source: Source, folder: Path | None) -> list[Path]:
    """The raw files of ``source`` below ``folder`` (or below its sub-folder of the source's name).

    Raises
    ------
    ConfigError
        If there is no folder, or no declared name matches.
    """
    if folder is None:
        raise ConfigError(
            f"source {source.name!r} reads files: "
            "give their folder by --data-dir or PERENNIAL_DATA_DIR"
        )
    tried = []
    for root in (folder / source.name, folder):
        for pattern in source.order_lines.files:
            found = sorted(p for p in root.glob(pattern) if p.is_file())
            if found:
                return found
            tried.append(str(root / pattern))
    raise ConfigError.listing(f"source {source.name!r}: no raw file found; looked for", tried)


def source_fingerprint(source: Source, files: list[Path]) -> str:
    """Fingerprint of the declaration and of the files' bytes."""
    digests = []
    for path in files:
        with path.open("rb") as stream:
            digests.append((path.name, hashlib.file_digest(stream, "sha256").hexdigest()))
    return fingerprint(source, digests)
