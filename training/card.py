"""The card of a version: the sections that every family's card has."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.leakage.report import Report, read_checks
from features.settings import fingerprint
from features.snapshot import read_schema
from features.store import Published
from training.pipeline import AnyPlan, Prepared, versions
from training.report import Section, pairs
from training.sentences import figures

TREE = {
    "clean": "The code is the committed code.",
    "changed": "The tree differs from the commit: a demo may be approved, a release may not.",
    "unknown": "The code has no git history here: a demo may be approved, a release may not.",
}

SAME = "same"
"""What an account says of a count that did not change."""


@dataclass(frozen=True)
class Case:
    """A run and what judging it found: all that every review pack is written from."""

    plan: AnyPlan
    prepared: Prepared
    learned: Published
    gates: list[dict[str, Any]]
    champion_note: str
    """Why there is no champion to compare with; empty where there is one."""
    code: dict[str, str]
    """Commit and state of the tree."""

    @property
    def facts(self) -> dict[str, Any]:
        """What learning wrote down."""
        return dict(self.learned.manifest["facts"])

    @property
    def leakage(self) -> Report:
        """What the leakage kit found of the features."""
        return read_checks(self.prepared.checks.folder)

    @property
    def test(self) -> datetime:
        """The test cutoff."""
        return self.prepared.moments.test

    @property
    def matured(self) -> datetime:
        """When all rows of the window after the test cutoff were known."""
        task = self.plan.task
        return self.test + timedelta(days=task.horizon_days + task.maturity_days)

    @property
    def judge_anew(self) -> str:
        """By when the version is to be judged anew."""
        after = timedelta(days=self.plan.config.card.review_after_days)
        return f"{self.matured + after:%Y-%m-%d}"


def identity(case: Case, answers_with: str) -> Section:
    """What the version is, for whom and for what not."""
    config, task, card = case.plan.config, case.plan.task, case.plan.config.card
    text = [
        task.question,
        f"Purpose: {card.purpose}.",
        f"For: {card.users}.",
        f"Not for: {card.misuse}.",
    ]
    if config.suggest:
        text.append(f"Suggested, the first that fits: {'; '.join(a.said for a in config.suggest)}.")
    facts = {
        "model": config.name,
        "owner": card.owner,
        "made on": f"{datetime.now():%Y-%m-%d}",
        "answers with": answers_with,
        "bundle digest": case.facts["digest"],
        "run key": case.learned.manifest["key"],
        "config fingerprint": fingerprint(config),
        "commit": case.code["commit"],
        "tree": case.code["tree"],
        "judge anew by": case.judge_anew,
    }
    return Section("What it is", text, pairs(facts))


def gates(case: Case) -> Section:
    """Every demand with what was found."""
    return Section("Gates", [TREE[case.code["tree"]]], pd.DataFrame(case.gates))


def with_intervals(table: pd.DataFrame, column: str, sign: str = "") -> list[str]:
    """Such as ``0.7412 [0.7102, 0.7688]``."""
    spans = zip(table[column], table["ci_low"], table["ci_high"], strict=True)
    return ["{} [{}, {}]".format(*figures(*span, sign=sign)) for span in spans]


def beside(table: pd.DataFrame, answers: str, cells: list[str]) -> pd.DataFrame:
    """Metrics down, answers across."""
    wide = table.assign(cell=cells).pivot_table(
        index="metric", columns=answers, values="cell", aggfunc="first", sort=False
    )
    return wide.reset_index()


def shown_worse(paired: pd.DataFrame) -> str:
    """What a reviewer must not overlook: whom the candidate loses to, by which metrics."""
    lost = paired[paired["ci_high"] < 0].groupby("against", sort=False)["metric"]
    if not (said := [f"{against} by {', '.join(metrics)}" for against, metrics in lost]):
        return "By no interval is it shown to be worse than another answer."
    return f"Shown to be worse (interval below 0) than {'; than '.join(said)}."


def features(case: Case, text: str) -> Section:
    """What the columns mean."""
    schema = [
        {"column": k.name, "unit": k.unit, "meaning": k.meaning, "missing means": k.missing}
        for k in read_schema(case.prepared.features.folder)
    ]
    return Section("Features", [text], pd.DataFrame(schema))


def leakage(case: Case) -> Section:
    """What the leakage kit found."""
    report = case.leakage
    text = [
        "A sample of customers computed anew with other futures, late news, shuffled rows, fewer "
        "customers, a later calendar and cutoffs one by one: no value may change by a bit.",
        *report.verdict,
    ]
    return Section("Leakage checks", text, pd.DataFrame(report.by_set()))


def data(case: Case) -> Section:
    """Where the data come from, and where each record is."""
    source, tables = case.plan.source, case.prepared.stored.facts
    text = [
        source.description,
        f"Lawful basis: {source.lawful_basis}.",
        f"{tables['seen']:,} records seen, each in one place; {tables['customers']:,} customers, "
        f"{tables['first']} to {tables['last']} ({source.time_zone}), "
        f"amounts in {source.currency}.",
    ]
    account = [
        {"table": name, "disposition": disposition, "reason": reason, "records": n}
        for name, facts in tables["tables"].items()
        for disposition, reasons in facts["account"].items()
        for reason, n in reasons.items()
    ]
    return Section("Data", text, pd.DataFrame(account))


def data_changes(case: Case) -> Section:
    """Records of each table, customers and span beside those of the champion's data."""
    then, tables = case.prepared.champion_data, case.prepared.stored.published
    if then is None:
        said = case.champion_note or "the account of the champion's data is not at hand"
        return Section("Data changes", [f"{said[0].upper()}{said[1:]}."])
    text = [f"The champion was made of the source {then['source']}."]
    if then["tables"]["content"] == tables.content:
        text.append("Its tables are these, to the last byte.")
    return Section("Data changes", text, changed(then["tables"], tables.manifest["facts"]))


def changed(then: dict[str, Any], now: dict[str, Any]) -> pd.DataFrame:
    """Two accounts of tables side by side: ``table``, ``what``, ``champion``, ``now``, ``change``.

    Numbers of records and customers change by a number, the first and last row by days.
    """
    lines = []
    counts = [_counts(then), _counts(now)]
    for table, what in dict.fromkeys((*counts[0], *counts[1])):
        before, after = (found.get((table, what), 0) for found in counts)
        cells = f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else SAME
        lines.append((table, what, *cells))
    for what in ("first", "last"):
        old, new = (datetime.fromisoformat(facts[what]).date() for facts in (then, now))
        days = (new - old).days
        cells = str(old), str(new), f"{days:+} days" if days else SAME
        lines.append(("all", f"{what} row", *cells))
    return pd.DataFrame(lines, columns=["table", "what", "champion", "now", "change"])


def _counts(facts: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Records of each table by what became of them, and customers."""
    found = {
        (name, what): int(n)
        for name, account in facts["tables"].items()
        for what, n in {"seen": account["seen"], **account["totals"]}.items()
    }
    return found | {("all", "customers"): int(facts["customers"])}


def limits(case: Case) -> Section:
    """What the answers do not cover."""
    limits = case.plan.config.card.limits
    text = [
        f"{limits[0].upper()}{limits[1:]}.",
        "An answer holds for customers like those asked about, in a season like those seen.",
    ]
    return Section("Limits", text)


def again(case: Case) -> Section:
    """How to make the version again."""
    name = case.plan.config.name
    text = [
        f"python -m training rerun {name}:VERSION, with the number that this card is registered "
        "under, makes it again from its record alone and says what differs.",
        "python -m training run config.resolved.yaml, the file beside this card, learns with the "
        "same settings from the data as they are then.",
    ]
    return Section("Make it again", text, pairs(versions()))
