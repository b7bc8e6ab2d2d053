"""How the systems spell their exports: names, order, clocks, words, and what tends to break.

Every system has its own way, as systems do; ``configs/data/simulated.yaml`` declares them all.
"""

from dataclasses import dataclass, field
from typing import Literal

from features.simulate.config import Table


@dataclass(frozen=True)
class Field:
    """One column of a file."""

    column: str
    """Column of the rows."""
    spelled: Literal["plain", "time", "money", "shopper", "sku", "quoted"] = "plain"
    prefix: str = ""
    """What stands before a number."""
    words: dict[str, str] = field(default_factory=dict)
    """Word of the rows -> word of the file; others are written as they are."""


@dataclass(frozen=True)
class Layout:
    """One file."""

    fields: dict[str, Field]
    """Header -> where it comes from, in the order of the file."""
    damage: tuple[tuple[str, str], ...]
    """Kinds of damage, and the header that each hits ("" = the whole record)."""
    time: str = "%d.%m.%Y %H:%M:%S"
    delimiter: str = ";"


SHOPPER = Field("customer", "shopper")
HAPPENED = Field("happened", "time")
RECORDED = Field("recorded", "time")
EXTRA = ("extra_field", "")
ISO = "%Y-%m-%dT%H:%M:%S"
SPACED = "%Y-%m-%d %H:%M:%S"
SLASHED = "%m/%d/%Y %H:%M:%S"

LAYOUTS: dict[Table, Layout] = {
    "products": Layout(
        {
            "sku": Field("product", "sku"),
            "valid_from": HAPPENED,
            "recorded_at": RECORDED,
            "title": Field("name", "quoted"),
            "group": Field("category"),
            "brand": Field("brand"),
            "list_price": Field("price_cents", "money"),
        },
        (EXTRA, ("bad_date", "valid_from"), ("no_number", "list_price")),
    ),
    "customers": Layout(
        {
            "shopper": SHOPPER,
            "valid_from": HAPPENED,
            "recorded_at": RECORDED,
            "signup": Field("signup", "time"),
            "name": Field("name", "quoted"),
            "email": Field("email"),
            "came_by": Field("acquisition_channel"),
            "region": Field("region"),
            "country": Field("country"),
            "language": Field("language"),
            "gender": Field("gender", words={"female": "F", "male": "M", "other": "X"}),
            "born": Field("birth_year"),
        },
        (
            EXTRA, ("bad_date", "valid_from"), ("no_value", "shopper"), ("no_number", "born"),
            ("unescaped_quote", "name"),
        ),
    ),
    "events": Layout(
        {
            "event_name": Field("kind", words={
                "visit": "session_start", "view": "view_item", "cart_add": "add_to_cart",
                "cart_remove": "remove_from_cart", "checkout": "begin_checkout",
            }),
            "timestamp": HAPPENED,
            "received": RECORDED,
            "platform": Field("channel"),
            "session": Field("session", prefix="w"),
            "user": SHOPPER,
            "item_id": Field("product", "sku"),
            "engaged_s": Field("duration_s"),
            "device": Field("device"),
        },
        (
            EXTRA, ("bad_date", "timestamp"), ("no_value", "platform"),
            ("unknown_word", "event_name"), ("no_number", "engaged_s"),
        ),
        ISO, ",",
    ),
    "contacts": Layout(
        {
            "message": Field("contact", prefix="M"),
            "sent": HAPPENED,
            "logged": RECORDED,
            "shopper": SHOPPER,
            "medium": Field("channel"),
            "campaign": Field("campaign"),
            "offer": Field("offer"),
            "cost": Field("cost_cents", "money"),
            "arm": Field("arm"),
            "p_arm": Field("assignment_probability"),
        },
        (EXTRA, ("bad_date", "sent"), ("no_value", "message"), ("no_number", "cost")),
        SPACED, ",",
    ),
    "responses": Layout(
        {
            "message": Field("contact", prefix="M"),
            "at": HAPPENED,
            "logged": RECORDED,
            "shopper": SHOPPER,
            "status": Field("kind", words={
                "delivered": "DLV", "bounced": "BNC", "opened": "OPN", "clicked": "CLK",
                "converted": "CNV", "unsubscribed": "UNS",
            }),
        },
        (EXTRA, ("bad_date", "at"), ("no_value", "message"), ("unknown_word", "status")),
        SPACED, ",",
    ),
    "feedback": Layout(
        {
            "thread": Field("thread", prefix="T"),
            "type": Field("kind"),
            "at": HAPPENED,
            "recorded_at": RECORDED,
            "shopper": SHOPPER,
            "channel": Field("channel"),
            "topic": Field("topic"),
            "score": Field("score"),
            "sku": Field("product", "sku"),
            "text": Field("text", "quoted"),
        },
        (
            EXTRA, ("bad_date", "at"), ("no_value", "type"), ("no_number", "score"),
            ("unescaped_quote", "text"),
        ),
        SPACED, ";",
    ),
    "loyalty": Layout(
        {
            "member": SHOPPER,
            "at": HAPPENED,
            "booked": RECORDED,
            "booking": Field("kind"),
            "points": Field("points"),
            "tier": Field("tier"),
        },
        (EXTRA, ("bad_date", "at"), ("no_value", "member"), ("no_number", "points")),
        "%Y%m%d %H%M%S", "|",
    ),
    "devices": Layout(
        {
            "device": Field("device", prefix="D"),
            "shopper": SHOPPER,
            "first_seen": HAPPENED,
            "recorded_at": RECORDED,
            "kind": Field("kind"),
        },
        (EXTRA, ("bad_date", "first_seen"), ("no_value", "device")),
        ISO, ",",
    ),
    "locations": Layout(
        {
            "shopper": SHOPPER,
            "since": HAPPENED,
            "recorded_at": RECORDED,
            "place": Field("place"),
            "kind": Field("kind"),
        },
        (EXTRA, ("bad_date", "since"), ("no_value", "place")),
    ),
    "relations": Layout(
        {
            "shopper": SHOPPER,
            "other_shopper": Field("other", "shopper"),
            "since": HAPPENED,
            "recorded_at": RECORDED,
            "kind": Field("kind"),
        },
        (EXTRA, ("bad_date", "since"), ("no_value", "other_shopper")),
    ),
    "subscriptions": Layout(
        {
            "contract": Field("subscription", prefix="C"),
            "shopper": SHOPPER,
            "at": HAPPENED,
            "booked": RECORDED,
            "what": Field("kind"),
            "plan": Field("plan"),
            "amount": Field("price_cents", "money"),
            "days": Field("term_days"),
            "paid_by": Field("payment_method"),
        },
        (EXTRA, ("bad_date", "at"), ("no_value", "contract"), ("no_number", "amount")),
        SLASHED, ",",
    ),
    "outcomes": Layout(
        {
            "shopper": SHOPPER,
            "at": HAPPENED,
            "reported": RECORDED,
            "outcome": Field("name"),
            "value": Field("value"),
        },
        (EXTRA, ("bad_date", "at"), ("no_number", "value")),
        SLASHED, ",",
    ),
    "consents": Layout(
        {
            "shopper": SHOPPER,
            "at": HAPPENED,
            "recorded_at": RECORDED,
            "channel": Field("channel"),
            "purpose": Field("purpose"),
            "granted": Field("granted", words={"yes": "Y", "no": "N"}),
        },
        (EXTRA, ("bad_date", "at"), ("no_value", "purpose"), ("unknown_word", "granted")),
    ),
    "identifiers": Layout(
        {
            "record": Field("record"),
            "at": HAPPENED,
            "recorded_at": RECORDED,
            "channel": Field("channel"),
            "name": Field("name", "quoted"),
            "email": Field("email"),
            "phone": Field("phone"),
            "born": Field("born"),
            "street": Field("street", "quoted"),
            "postcode": Field("postcode"),
            "country": Field("country"),
            "device": Field("device"),
        },
        (EXTRA, ("bad_date", "at"), ("no_value", "record")),
        SPACED, ";",
    ),
}  # fmt: skip
"""By table; the order lines are spelled where they are written."""
