"""The set ``support``."""

from collections import Counter
from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, mean, of_one, share

OPENING = {"ticket": "tickets", "complaint": "complaints", "call": "calls", "chat": "chats"}


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    rows: dict[Any, list[dict[str, Any]]] = {}
    for entry in past.of(customer, "feedback"):
        name = entry["thread_id"] if entry["thread_id"] is not None else entry[c.ROW]
        rows.setdefault(name, []).append(entry)
    threads = [_thread(entries) for entries in rows.values()]
    threads = [thread for thread in threads if thread is not None]
    longest = max(config.windows_days)
    recent = [thread for thread in threads if thread["age"] <= longest]
    asked = [thread for thread in recent if thread["to_solve"]]
    still = [thread for thread in threads if thread["to_solve"] and thread["resolve"] is None]
    topics = Counter(thread["topic"] for thread in recent if thread["topic"] is not None)
    values: dict[str, Any] = {
        f"reopened_{longest}d": sum(thread["reopened"] for thread in recent),
        f"reply_wait_hours_{longest}d": mean(
            thread["reply"] / 3600 for thread in recent if thread["reply"] is not None
        ),
        f"resolve_hours_{longest}d": mean(
            thread["resolve"] / 3600 for thread in recent if thread["resolve"] is not None
        ),
        f"resolved_share_{longest}d": share(
            sum(thread["resolve"] is not None for thread in asked), len(asked)
        ),
        f"topics_{longest}d": len(topics),
        f"largest_topic_share_{longest}d": share(max(topics.values(), default=0), topics.total()),
        "unresolved": len(still),
        "oldest_unresolved_days": max((thread["age"] for thread in still), default=None),
        "last_ticket_days": least(thread["age"] for thread in threads if thread["to_solve"]),
        "last_thread_days": least(thread["age"] for thread in threads),
    }
    for days in config.windows_days:
        for kind, name in OPENING.items():
            values[f"{name}_{days}d"] = sum(
                kind in thread["kinds"] for thread in threads if thread["age"] <= days
            )
    return values


def _thread(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A thread, of rows by time; None if nothing opens it."""

    def times(*kinds: str) -> list[Any]:
        return [entry[c.EVENT_TIME] for entry in rows if entry[c.KIND] in kinds]

    opens = [entry for entry in rows if entry[c.KIND] in OPENING]
    if not opens:
        return None
    opened, reopened = opens[0][c.EVENT_TIME], times("reopened")
    replied, resolved = times("reply"), times("resolved")
    solved = resolved and not (reopened and reopened[-1] > resolved[-1])
    topics = [entry["topic"] for entry in opens if entry["topic"] is not None]
    kinds = {entry[c.KIND] for entry in rows}
    return {
        "age": opens[0]["age"],
        "kinds": kinds,
        "to_solve": bool(kinds & {"ticket", "complaint"}),
        "reopened": bool(reopened),
        "reply": max((replied[0] - opened).total_seconds(), 0) if replied else None,
        "resolve": max((resolved[-1] - opened).total_seconds(), 0) if solved else None,
        "topic": min(topics, default=None),
    }


@pytest.mark.parametrize(("seed", "windows"), [(1, (30, 90, 365)), (2, (200, 900))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("support.Support", random_channels(seed), slowly, windows_days=windows)


def said(thread: str | None, kind: str, days: float, **more: Any) -> dict[str, Any]:
    """A row of a thread so many days before the cutoff."""
    return row("feedback", when=ago(days), **{"thread_id": thread, c.KIND: kind, **more})


def test_worked_by_hand() -> None:
    """One ticket resolved and opened again, one complaint resolved, one call."""
    feedback = [
        said("A", "ticket", 40, topic="delivery"), said("A", "reply", 39.5),
        said("A", "reply", 39), said("A", "resolved", 38), said("A", "reopened", 37),
        said("B", "complaint", 10, topic="delivery"), said("B", "reply", 9),
        said("B", "resolved", 8), said("C", "call", 1, topic="price"),
        said("C", "review", 0.5, score=1.0),
    ]  # fmt: skip
    found = of_one("support.Support", world_of(feedback=feedback))
    assert found == pytest.approx({
        "tickets_30d": 0, "complaints_30d": 1, "calls_30d": 1, "chats_30d": 0,
        "tickets_90d": 1, "complaints_90d": 1, "calls_90d": 1, "chats_90d": 0,
        "tickets_365d": 1, "complaints_365d": 1, "calls_365d": 1, "chats_365d": 0,
        "reopened_365d": 1, "reply_wait_hours_365d": 18, "resolve_hours_365d": 48,
        "resolved_share_365d": 0.5, "topics_365d": 2, "largest_topic_share_365d": 2 / 3,
        "unresolved": 1, "oldest_unresolved_days": 40, "last_ticket_days": 10,
        "last_thread_days": 1,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("known", "unresolved", "hours"), [(ago(1), 0, 24.0), (ago(0), 1, None), (ago(-1), 1, None)]
)
def test_resolved_as_known(known: Any, unresolved: int, hours: float | None) -> None:
    """A ticket is unresolved until the resolution is known."""
    feedback = [said("A", "ticket", 5), said("A", "resolved", 4, known_time=known)]
    found = of_one("support.Support", world_of(feedback=feedback))
    assert (found["unresolved"], found["resolve_hours_365d"]) == (unresolved, hours)


def test_threads_without_a_name() -> None:
    """Rows without a thread are threads of their own; an answer alone is none."""
    feedback = [said(None, "ticket", 5), said(None, "ticket", 4), said(None, "resolved", 3)]
    found = of_one("support.Support", world_of(feedback=feedback))
    assert (found["tickets_30d"], found["unresolved"]) == (2, 2)


def test_calls_need_no_resolution() -> None:
    """A call or a chat is over when it ends."""
    feedback = [said("A", "call", 5), said("B", "chat", 5)]
    found = of_one("support.Support", world_of(feedback=feedback))
    assert (found["unresolved"], found["resolved_share_365d"]) == (0, None)
