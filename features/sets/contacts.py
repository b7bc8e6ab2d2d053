"""What customers were sent and what came of it: response, fatigue, offers, cost."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, finished, slug
from features.settings import Strict
from features.views import AGE, View, currency, ratio

CONTACT = "contact_id"
CAME = {
    "delivered": "that arrived",
    "opened": "that were opened",
    "clicked": "that were clicked",
    "converted": "after which the goal was reached",
}
"""Kind of response -> which messages have it."""
ANSWERS = (*CAME, "bounced", "unsubscribed")


class ContactsConfig(Strict):
    """Windows, and the words of the source that are told apart."""

    windows_days: tuple[int, ...] = Field(default=(7, 30, 90, 365), min_length=1)
    """Windows ``[t - w, t)`` by the time of sending; rates are over the longest."""
    channels: tuple[str, ...] = ("e-mail", "sms", "push")
    """Channels that are counted apart."""
    offers: tuple[str, ...] = ()
    """Offers that are counted apart, as the source writes them."""
    unsent_arms: tuple[str, ...] = ("control",)
    """Arms of experiments to which nothing was sent: they are no contacts here."""

    @property
    def longest(self) -> int:
        """The longest window, in days."""
        return max(self.windows_days)


class Contacts:
    """Messages sent to a customer, with the responses to them that are known at the cutoff."""

    config: ContactsConfig
    reads = ("contacts", "responses")

    def __init__(self, config: ContactsConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, config, longest = Declare("contacts"), self.config, self.config.longest
        unsent = "nothing was sent in the window"
        columns = []
        for days in config.windows_days:
            columns += [
                d.zero("sent", "messages", "messages sent", days),
                *[d.zero(k, "messages", f"messages {what}", days) for k, what in CAME.items()],
                d.zero("cost", "currency", "cost of the messages sent", days),
            ]  # fmt: skip
        for kind, what in CAME.items():
            columns.append(
                d.share(f"{kind}_rate", f"share of the messages sent {what}", unsent, longest)
            )
        columns.append(
            d.share("click_to_open_ratio", "share of the opened messages that were clicked",
                    "nothing that was sent in the window was opened", longest)
        )  # fmt: skip
        for channel in config.channels:
            name, by = slug(channel), f"by {channel}"
            columns += [
                d.zero(f"{name}_sent", "messages", f"messages sent {by}", longest),
                d.share(f"{name}_opened_rate", f"share of messages opened, {by}", unsent, longest),
                d.share(
                    f"{name}_clicked_rate", f"share of messages clicked, {by}", unsent, longest
                ),
                d.maybe(f"{name}_last_sent_days", "days", f"time since the last message {by}",
                        "nothing was sent on this channel"),
            ]  # fmt: skip
        for offer in config.offers:
            name = f"offer_{slug(offer)}"
            columns += [
                d.zero(f"{name}_sent", "messages", f"messages that offered {offer}", longest),
                d.share(f"{name}_converted_rate",
                        "share of messages after which the goal was reached", unsent, longest),
            ]  # fmt: skip
        return [
            *columns,
            d.zero("sent_since_open", "messages",
                   "messages sent since one was last opened; all, if none was"),
            d.maybe("last_sent_days", "days", "time since the last message", "nothing was sent"),
            d.maybe("last_opened_days", "days", "time since a message was last opened",
                    "nothing was opened"),
            d.maybe("last_clicked_days", "days", "time since a message was last clicked",
                    "nothing was clicked"),
            d.zero("bounced", "messages", "messages that did not arrive"),
            d.zero("unsubscribed", "messages", "messages after which the customer unsubscribed"),
            d.maybe("last_unsubscribed_days", "days", "time since the customer last unsubscribed",
                    "the customer did not unsubscribe"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a message sent."""
        config, longest = self.config, self.config.longest
        sent = self._sent(view)
        age, channel, recent = sent[AGE], sent[c.CHANNEL], sent[AGE] <= longest
        came = {kind: sent[kind].notnull() for kind in ANSWERS}
        both = came["opened"] & came["clicked"]
        sums = {
            "both": sent.count(where=recent & both),
            "sent_since_open": sent.count(
                where=sent.opened_last.isnull() | (age < sent.opened_last)
            ),
            "last_sent_days": age.min(),
            "last_opened_days": sent["opened"].min(),
            "last_clicked_days": sent["clicked"].min(),
            "bounced": sent.count(where=came["bounced"]),
            "unsubscribed": sent.count(where=came["unsubscribed"]),
            "last_unsubscribed_days": sent["unsubscribed"].min(),
        }
        for days in config.windows_days:
            inside = age <= days
            sums[f"sent_{days}d"] = sent.count(where=inside)
            sums[f"cost_{days}d"] = currency(sent["cost_minor"].sum(where=inside))
            for kind in CAME:
                sums[f"{kind}_{days}d"] = sent.count(where=inside & came[kind])
        for name in config.channels:
            one = channel == name
            sums[f"{slug(name)}_sent_{longest}d"] = sent.count(where=recent & one)
            sums[f"{slug(name)}_last_sent_days"] = age.min(where=one)
            for kind in ("opened", "clicked"):
                sums[f"{slug(name)}_{kind}"] = sent.count(where=recent & one & came[kind])
        for offer in config.offers:
            name, one = f"offer_{slug(offer)}", recent & (sent["offer"] == offer)
            sums[f"{name}_sent_{longest}d"] = sent.count(where=one)
            sums[f"{name}_converted"] = sent.count(where=one & came["converted"])
        found = sent.group_by(list(KEYS)).aggregate(**sums)
        return finished(found.mutate(**self._rates(found)), self.columns())

    def _rates(self, found: ir.Table) -> dict[str, ir.Value]:
        longest = self.config.longest
        parts = [(kind, f"{kind}_{longest}d", "sent") for kind in CAME]
        for channel in map(slug, self.config.channels):
            parts += [
                (f"{channel}_{kind}", f"{channel}_{kind}", f"{channel}_sent")
                for kind in ("opened", "clicked")
            ]
        for offer in map(slug, self.config.offers):
            name = f"offer_{offer}"
            parts.append((f"{name}_converted", f"{name}_converted", f"{name}_sent"))
        rates = {
            f"{name}_rate_{longest}d": ratio(found[part], found[f"{whole}_{longest}d"])
            for name, part, whole in parts
        }
        opened = found[f"opened_{longest}d"]
        return {**rates, f"click_to_open_ratio_{longest}d": ratio(found.both, opened)}

    def _sent(self, view: View) -> ir.Table:
        """Messages, each with how long ago each kind of response came last, if it did."""
        answers, contacts = view.rows("responses"), view.rows("contacts")
        ages = {kind: answers[AGE].min(where=answers[c.KIND] == kind) for kind in ANSWERS}
        keys = [*KEYS, CONTACT]
        came = answers.group_by(keys).aggregate(**ages)
        sent = contacts.filter(~contacts["arm"].fill_null("").isin(self.config.unsent_arms))
        sent = sent.select(*keys, c.CHANNEL, "offer", "cost_minor", AGE)
        joined = sent.left_join(came, keys).drop(*(f"{key}_right" for key in keys))
        everything = ibis.window(group_by=list(KEYS))
        return joined.mutate(opened_last=joined["opened"].min().over(everything))
