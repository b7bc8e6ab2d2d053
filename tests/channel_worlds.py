"""Small worlds of every canonical table: rows by keyword, empty tables, and random channels.

:func:`random_channels` is made to be hard on feature sets: times that collide, news that arrive
late or ahead of time, versions that correct earlier ones, customers that only some tables know.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import columns as c
from features.canonical import CANONICAL
from features.schema import TableSchema
from tests.worlds import BEGAN, random_world, wide_world

DAY_SECONDS = 86_400
DURATION = pa.duration("us")
HELD_BACK = 0.25
"""Share of the customers that a table does not know."""
APART = ("order_lines", "merges")
"""Tables made in their own way, or left out: with merges a view holds one cutoff alone."""
CORRECTED = 0.12
"""Share of the rows of which there is a later version."""

# --- rows by hand -----------------------------------------------------------------------------

EXAMPLES: dict[str, Any] = {
    c.ORDER: "A1", c.PRODUCT: "P0", c.QUANTITY: 1, c.AMOUNT: 100, c.IS_RETURN: False,
    c.CHANNEL: "web", c.KIND: "visit", "contact_id": "M1", "device_id": "D1", "place": "north",
    c.OTHER: 2, "subscription_id": "U1", "name": "segment", "value": 1.0, "purpose": "marketing",
    "granted": True,
}  # fmt: skip
"""What a required column holds where a row does not say."""


def row(
    table: str,
    customer: int = 1,
    when: str | datetime = BEGAN,
    known: str | datetime | None = None,
    **values: Any,
) -> dict[str, Any]:
    """A row of ``table``: required columns get an example unless given, others are missing.

    Raises
    ------
    KeyError
        If the table has no such column, unless its source may add columns.
    """
    schema = CANONICAL[table]
    odd = [name for name in values if name not in schema]
    if odd and not schema.open:
        raise KeyError(f"{table} has no column {odd}")
    examples = {k.name: EXAMPLES.get(k.name) for k in schema.columns if k.required}
    clocks = {c.EVENT_TIME: _time(when), c.KNOWN_TIME: _time(when if known is None else known)}
    made = {**dict.fromkeys(schema.arrow.names), **examples, **clocks, **values}
    if c.CUSTOMER in schema:
        made[c.CUSTOMER] = customer
    if c.ORDER_REF in schema:
        made[c.ORDER_REF] = made[c.ORDER_REF] or made[c.ORDER]
    return made


def filled(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """``rows`` as ``table``, numbered in their order."""
    numbered = [{**values, c.ROW: number} for number, values in enumerate(rows)]
    if not numbered:
        return empty(table)
    own = {name: None for values in numbered for name in values if name not in CANONICAL[table]}
    base = [{k: v for k, v in values.items() if k not in own} for values in numbered]
    made = pa.Table.from_pylist(base, schema=CANONICAL[table].arrow)
    for name in own:
        made = made.append_column(name, pa.array([values.get(name) for values in numbered]))
    return made


def empty(table: str) -> pa.Table:
    """``table`` without a row."""
    return CANONICAL[table].arrow.empty_table()


def world_of(**rows: Iterable[Mapping[str, Any]]) -> dict[str, pa.Table]:
    """Tables by name from the rows of each, as in ``world_of(events=[row("events")])``."""
    return {name: filled(name, given) for name, given in rows.items()}


def _time(when: str | datetime) -> datetime:
    return when if isinstance(when, datetime) else datetime.fromisoformat(when)


# --- random channels --------------------------------------------------------------------------

Draws = NDArray[Any]

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "events": {
        c.CHANNEL: ("web", "app", "store", "support", "social"),
        c.KIND: (
            "visit", "view", "view", "search", "cart_add", "cart_remove", "checkout", "purchase",
            "login", "share",
        ),
    },
    "contacts": {c.CHANNEL: ("e-mail", "sms", "push", "post", "call")},
    "responses": {
        c.KIND: ("delivered", "bounced", "opened", "opened", "clicked", "converted", "unsubscribed")
    },
    "feedback": {
        c.KIND: (
            "review", "csat", "nps", "ticket", "complaint", "reply", "resolved", "reopened", "call",
            "chat",
        ),
        c.CHANNEL: ("web", "app", "store", "phone", "e-mail"),
    },
    "loyalty": {c.KIND: ("join", "leave", "tier", "earn", "earn", "burn", "expire")},
    "devices": {c.KIND: ("phone", "tablet", "computer")},
    "locations": {c.KIND: ("home", "store", "delivery")},
    "relations": {c.KIND: ("household", "referral")},
    "subscriptions": {
        c.KIND: ("start", "change", "renew", "cancel", "pay", "pay", "payment_failed")
    },
    "outcomes": {"name": ("churned", "retained", "upsold")},
    "consents": {c.CHANNEL: ("e-mail", "sms", "push", "post")},
    "derived": {"name": ("segment", "stage", "topic", "rule")},
}  # fmt: skip
"""Table -> column -> words in it, where a column means something else in another table."""

SHARED: dict[str, tuple[str, ...]] = {
    c.PRODUCT: ("P0", "P1", "P2", "P3", "P4", "P5"),
    c.CATEGORY: ("garden", "kitchen", "toys"),
    "name": ("Wall clock", "Kettle", "Kite"), "brand": ("Alder", "Birch"),
    "acquisition_channel": ("search", "referral", "store", "social"),
    "region": ("north", "south", "east"), "country": ("GB", "DE", "FR"),
    "language": ("en", "de", "fr"), "gender": ("f", "m", "x"),
    "device": ("phone", "tablet", "computer"),
    "campaign": ("spring", "summer", "winback"), "offer": ("none", "ten_off", "gift"),
    "arm": ("control", "treated"), "topic": ("delivery", "quality", "price", "account"),
    "text": ("good, thank you", "too late and broken", "where is it?"),
    "tier": ("bronze", "silver", "gold"), "plan": ("basic", "plus", "pro"),
    "payment_method": ("card", "debit", "invoice"), "place": ("north", "mall", "airport"),
    "purpose": ("analytics", "profiling", "marketing", "service"), "version": ("1", "2"),
    "label": ("loyal", "new", "at_risk"), "own_word": ("low", "mid", "high"),
}  # fmt: skip

NUMBERS: dict[str, tuple[int, int]] = {
    "price_minor": (100, 5_000), "birth_year": (1940, 2003), "duration_s": (0, 1_800),
    "cost_minor": (0, 200), "points": (1, 500), "score": (0, 11),
}  # fmt: skip
"""Column -> least and bound of its whole numbers."""

NAMED: dict[str, str] = {
    "session_id": "S", "contact_id": "M", "thread_id": "T", "device_id": "D",
    "subscription_id": "U",
}  # fmt: skip
"""Columns that name a thing of one customer -> first letter of the name."""

OWN = {"attributes": {"own_word": pa.string(), "own_number": pa.float64()}}
"""Columns that the source adds to an open table."""


def random_channels(seed: int = 0, customers: int = 60, days: int = 900) -> dict[str, pa.Table]:
    """Random rows of every canonical table.

    Customers ``1..customers`` may be in any table, a quarter as many more in all but
    ``order_lines``; each table leaves some out. Words and times come from few, so that they
    collide. Prices of products, attributes, consents, plans and the like have later versions.
    """
    rng = np.random.default_rng(seed)
    people = np.arange(1, customers + customers // 4 + 1)
    # Moments that rows of all tables share, so that ties also stand between tables.
    moments = rng.integers(0, days * DAY_SECONDS, 4 * customers)
    made = {"order_lines": _order_lines(rng, seed, customers, days)}
    for name, schema in CANONICAL.items():
        if name not in APART:
            made[name] = _rows(rng, schema, people, moments, days, 6 * len(people))
    made["responses"] = _answering(rng, made["contacts"], made["responses"])
    return made


def wide_channels(seed: int, rows: int, customers: int, days: int = 900) -> dict[str, pa.Table]:
    """Every canonical table with so many rows: enough for an engine to spread over threads."""
    rng = np.random.default_rng(seed)
    people, moments = np.arange(1, customers + 1), rng.integers(0, days * DAY_SECONDS, customers)
    made = {"order_lines": wide_world(seed, rows, customers, days)}
    for name, schema in CANONICAL.items():
        if name not in APART:
            made[name] = _rows(rng, schema, people, moments, days, rows)
    return made


def _answering(rng: np.random.Generator, contacts: pa.Table, responses: pa.Table) -> pa.Table:
    """Each response belongs to a contact, and follows it; it may be known before the contact is."""
    n = responses.num_rows
    answered = contacts.take(rng.integers(0, contacts.num_rows, n))
    for column in (c.CUSTOMER, "contact_id"):
        responses = _put(responses, column, answered[column])
    wait = rng.integers(0, 2, n) * rng.integers(0, 20 * DAY_SECONDS, n)
    event = pc.add(answered[c.EVENT_TIME], pa.array(wait, pa.duration("s")).cast(DURATION))
    known = pc.add(event, pa.array(_delays(rng, n), pa.duration("s")).cast(DURATION))
    return _put(_put(responses, c.EVENT_TIME, event), c.KNOWN_TIME, known)


def _order_lines(rng: np.random.Generator, seed: int, customers: int, days: int) -> pa.Table:
    """The order lines of :func:`tests.worlds.random_world` with channels and discounts."""
    lines = random_world(seed, customers, days)
    orders = lines[c.ORDER_REF].combine_chunks().dictionary_encode()
    words = np.array(["web", "app", "store", None], dtype=object)
    channel = words[rng.integers(0, len(words), len(orders.dictionary))][orders.indices.to_numpy()]
    discount = (lines[c.AMOUNT].to_numpy() * rng.choice([0.0, 0.0, 0.1, 0.3], len(lines))).round()
    known = (rng.random(len(lines)) < 0.9) & ~lines[c.IS_RETURN].to_numpy()
    lines = _put(lines, c.CHANNEL, pa.array(channel, pa.string()))
    return _put(lines, c.DISCOUNT, pa.array(discount.astype("int64"), mask=~known))


def _rows(
    rng: np.random.Generator,
    schema: TableSchema,
    people: Draws,
    moments: Draws,
    days: int,
    n: int,
) -> pa.Table:
    known_to = rng.permutation(people)[: round(len(people) * (1 - HELD_BACK))]
    # Squared, so that some customers have many rows and some one or none.
    customer = known_to[(rng.random(n) ** 2 * len(known_to)).astype(int)]
    event = _times(rng, moments, days, n)
    known = event + _delays(rng, n)
    values = {k.name: _values(rng, schema.name, k.name, k.dtype, customer) for k in schema.columns}
    values |= {c.CUSTOMER: customer, c.EVENT_TIME: event, c.KNOWN_TIME: known}
    for name, dtype in OWN.get(schema.name, {}).items():
        values[name] = _values(rng, schema.name, name, str(dtype), customer)
    _correct(rng, schema, values)
    fields = {field.name: field.type for field in schema.arrow} | OWN.get(schema.name, {})
    values[c.ROW] = np.arange(n)
    required = {k.name for k in schema.columns if k.required}
    return pa.table({
        name: _arrow(values[name], dtype, None if name in required else rng.random(n) < 0.15)
        for name, dtype in fields.items()
    })  # fmt: skip


def _times(rng: np.random.Generator, moments: Draws, days: int, n: int) -> Draws:
    """Seconds since the beginning: anywhere, at midnights, and at moments that others share."""
    seconds, sort = rng.integers(0, days * DAY_SECONDS, n), rng.random(n)
    seconds = np.where(sort < 0.3, seconds // DAY_SECONDS * DAY_SECONDS, seconds)
    return np.where(sort > 0.8, rng.choice(moments, n), seconds)


def _delays(rng: np.random.Generator, n: int) -> Draws:
    """Seconds until a row is known: mostly none, else up to 40 days; some are announced ahead."""
    late, sort = rng.integers(0, 40 * DAY_SECONDS, n), rng.random(n)
    return np.select([sort < 0.3, sort > 0.95], [late, -late // 4], 0)


def _values(rng: np.random.Generator, table: str, name: str, dtype: str, customer: Draws) -> Draws:
    n = len(customer)
    words = WORDS.get(table, {}).get(name) or SHARED.get(name)
    if words:
        return rng.choice(np.array(words, dtype=object), n)
    if name == "contact_id":  # one of a kind; others belong together
        return np.char.mod("M%d", np.arange(n)).astype(object)
    if name in NAMED:
        number = np.char.add(np.char.mod("%d-", customer), rng.integers(0, 3, n).astype(str))
        if name == "device_id":  # some are passed around
            number = np.where(rng.random(n) < 0.1, rng.integers(0, 20, n).astype(str), number)
        return np.char.add(NAMED[name], number).astype(object)
    if name in NUMBERS:
        return rng.integers(*NUMBERS[name], n)
    if name == "term_days":
        return rng.choice([30, 90, 365], n)
    if name == c.OTHER:
        return rng.integers(1, int(customer.max()) + 3, n)
    if dtype == "bool":
        return rng.random(n) < 0.7
    if dtype == "timestamp":
        return rng.integers(-400, 400, n) * DAY_SECONDS
    return rng.choice([0.0, 0.25, 0.5, 1.0], n)


CORRECTABLE = ("products", "customers", "attributes", "loyalty", "subscriptions", "consents",
               "derived", "outcomes", "locations")  # fmt: skip


def _correct(rng: np.random.Generator, schema: TableSchema, values: dict[str, Draws]) -> None:
    """Make some rows say anew what an earlier row said of the same thing at the same time."""
    if schema.name not in CORRECTABLE:
        return
    n = len(values[c.EVENT_TIME])
    again = rng.permutation(n)[: 2 * round(CORRECTED * n)].reshape(2, -1)
    first, second = again
    for name in (c.CUSTOMER, c.PRODUCT, c.EVENT_TIME, "subscription_id", "name", "purpose"):
        if name in values:
            values[name][second] = values[name][first]
    # Half of them are known with the row that they correct: nothing but their number is later.
    delay = rng.integers(0, 2, len(first)) * rng.integers(0, 60 * DAY_SECONDS, len(first))
    values[c.KNOWN_TIME][second] = values[c.KNOWN_TIME][first] + delay


def _arrow(values: Draws, dtype: pa.DataType, gaps: NDArray[np.bool_] | None) -> pa.Array:
    if pa.types.is_timestamp(dtype):
        values = np.datetime64(BEGAN, "us") + values.astype("timedelta64[s]")
    return pa.array(values, mask=gaps).cast(dtype)


def _put(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def known_before(table: pa.Table, cutoff: datetime) -> pa.Table:
    """The rows of ``table`` that happened and were learned before ``cutoff``."""
    limit = pa.scalar(cutoff, pa.timestamp("us"))
    happened, learned = pc.less(table[c.EVENT_TIME], limit), pc.less(table[c.KNOWN_TIME], limit)
    return table.filter(pc.and_(happened, learned))
