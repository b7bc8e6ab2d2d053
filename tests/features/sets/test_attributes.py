"""The set ``attributes``."""

from typing import Any

import pytest

from features.errors import ConfigError, DataError
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, T, ago, agree, computed

USE = "attributes.Attributes"


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    versions = past.of(customer, "attributes")
    return {name: versions[-1][name] if versions else None for name in config.columns}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slow_way_agrees(seed: int) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    columns = {"own_word": "category", "own_number": "months"}
    agree(USE, random_channels(seed), slowly, columns=columns)


def test_labelled_snapshot() -> None:
    """Months, money, flags and words of a snapshot, declared by their units alone."""
    columns = {
        "tenure": "months",
        "monthly_charges": "currency",
        "total_charges": "currency",
        "contract": "category",
        "gender": {"unit": "category", "sensitivity": "audit", "meaning": "as declared"},
        "senior": {"unit": "flag", "high": 1, "low": 0},
    }
    said = {"contract": "month-to-month", "gender": "f", "senior": True}
    rows = [
        row("attributes", when=ago(1), tenure=7, monthly_charges=2995, total_charges=209.65, **said)
    ]
    found = computed(USE, world_of(attributes=rows), columns=columns)[1, T]
    assert found == {
        "tenure": 7, "monthly_charges": 29.95, "total_charges": 209.65,
        "contract": "month-to-month", "gender": "f", "senior": 1,
    }  # fmt: skip
    declared = {
        k.name: k for k in resolve(SETS, Part(use=USE, config={"columns": columns})).columns()
    }
    gender, tenure = declared["attributes__gender"], declared["attributes__tenure"]
    assert (gender.dtype, gender.sensitivity, gender.meaning) == ("string", "audit", "as declared")
    assert (tenure.dtype, tenure.unit, tenure.leak) == ("float64", "months", "declared")
    assert {k.missing for k in declared.values()} == {"not declared"}


def test_version_as_known() -> None:
    """What is declared anew counts from when it is known."""
    rows = [
        row("attributes", when=ago(9), tenure=1),
        row("attributes", when=ago(5), known=ago(2), tenure=2),
    ]
    cutoffs = (ago(3), T)
    found = computed(USE, world_of(attributes=rows), cutoffs, columns={"tenure": "months"})
    assert [found[1, t]["tenure"] for t in cutoffs] == [1, 2]


def test_column_that_the_source_lacks() -> None:
    """The error names what is lacking and what there is."""
    world = world_of(attributes=[row("attributes", when=ago(1), tenure=1)])
    with pytest.raises(DataError, match=r"no column contract, only .*tenure"):
        computed(USE, world, columns={"tenure": "months", "contract": "category"})


@pytest.mark.parametrize("config", [{}, {"columns": {}}, {"columns": {"a": {"meaning": "b"}}}])
def test_columns_are_named(config: dict[str, Any]) -> None:
    """There is no guessing: columns and their units are in the config."""
    with pytest.raises(ConfigError):
        resolve(SETS, Part(use=USE, config=config))
