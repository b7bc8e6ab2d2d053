"""Who may be approached: the ledger replayed by hand, on random sequences."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.compute import compute
from features.consent import Consent, allowed
from features.errors import ConfigError, DataError
from features.sets.rfm import Rfm, RfmConfig
from features.settings import Workspace
from features.sources import load_source
from features.tables import build_tables
from tests.channel_worlds import row, world_of
from tests.worlds import built, good, tables, worlds
from training.rows import asked_at, labels_of
from training.tasks.churn import Churn, ChurnConfig

CUTOFF = datetime(2011, 1, 1)
ENTRY = st.tuples(
    st.integers(1, 3),
    st.integers(0, 6),
    st.integers(0, 4),
    st.sampled_from([None, "email", "sms"]),
    st.sampled_from(["marketing", "analytics"]),
    st.booleans(),
)


def ledger(entries: list[Any]) -> list[dict[str, Any]]:
    """Rows of the ledger: days before the cutoff, and how many more until they were known."""
    return [
        row("consents", customer, CUTOFF - timedelta(days=days), channel=channel, purpose=purpose,
            granted=granted, known_time=CUTOFF - timedelta(days=days - late))
        for customer, days, late, channel, purpose, granted in entries
    ]  # fmt: skip


def found(rows: list[dict[str, Any]], purpose: str, channel: str | None) -> set[int]:
    """What the expression says."""
    opened = tables(world_of(consents=rows))
    try:
        held = allowed(opened.asof([CUTOFF]), purpose, channel).to_pyarrow()
    finally:
        opened.backend.disconnect()
    numbers: list[int] = held[c.CUSTOMER].to_pylist()
    assert len(numbers) == len(set(numbers))
    return set(numbers)


def by_hand(rows: list[dict[str, Any]], purpose: str, channel: str | None) -> set[int]:
    """One entry after the other; of one moment, revocations last, so that they stay."""
    state: dict[int, bool] = {}
    for entry in sorted(rows, key=lambda e: (e[c.EVENT_TIME], not e["granted"])):
        known = entry[c.EVENT_TIME] < CUTOFF and entry[c.KNOWN_TIME] < CUTOFF
        concerns = entry["channel"] is None or entry["channel"] == channel
        if known and concerns and entry["purpose"] == purpose:
            state[entry[c.CUSTOMER]] = entry["granted"]
    return {customer for customer, granted in state.items() if granted}


@settings(max_examples=60)
@given(entries=st.lists(ENTRY, min_size=1, max_size=12), channel=st.sampled_from([None, "email"]))
def test_ledger_by_hand(entries: list[Any], channel: str | None) -> None:
    """Nobody without a grant in force for that purpose and channel as known then."""
    rows = ledger(entries)
    assert found(rows, "marketing", channel) == by_hand(rows, "marketing", channel)


def test_revocation_wins_ties() -> None:
    """Of the same moment, whatever the order and whenever it was learned."""
    both = [(1, 5, 0, "email", "marketing", True), (1, 5, 0, "email", "marketing", False)]
    assert found(ledger(both), "marketing", "email") == set()
    assert found(ledger(both[::-1]), "marketing", "email") == set()
    assert found(ledger([*both, (1, 4, 0, None, "marketing", True)]), "marketing", "email") == {1}


def test_source_without_a_ledger(
    place: Workspace, tmp_path: Path, reader_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says that the lawful basis speaks; a wrong date is an error."""
    del reader_here
    built(place, good(5))
    monkeypatch.chdir(Path(__file__).resolve().parent.parent.parent)
    monkeypatch.setenv("PERENNIAL_DATA_DIR", str(place.data))
    words = ["allowed", "online_retail_II", "--purpose", "marketing"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 2
    assert "rests on its lawful_basis" in said.stderr
    assert CliRunner().invoke(app, [*words, "--as-of", "soon"]).exit_code == 2
    opened = tables(world_of(customers=[row("customers", 1, CUTOFF)]))
    with pytest.raises(DataError, match="no table 'consents'"):
        allowed(opened.asof([CUTOFF]), "marketing")
    opened.backend.disconnect()
    del tmp_path


@settings(max_examples=6)
@given(entries=st.lists(ENTRY, min_size=1, max_size=12), bought=worlds())
def test_without_consent_nothing_is_seen(entries: list[Any], bought: pa.Table) -> None:
    """Rows, orders, purchases, customers and features are those of who allows it, and no others."""
    cutoffs = [CUTOFF, CUTOFF + timedelta(days=200)]
    consent = Consent(purpose="marketing", channel="email")
    with tables({"order_lines": bought, **world_of(consents=ledger(entries))}) as opened:
        everyone = opened.asof(cutoffs)
        permitted = allowed(everyone, "marketing", "email").to_pyarrow().to_pylist()
        pairs = {(line[c.CUSTOMER], line[c.CUTOFF]) for line in permitted}
        some = replace(opened, consent=consent).asof(cutoffs)
        for part in (
            lambda view: view.rows("order_lines"),
            lambda view: view.rows("consents"),
            lambda view: view.orders,
            lambda view: view.purchases,
            lambda view: view.customers,
            lambda view: view.returns,
        ):
            expected = [
                line
                for line in part(everyone).to_pyarrow().to_pylist()
                if (line[c.CUSTOMER], line[c.CUTOFF]) in pairs
            ]
            assert alike(part(some).to_pyarrow().to_pylist()) == alike(expected)
        whole, restricted = (
            compute(opened.backend, view, [Rfm(RfmConfig())]).to_pylist()
            for view in (everyone, some)
        )
        of_pairs = [line for line in whole if (line[c.CUSTOMER], line[c.CUTOFF]) in pairs]
        assert restricted == of_pairs


def alike(lines: list[dict[str, Any]]) -> list[str]:
    """Rows as a bag."""
    return sorted(str(sorted(line.items())) for line in lines)


def test_a_plan_asks_only_who_allows_it(place: Workspace) -> None:
    """Labels and asked customers of the simulated retailer are those of the ledger, as of then."""
    tables = ["order_lines", "consents"]
    said = {"simulate.customers": 200, "simulate.days": 500, "simulate.tables": tables}
    stored = build_tables(place, load_source(place, "simulated", said))
    moment = stored.end - timedelta(days=90)
    task = Churn(ChurnConfig())
    with stored.open() as opened:
        everyone = asked_at(opened, task, [moment])[moment]
        held = allowed(opened.asof([moment]), "analytics").to_pyarrow()
    with stored.consenting(Consent(purpose="analytics")).open() as opened:
        labels, _ = labels_of(opened, task, [moment])
    assert set(labels[c.CUSTOMER]) <= set(held[c.CUSTOMER].to_pylist())
    assert 0 < len(labels) < everyone


def test_consent_without_a_ledger_is_refused(place: Workspace, reader_here: None) -> None:
    """Nobody is left out silently, and nobody is taken in."""
    del reader_here
    stored = built(place, good(5))
    with pytest.raises(ConfigError, match="brings no table 'consents'"):
        stored.consenting(Consent(purpose="analytics"))
    assert stored.consenting(None).consent is None
