"""What a labelled snapshot declares of its customers: columns that only the source knows."""

from typing import Annotated, Any, Literal

import ibis.expr.types as ir
from pydantic import BeforeValidator, Field

from features.errors import DataError
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, finished
from features.settings import Strict
from features.views import View, currency

CATEGORY = "category"


class Attribute(Strict):
    """One column of the snapshot."""

    unit: str
    """``category`` for words, else what the number counts: ``months``, ``currency``, ``flag``."""
    meaning: str = ""
    """Empty: the column's own name."""
    missing: str = "not declared"
    """What a missing value says."""
    sensitivity: Literal["behaviour", "personal", "audit"] = "behaviour"
    theme: str = ""
    """What a reason by it is about, such as ``price``; empty: the person."""
    low: float | None = None
    high: float | None = None


def _unit_alone(value: Any) -> Any:
    return {"unit": value} if isinstance(value, str) else value


class AttributesConfig(Strict):
    """The columns to take, by their names in the table ``attributes``.

    A column is its unit, or a mapping where there is more to say::

        columns:
          tenure: months
          monthly_charges: currency
          contract: category
          gender: {unit: category, sensitivity: audit}
    """

    columns: dict[str, Annotated[Attribute, BeforeValidator(_unit_alone)]] = Field(min_length=1)


class Attributes:
    """The last version of a customer's declared attributes that is known at the cutoff.

    Numbers come as they are; integers of unit ``currency`` are minor units, as everywhere.
    """

    config: AttributesConfig
    reads = ("attributes",)

    def __init__(self, config: AttributesConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, columns = Declare("attributes", leak="declared"), []
        for name, said in self.config.columns.items():
            meaning = said.meaning or f"{name.replace('_', ' ')}, as the source declares it"
            more: dict[str, Any] = said.model_dump(include={"low", "high", "sensitivity", "theme"})
            if said.unit == CATEGORY:
                columns.append(d.word(name, meaning, said.missing, **more))
            else:
                columns.append(d.maybe(name, said.unit, meaning, said.missing, **more))
        return columns

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a version.

        Raises
        ------
        DataError
            If the table lacks a column that the config names.
        """
        last = view.latest("attributes")
        lacking = sorted(set(self.config.columns) - set(last.columns))
        if lacking:
            raise DataError(
                f"table attributes has no column {', '.join(lacking)}, "
                f"only {', '.join(last.columns)}; declare it in the source or leave it out of "
                "the set's config"
            )
        values = {
            name: currency(last[name])
            if said.unit == "currency" and last[name].type().is_integer() else last[name]
            for name, said in self.config.columns.items()
        }  # fmt: skip
        return finished(last.select(*KEYS, **values), self.columns())
