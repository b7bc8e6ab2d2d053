"""What a source declares of who is who: kinds of columns, keys, blocks, thresholds and guards."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from features.settings import Strict

Kind = Literal[
    "given_name", "family_name", "full_name", "email", "phone", "birth_date", "address", "place",
    "code",
]  # fmt: skip
"""How texts of a column are brought to one form, and how two of them are compared."""


class Key(Strict):
    """Records with the same values in all these columns are of one person, but for the guards."""

    columns: tuple[str, ...] = Field(min_length=1)
    shared_by_at_most: int = Field(default=5, ge=2)
    """A value of more customers than these is nobody's own: a shared device, a placeholder."""
    unless_differs: tuple[str, ...] = ()
    """Columns, such as names, that must not be unlike in both records: a family shares devices."""
    confidence: float = Field(default=1.0, gt=0, le=1)


class Identity(Strict):
    """How records of one person are found."""

    columns: dict[str, Kind] = Field(min_length=1)
    """Column of ``identifiers`` -> its kind; all of them are compared but those only in keys."""
    country: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    """ISO 3166 country of telephone numbers that are written without theirs."""
    country_column: str | None = None
    """Column of ``identifiers`` with the country of a record, which comes before ``country``."""
    keys: dict[str, Key] = {}
    """By name; the name is the rule that the link table gives."""
    compare: tuple[str, ...] | None = None
    """Columns that the probabilistic model compares; None: all; none at all: keys alone decide."""
    block: tuple[tuple[str, ...], ...] = ()
    """Pairs are scored where all columns of one of these agree."""
    block_at_most: int = Field(default=200, ge=2)
    """A block of more records than these is skipped: such values tell nobody apart."""
    link_at: float = Field(default=0.9, gt=0, lt=1)
    """Probability from which two records are one person."""
    review_at: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a pair that is not linked is shown to a person."""
    one_each: tuple[str, ...] = ()
    """Columns of which a person has one value: clusters that contradict each other stay apart."""
    largest: int = Field(default=20, ge=2)
    """Customers that may become one person; what would exceed it waits for review."""
    engine: Literal["duckdb", "spark"] = "duckdb"
    """Where pairs are scored: ``spark`` for more records than one machine takes. Weights are fitted
    on DuckDB either way, on samples of pairs."""
    seed: int = Field(default=7, ge=0)
    """Of the random sample of pairs behind the u probabilities."""
    sample_pairs: int = Field(default=1_000_000, ge=1_000)
    """Size of that sample, and of the pairs behind the m probabilities of each block."""
    oldest: tuple[str, ...] = ()
    """Attributes in ``customers`` of which the first word of a person's accounts survives, such as
    ``acquisition_channel``; of all others the newest that is not missing."""
    weights: str | None = None
    """Name of a JSON file beside the YAML with weights fitted before; None: fitted at each build.

    Fixed weights keep links the same when records are added.
    """

    @property
    def compared(self) -> tuple[str, ...]:
        """Columns that the model compares, in order."""
        return tuple(self.columns) if self.compare is None else self.compare

    @model_validator(mode="after")
    def _fits(self) -> "Identity":
        if self.review_at > self.link_at:
            raise ValueError("review_at is above link_at")
        if bool(self.compared) != bool(self.block):
            raise ValueError("compare and block go together: both, or neither")
        if not self.block and not self.keys:
            raise ValueError("give keys, or columns to compare with blocks of pairs, or both")
        keyed = [k for key in self.keys.values() for k in (*key.columns, *key.unless_differs)]
        blocked = [k for block in self.block for k in block]
        named = [*self.compared, *blocked, *self.one_each, *keyed]
        if unknown := sorted({name for name in named if name not in self.columns}):
            raise ValueError(f"{', '.join(unknown)}: not among columns")
        fixed = [name for name in self.compared if all(name in block for block in self.block)]
        if fixed and self.block:
            raise ValueError(f"{', '.join(fixed)}: in every block, so its weights cannot be fitted")
        return self

    def problems(self, brought: Sequence[str]) -> list[str]:
        """What does not fit the columns that ``identifiers`` brings."""
        asked = [*self.columns, *([self.country_column] if self.country_column else [])]
        return [f"identity: identifiers has no column {name!r}" for name in asked
                if name not in brought]  # fmt: skip
