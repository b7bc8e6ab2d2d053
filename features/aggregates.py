"""Counts and means of customers for export: of groups of many, or differentially private.

A private release is what would come out much the same without any one customer (Dwork, C., Roth,
A. 2014, The Algorithmic Foundations of Differential Privacy, definition 2.4, ``delta = 0``): adding
or taking away one changes no probability by more than ``exp(epsilon)``. What releases spend of
``epsilon`` adds up (theorem 3.14), so a ledger holds it against the source's budget.
"""

import csv
import fcntl
import importlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError, DataError
from features.settings import Workspace
from features.sources import Source
from features.store import sync_folder

LEAST_CUSTOMERS = 20
"""Smaller groups are told nobody."""
EVERYONE = "everyone"
STEPS = 2**20
"""Values are added up as whole steps, this many to the bound: noise on floats leaks their bits."""


@dataclass(frozen=True)
class Question:
    """What is asked of a feature table of one cutoff."""

    column: str = ""
    """Of numbers: the mean, and the customers who have a value. Empty: all customers are counted.
    """
    by: str = ""
    """Of words: the groups. Empty: everyone is one group."""

    def groups(self, table: pa.Table) -> dict[str, list[float]]:
        """The values of each group; zeros where customers are only counted.

        Raises
        ------
        ConfigError
            If a column is not there, or not of that kind.
        """
        kinds = {field.name: str(field.type) for field in table.schema}
        wanted = {self.column: "double", self.by: "string"}
        odd = [f"{name}: expected a column of {kind}s of the feature table"
               for name, kind in wanted.items() if name and kinds.get(name) != kind]  # fmt: skip
        if odd:
            raise ConfigError.listing("the aggregates cannot be made", odd)
        if self.column:
            table = table.filter(pc.is_valid(table[self.column]))
        words = table[self.by].to_pylist() if self.by else [EVERYONE] * table.num_rows
        values = table[self.column].to_pylist() if self.column else [0.0] * table.num_rows
        found: dict[str, list[float]] = {}
        for word, value in zip(words, values, strict=True):
            if word is not None:
                found.setdefault(word, []).append(value)
        return found

    def row(self, group: str, customers: int, total: float) -> dict[str, Any]:
        """A row of the answer."""
        mean = {"mean": total / customers} if self.column else {}
        return {"group": group, "customers": customers, **mean}


def exact(table: pa.Table, question: Question) -> list[dict[str, Any]]:
    """Groups of at least ``LEAST_CUSTOMERS`` with their ``customers`` and ``mean``, by name."""
    return [
        question.row(group, len(values), math.fsum(values))
        for group, values in sorted(question.groups(table).items())
        if len(values) >= LEAST_CUSTOMERS
    ]


def private(
    table: pa.Table,
    question: Question,
    epsilon: float,
    pay: Callable[[], object],
    among: Sequence[str] = (),
    between: tuple[float, float] = (0.0, 0.0),
) -> list[dict[str, Any]]:
    """The same with noise: ``epsilon`` bounds what it tells of any one customer.

    Counts get discrete Laplace noise of scale ``1 / epsilon``. With a mean, half of ``epsilon``
    goes to the count and half to the sum of values, each taken to the nearer end of ``between``.
    Groups share no customer, so that all together cost what one does.

    Parameters
    ----------
    pay
        Called once, when nothing but the noise is left to do: see :func:`charge`.
    among
        The groups to tell; which words there are may not be learned from the customers.
    between
        Bounds of a value, known without looking at the data.

    Raises
    ------
    ConfigError
        If OpenDP is not installed, or groups or bounds are not given.
    """
    low, high = between
    problems = []
    if not (math.isfinite(epsilon) and epsilon > 0):
        problems.append(f"epsilon {epsilon}: expected a number above 0, such as 0.5")
    if question.by and not among:
        problems.append("name the groups to tell: which there are would tell of customers")
    if len(set(among)) < len(among):
        problems.append(f"{list(among)}: each group is told once, or its price would be paid once")
    if question.column and not (math.isfinite(low) and math.isfinite(high) and low < high):
        problems.append("give the bounds of a value, such as 0,2000, known without the data")
    if problems:
        raise ConfigError.listing("no private aggregates", problems)
    dp = opendp()
    share = epsilon / 2 if question.column else epsilon
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
    count = space >> dp.t.then_count() >> dp.m.then_laplace(scale=1 / share)
    step = max(abs(low), abs(high)) / STEPS or 1.0
    ends = (round(low / step), round(high / step))
    summed = space >> dp.t.then_clamp(ends) >> dp.t.then_sum()
    total = summed >> dp.m.then_laplace(scale=STEPS / share)
    groups, rows = question.groups(table), []
    pay()
    for group in among or [EVERYONE]:
        values = [round(min(max(v, low), high) / step) for v in groups.get(group, [])]
        customers = int(count(values))
        added = step * total(values) if question.column else 0.0
        if customers >= LEAST_CUSTOMERS:
            row = question.row(group, customers, min(max(added, low * customers), high * customers))
            rows.append(row)
    return rows


def written(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``rows`` as CSV."""
    with out.open("w", newline="", encoding="utf-8") as stream:
        names = list(rows[0]) if rows else ["group", "customers"]
        table = csv.DictWriter(stream, names)
        table.writeheader()
        table.writerows(rows)


def opendp() -> Any:
    """OpenDP, which the extra ``privacy`` brings.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        dp = importlib.import_module("opendp.prelude")
    except ImportError:
        raise ConfigError(
            "private aggregates need OpenDP: pip install 'perennial[privacy]'"
        ) from None
    dp.enable_features("contrib")
    return dp


def charge(place: Workspace, source: Source, epsilon: float, said: str) -> float:
    """Write ``epsilon`` into the ledger of ``source`` before anything is told; what is left.

    The ledger, ``registry/privacy/<source>.jsonl``, only grows: a line for each release.

    Raises
    ------
    ConfigError
        If the source declares no budget.
    DataError
        If less than ``epsilon`` is left; nothing is written.
    """
    if source.privacy_budget is None:
        raise ConfigError(
            f"source {source.name!r} declares no privacy_budget: the epsilon that all private "
            "aggregates of it may spend together, such as 3.0"
        )
    path = place.registry / "privacy" / f"{source.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)  # freed by a kill
        ledger.seek(0)
        spent = math.fsum(json.loads(line)["epsilon"] for line in ledger)
        left = source.privacy_budget - spent - epsilon
        if left < -1e-12:
            raise DataError(
                f"source {source.name!r}: {spent:g} of its privacy_budget {source.privacy_budget:g}"
                f" is spent, {epsilon:g} more is asked; ask for less, or publish what was released"
            )
        line = {"at": datetime.now(UTC).isoformat(), "epsilon": epsilon, "released": said}
        ledger.write(json.dumps(line) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())
        sync_folder(path.parent)
    return max(left, 0.0)
