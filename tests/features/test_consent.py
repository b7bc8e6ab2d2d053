"""Who may be approached: the ledger replayed by hand, on random sequences."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.consent import allowed
from features.errors import DataError
from features.settings import Workspace
from tests.channel_worlds import row, world_of
from tests.worlds import built, good, tables

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
