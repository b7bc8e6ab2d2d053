"""Tickets, complaints, calls and chats: how many, how long they took, what is still open."""

import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View, ratio, whole_seconds

OPENING = {"ticket": "tickets", "complaint": "complaints", "call": "calls", "chat": "chats"}
"""Kind of row that opens a thread -> name of its count."""
TO_SOLVE = ("ticket", "complaint")
"""What is open until it is resolved; calls and chats are over when they end."""
HOUR = 3_600.0


class SupportConfig(Strict):
    """Windows of the counts."""

    windows_days: tuple[int, ...] = Field(default=(30, 90, 365), min_length=1)
    """Windows ``[t - w, t)`` by the time of opening; means and shares are over the longest."""

    @property
    def longest(self) -> int:
        """The longest window, in days."""
        return max(self.windows_days)


class Support:
    """Threads of feedback that ask for help, as they stand at the cutoff.

    A thread begins with its first ticket, complaint, call or chat. It is resolved if it was, and
    was not reopened since. Rows without a thread are threads of their own.
    """

    config: SupportConfig
    reads = ("feedback",)

    def __init__(self, config: SupportConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, longest = Declare("support"), self.config.longest
        to_solve = " or ".join(TO_SOLVE)
        none = f"no {to_solve} was opened in the window"
        return [
            *[
                d.zero(name, "threads", f"threads with a {kind}", days)
                for days in self.config.windows_days
                for kind, name in OPENING.items()
            ],
            d.zero("reopened", "threads", "threads that were reopened", longest),
            d.maybe("reply_wait_hours", "hours", "mean time from the opening to the first reply",
                    "no thread of the window has a reply", longest),
            d.maybe("resolve_hours", "hours", "mean time from the opening to the resolution",
                    "no thread of the window is resolved", longest),
            d.share("resolved_share", f"share of threads with a {to_solve} that are resolved",
                    none, longest),
            d.zero("topics", "topics", "different topics", longest),
            d.share("largest_topic_share", "share of the most frequent topic",
                    "no thread of the window has a topic", longest),
            d.zero("unresolved", "threads", f"threads with a {to_solve} that are not resolved"),
            d.maybe("oldest_unresolved_days", "days", "age of the oldest of them",
                    "nothing is unresolved"),
            d.maybe("last_ticket_days", "days", f"time since the last {to_solve} was opened",
                    f"no {to_solve} was opened"),
            d.maybe("last_thread_days", "days", "time since the last thread was opened",
                    "no thread was opened"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a thread."""
        threads, longest = self._threads(view), self.config.longest
        age, recent = threads[AGE], threads[AGE] <= longest
        replied, done = threads.reply_s.notnull(), threads.resolve_s.notnull()
        open_still = threads.to_solve & ~done
        sums = {
            f"reopened_{longest}d": threads.count(where=recent & threads.reopened.notnull()),
            "replies": threads.count(where=recent & replied),
            "reply_s": threads.reply_s.sum(where=recent),
            "resolutions": threads.count(where=recent & done),
            "resolve_s": threads.resolve_s.sum(where=recent),
            "to_solve": threads.count(where=recent & threads.to_solve),
            "solved": threads.count(where=recent & threads.to_solve & done),
            "unresolved": threads.count(where=open_still),
            "oldest_unresolved_days": age.max(where=open_still),
            "last_ticket_days": age.min(where=threads.to_solve),
            "last_thread_days": age.min(),
        }
        for days in self.config.windows_days:
            for kind, name in OPENING.items():
                sums[f"{name}_{days}d"] = threads.count(where=(age <= days) & (threads[kind] > 0))
        found = threads.group_by(list(KEYS)).aggregate(**sums)
        derived = found.mutate(**{
            f"reply_wait_hours_{longest}d": ratio(found.reply_s, found.replies) / HOUR,
            f"resolve_hours_{longest}d": ratio(found.resolve_s, found.resolutions) / HOUR,
            f"resolved_share_{longest}d": ratio(found.solved, found.to_solve),
        })  # fmt: skip
        return finished(beside(derived, self._topics(threads)), self.columns())

    def _topics(self, threads: ir.Table) -> ir.Table:
        longest = self.config.longest
        filed = threads.filter(threads.topic.notnull() & (threads[AGE] <= longest))
        topics = filed.group_by([*KEYS, "topic"]).aggregate(n=filed.count())
        found = topics.group_by(list(KEYS)).aggregate(
            most=topics.n.max(), total=topics.n.sum(), topics=topics.count()
        )
        return found.select(*KEYS, **{
            f"topics_{longest}d": found.topics,
            f"largest_topic_share_{longest}d": ratio(found.most, found.total),
        })  # fmt: skip

    @staticmethod
    def _threads(view: View) -> ir.Table:
        """One row per thread: its age, seconds to the reply and to the resolution, its topic."""
        rows = view.rows("feedback")
        kind, time = rows[c.KIND], whole_seconds(rows[c.EVENT_TIME])
        opens = kind.isin(list(OPENING))
        alone = ":" + rows[c.ROW].cast("string")
        threads = rows.group_by(
            [rows[c.CUSTOMER], rows[c.CUTOFF], rows["thread_id"].fill_null(alone).name("thread")]
        ).aggregate(
            opened=time.min(where=opens),
            replied=time.min(where=kind == "reply"),
            resolved=time.max(where=kind == "resolved"),
            reopened=time.max(where=kind == "reopened"),
            topic=rows["topic"].min(where=opens),
            **{AGE: rows[AGE].max(where=opens)},
            **{name: rows.count(where=kind == name) for name in OPENING},
        )
        threads = threads.filter(threads.opened.notnull())
        solved = threads.resolved.notnull() & ~(
            (threads.reopened > threads.resolved).fill_null(False)
        )  # fmt: skip
        # A reply or an end that is dated before the opening took no time.
        return threads.mutate(
            to_solve=sum(threads[kind] for kind in TO_SOLVE) > 0,
            reply_s=_at_least_zero(threads.replied - threads.opened),
            resolve_s=solved.ifelse(_at_least_zero(threads.resolved - threads.opened), None),
        )


def _at_least_zero(seconds: ir.Value) -> ir.Value:
    return (seconds > 0).ifelse(seconds, seconds * 0)
