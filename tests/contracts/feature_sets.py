"""What every feature set promises: the checks of ``features.leakage`` on random channels, and more.

``discover`` walks ``features/sets``, so a new file is under contract without being named here. All
sets are computed together: what is compiled once serves every set and every changed world.
"""

from datetime import datetime
from functools import cache
from typing import Any

import pyarrow as pa

from features.catalogue import discover
from features.leakage import checks
from features.leakage.checks import Finding
from features.leakage.kit import Kit, Problems
from features.leakage.worlds import World
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.channel_worlds import random_channels, wide_channels
from tests.worlds import BEGAN, DAY

CUTOFFS = tuple(BEGAN + days * DAY for days in (150, 500, 731))
LAST = CUTOFFS[-1]
EXAMPLES: dict[str, dict[str, Any]] = {
    "attributes.Attributes": {"columns": {"own_word": "category", "own_number": "months"}}
}
"""Configs of sets that have no default."""


@cache
def default(use: str) -> Any:
    """The set ``use`` with its defaults, as a pipeline would get it."""
    return resolve(SETS, Part(use=use, config=EXAMPLES.get(use, {})))


@cache
def channels() -> World:
    """The world that sets are held against."""
    return _world(random_channels(seed=11, customers=60))


def _world(tables: dict[str, pa.Table]) -> World:
    return World(tables, dict.fromkeys(tables, BEGAN))


@cache
def together() -> Kit:
    """Every discovered set in the world."""
    return Kit(channels(), CUTOFFS, {use: default(use) for use in discover()}, threads=1)


@cache
def findings(check: str) -> dict[str, Finding]:
    """What ``check`` finds of every discovered set."""
    return {finding.set: finding for finding in checks.findings(together(), check)}


def problem(check: str, part: Any) -> str:
    """What ``check`` finds wrong with one set, "" for nothing."""
    names = ("order_lines", "events", "products")
    some = _world({name: channels().tables[name] for name in names})
    kit = Kit(some, CUTOFFS, {"it": part}, threads=1)
    try:
        return checks.CHECKS[check](kit)["it"]
    finally:
        kit.close()


def has_values(kit: Kit) -> Problems:
    """Each column has a value somewhere: of others nothing would be checked."""
    problems = {}
    for name, table in kit.reference.items():
        assert not isinstance(table, str), f"{name}: {table}"
        never = [n for n in table.column_names if table[n].null_count == len(table)]
        problems[name] = f"never a value: {never}" if never else ""
    return problems


@cache
def _wide() -> World:
    return _world(wide_channels(seed=3, rows=130_000, customers=3_000))


def of_threads(sets: dict[str, Any], cutoff: datetime = LAST) -> Problems:
    """One thread and two give the same bits."""
    one, two = (Kit(_wide(), [cutoff], sets, threads=n) for n in (1, 2))
    try:
        return one.differences(two.reference)
    finally:
        one.close()
        two.close()
