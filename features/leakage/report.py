"""The kit run on the tables of a source: findings, published once for what they depend on."""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from features import columns as c
from features.canonical import CANONICAL
from features.catalogue import sets_of
from features.compute import FeatureSet
from features.cutoffs import Moments
from features.errors import DataError
from features.leakage.canary import LEAKS, Canary, CanaryConfig
from features.leakage.checks import CHECKS, Finding, findings
from features.leakage.kit import Kit
from features.leakage.worlds import World
from features.pages import page
from features.settings import Strict, Workspace, code_fingerprint, fingerprint
from features.snapshot import FeaturePlan
from features.store import Published, publish
from features.tables import Stored

CANARY = "canary.Canary"
CUSTOMERS = 300
"""Customers looked at unless said otherwise."""


class Report(Strict):
    """All that the kit found."""

    cutoffs: tuple[str, ...]
    customers: int
    findings: tuple[Finding, ...]
    missed: tuple[str, ...]
    """Checks that did not catch the set made of leaks."""

    @property
    def failed(self) -> list[Finding]:
        """Findings that must not be."""
        return [finding for finding in self.findings if finding.verdict == "failed"]

    @property
    def passed(self) -> bool:
        """Whether nothing leaks, and every check has shown that it would have noticed."""
        return not self.failed and not self.missed

    @property
    def verdict(self) -> list[str]:
        """The outcome in words."""
        checks = len({f.check for f in self.findings})
        of_others = sorted({f.set for f in self.findings if f.verdict == "exempt"})
        unread = sorted({f.set for f in self.findings if f.verdict == "not read"})
        return [
            f"{len({f.set for f in self.findings})} sets, {checks} checks, "
            f"{self.customers} customers, at {', '.join(self.cutoffs)}: "
            + (f"{len(self.failed)} promises are broken" if self.failed else "every promise holds"),
            f"canaries (leaks planted to be caught): {checks - len(self.missed)} of "
            f"{checks} caught" + (f"; missed by {', '.join(self.missed)}" if self.missed else ""),
            *(
                [f"values of other customers by design: {', '.join(of_others)}"]
                if of_others
                else []
            ),
            *([f"not read, the source lacks tables: {', '.join(unread)}"] if unread else []),
        ]

    def rows(self) -> list[dict[str, str]]:
        """Findings as a table: the set, the check in words, the verdict, what was found."""
        return [{**f.model_dump(), "check": f.check.replace("_", " ")} for f in self.findings]

    def by_set(self) -> list[dict[str, str]]:
        """Findings as a table with one row per set."""
        rows = []
        for name in dict.fromkeys(f.set for f in self.findings):
            ours = [f for f in self.findings if f.set == name]
            held = sum(f.verdict == "passed" for f in ours)
            odd = [f"{f.check.replace('_', ' ')}: {f.found}" for f in ours if f.verdict != "passed"]
            words = "; ".join(odd) or "every promise holds"
            rows.append({"set": name, "passed": f"{held} of {len(ours)}", "found": words})
        return rows


def examine(world: World, cutoffs: Sequence[datetime], sets: Mapping[str, FeatureSet]) -> Report:
    """Hold ``sets`` against every check, beside the set made of leaks.

    Raises
    ------
    DataError
        If no table holds rows of customers.
    """
    table = next((n for n in CANONICAL if n in world.tables and c.CUSTOMER in CANONICAL[n]), None)
    if table is None or not world.tables[table].num_rows:
        raise DataError("no table holds rows of customers: there is nothing to check on")
    kit = Kit(world, cutoffs, {**sets, CANARY: Canary(CanaryConfig(table=table))})
    try:
        # Of one cutoff nothing can be told apart by passes.
        checks = [check for check in CHECKS if check != "one_pass" or len(cutoffs) > 1]
        found = [finding for check in checks for finding in findings(kit, check)]
        customers = len(kit.asked) - 1
    finally:
        kit.close()
    order = {name: place for place, name in enumerate(sets)}
    ours = sorted((f for f in found if f.set != CANARY), key=lambda f: order[f.set])
    return Report(
        cutoffs=tuple(f"{t:%Y-%m-%d}" for t in cutoffs),
        customers=customers,
        findings=tuple(ours),
        missed=tuple(f.check for f in found if f.set == CANARY and not _caught(f)),
    )


def _caught(finding: Finding) -> bool:
    """Whether a check noticed the column that was made for it."""
    planted = LEAKS.get(finding.check, ("",))[0]
    return finding.verdict == "failed" and f"canary__{planted}" in finding.found


def build_checks(
    place: Workspace,
    stored: Stored,
    plan: FeaturePlan,
    moments: Moments,
    customers: int = CUSTOMERS,
) -> Published:
    """Publish the findings on the plan's sets: ``findings.json``, ``.csv`` and ``report.html``.

    A sample of about so many customers is looked at from three of the plan's cutoffs.
    """
    sets = sets_of(plan)
    cutoffs = some_of(moments)
    key = fingerprint(
        stored.published.content, [(name, part.config) for name, part in sets.items()],
        [t.isoformat() for t in cutoffs], customers, code_fingerprint("features"),
    )  # fmt: skip

    def write(folder: Path) -> dict[str, Any]:
        report = examine(sampled(stored, customers), cutoffs, sets)
        (folder / "findings.json").write_text(report.model_dump_json(indent=1))
        with (folder / "findings.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, tuple(Finding.model_fields))
            writer.writeheader()
            writer.writerows(report.rows())
        title = f"Leakage checks on {stored.source.name}"
        (folder / "report.html").write_text(page(title, report.verdict, report.rows()))
        return {"passed": report.passed, "failed": len(report.failed), "missed": report.missed}

    return publish(place.store / "checks" / stored.source.name, key, write)


def read_checks(folder: Path) -> Report:
    """The findings in a published folder."""
    return Report.model_validate(json.loads((folder / "findings.json").read_text()))


def some_of(moments: Moments) -> tuple[datetime, ...]:
    """Three of the plan's cutoffs: an early one, the last that teaches, and the test cutoff."""
    middle = moments.teaching[len(moments.teaching) // 2]
    return tuple(sorted({middle, moments.teaching[-1], moments.test}))


def sampled(stored: Stored, customers: int) -> World:
    """About so many customers of the published tables, in memory."""
    share = min(1.0, customers / max(stored.facts["customers"], 1))
    with stored.open(share) as opened:
        tables = {name: table.to_pyarrow() for name, table in opened.tables.items()}
    if all(
        not pc.count(table[c.CUSTOMER]).as_py()
        for name, table in tables.items() if c.CUSTOMER in CANONICAL[name]
    ):  # fmt: skip
        raise DataError(f"no customer among so few as {customers}: set --customers higher")
    return World(tables, opened.began)
