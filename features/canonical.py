"""The canonical tables: what every source is brought to, and all that features are made from.

A source brings any subset. Rows have two clocks, when something happened and when it was learned;
both are in the source's business time. Amounts are integer minor units of the source's currency.
Direct identifiers (names, addresses, e-mail) are in none of them.
"""

from typing import Any

from features import columns as c
from features.schema import Column, TableSchema

MINOR = "minor units of the currency"

CLOCKS = (
    Column(
        name=c.EVENT_TIME, dtype="timestamp", required=True,
        meaning="when it happened, business time",
    ),
    Column(
        name=c.KNOWN_TIME, dtype="timestamp", required=True,
        meaning="when we learned it, business time",
    ),
)  # fmt: skip
OWNER = Column(
    name=c.CUSTOMER, dtype="int64", required=True, meaning="internal customer, keyed"
)  # fmt: skip
POSITION = Column(
    name=c.ROW, dtype="int64", required=True, meaning="row number in the source, over all its files"
)


def _text(name: str, meaning: str, **more: Any) -> Column:
    return Column(name=name, dtype="string", meaning=meaning, **more)


def _known(name: str, *words: str) -> Column:
    """A required word, one of ``words``."""
    return _text(name, ", ".join(words), required=True, words=words)


def _of_customers(name: str, meaning: str, *columns: Column, open: bool = False) -> TableSchema:
    """A table whose rows belong to customers: who, when, what, and where the row came from."""
    return TableSchema(
        name=name, meaning=meaning, key=(c.ROW,), open=open,
        columns=(OWNER, *CLOCKS, *columns, POSITION),
    )  # fmt: skip


ORDER_LINES = _of_customers(
    "order_lines",
    "lines of orders, and of what was taken back",
    _text(c.ORDER, "order or cancellation number", required=True),
    _text(
        c.ORDER_REF,
        "the order a return cancels where one was found, else the row's own order",
        required=True,
    ),
    _text(c.PRODUCT, "product code", required=True),
    Column(
        name=c.QUANTITY, dtype="int64", unit="items", required=True, meaning="below 0 for returns"
    ),
    Column(
        name=c.AMOUNT,
        dtype="int64",
        unit=MINOR,
        required=True,
        meaning="quantity x unit price, rounded once per line; below 0 for returns",
    ),
    Column(
        name=c.IS_RETURN,
        dtype="bool",
        required=True,
        meaning="the row takes goods or money back",
    ),
    _text(c.CHANNEL, "where the order was placed: store, web, app, ..."),
    Column(
        name=c.DISCOUNT,
        dtype="int64",
        unit=MINOR,
        meaning="taken off the line's list value; 0 = sold at list price",
    ),
)

PRODUCTS = TableSchema(
    name="products",
    meaning="what is sold; a later row of a product replaces the earlier from its clocks on",
    key=(c.ROW,),
    columns=(
        _text(c.PRODUCT, "product code", required=True),
        *CLOCKS,
        _text("name", "what people call it"),
        _text(c.CATEGORY, "group of products"),
        _text("brand", "who makes it"),
        Column(name="price_minor", dtype="int64", unit=MINOR, meaning="list price of one item"),
        POSITION,
    ),
)

CUSTOMERS = _of_customers(
    "customers",
    "declared attributes; a later row of a customer replaces the earlier from its clocks on",
    Column(name="signup_time", dtype="timestamp", meaning="when the account was opened"),
    _text("acquisition_channel", "through which channel the customer came"),
    _text("region", "part of the country"),
    _text("country", "country of residence"),
    _text("language", "preferred language"),
    _text("gender", "as declared; an audit attribute"),
    Column(name="birth_year", dtype="int64", unit="year", meaning="as declared"),
)

ATTRIBUTES = _of_customers(
    "attributes",
    "columns of a labelled snapshot, as the source declares them",
    open=True,
)

EVENTS = _of_customers(
    "events",
    "what was done on the web, in the app, in a store, with support or in social media",
    _text(c.CHANNEL, "web, app, store, support or social", required=True),
    _text(
        c.KIND, "visit, view, search, cart_add, cart_remove, checkout, purchase, ...", required=True
    ),
    _text("session_id", "what belongs to one visit"),
    _text(c.PRODUCT, "product code, where there is one"),
    Column(name="duration_s", dtype="int64", unit="seconds", meaning="how long it lasted"),
    _text("device", "phone, tablet, computer, ..."),
)

CONTACTS = _of_customers(
    "contacts",
    "campaign touches: a message that was sent to a customer",
    _text("contact_id", "one of a kind", required=True),
    _text(c.CHANNEL, "e-mail, sms, push, post, call, ...", required=True),
    _text("campaign", "what it was part of"),
    _text("offer", "what was offered"),
    Column(name="cost_minor", dtype="int64", unit=MINOR, meaning="cost of the touch"),
    _text("arm", "group of an experiment, such as control"),
    Column(
        name="assignment_probability",
        dtype="float64",
        unit="probability",
        meaning="with which the customer was put into this arm",
    ),
)

RESPONSES = _of_customers(
    "responses",
    "what came of a contact",
    _text("contact_id", "the contact answered", required=True),
    _known(c.KIND, "delivered", "bounced", "opened", "clicked", "converted", "unsubscribed"),
)

FEEDBACK = _of_customers(
    "feedback",
    "reviews, tickets, calls, chats and surveys; what belongs together shares a thread",
    _text("thread_id", "ticket, call or survey it belongs to"),
    _text(
        c.KIND,
        "review, csat, nps, ticket, complaint, reply, resolved, reopened, call, chat",
        required=True,
    ),
    _text(c.CHANNEL, "where it arrived"),
    _text("topic", "what it is about, as filed"),
    Column(name="score", dtype="float64", unit="points", meaning="stars, or points of the survey"),
    _text(c.PRODUCT, "product code, where there is one"),
    _text("text", "what was said"),
)

LOYALTY = _of_customers(
    "loyalty",
    "membership, tiers and points",
    _known(c.KIND, "join", "leave", "tier", "earn", "burn", "expire"),
    Column(
        name="points", dtype="int64", unit="points", meaning="earned, burnt or expired, above 0"
    ),
    _text("tier", "tier from here on"),
)

DEVICES = _of_customers(
    "devices",
    "devices seen with a customer",
    _text("device_id", "one of a kind", required=True),
    _text(c.KIND, "phone, tablet, computer, ..."),
)

LOCATIONS = _of_customers(
    "locations",
    "places seen with a customer",
    _text("place", "store, town or area", required=True),
    _text(c.KIND, "home, store, delivery, ..."),
)

RELATIONS = _of_customers(
    "relations",
    "who belongs to whom",
    Column(
        name=c.OTHER, dtype="int64", required=True, meaning="the other internal customer, keyed"
    ),
    _text(c.KIND, "household or referral (this customer referred the other)", required=True),
)

MERGES = _of_customers(
    "merges",
    "accounts found to be one person: from its clocks on the account belongs to the other",
    Column(
        name=c.OTHER,
        dtype="int64",
        required=True,
        meaning="the account it belongs to, not merged itself; its own number takes a merge back",
    ),
)

SUBSCRIPTIONS = _of_customers(
    "subscriptions",
    "contracts and what happens to them",
    _text("subscription_id", "one of a kind", required=True),
    _known(c.KIND, "start", "change", "renew", "cancel", "pay", "payment_failed"),
    _text("plan", "plan from here on"),
    Column(name="price_minor", dtype="int64", unit=MINOR, meaning="price of a term, or payment"),
    Column(name="term_days", dtype="int64", unit="days", meaning="length of a term"),
    _text("payment_method", "card, debit, invoice, ..."),
)

OUTCOMES = _of_customers(
    "outcomes",
    "dated labels that a source gives: what became of a customer",
    _text("name", "which outcome", required=True),
    Column(name="value", dtype="float64", required=True, meaning="1 or 0, or an amount"),
)

CONSENTS = _of_customers(
    "consents",
    "what a customer allowed or forbade, by channel and purpose",
    _text(c.CHANNEL, "e-mail, sms, ...; empty = every channel"),
    _text("purpose", "analytics, profiling, marketing, service, ...", required=True),
    Column(name="granted", dtype="bool", required=True, meaning="false = revoked or objected"),
)

DERIVED = _of_customers(
    "derived",
    "what approved models said: segment, stage, topic, rule hits, at the time they said it",
    _text("name", "which answer, such as segment", required=True),
    _text("version", "version of the model that said it"),
    Column(name="value", dtype="float64", meaning="where it is a number"),
    _text("label", "where it is a word"),
)

IDENTIFIERS = _of_customers(
    "identifiers",
    "what tells who somebody is (names, e-mail, telephone, ...): read to find who is who, not kept",
    open=True,
)

LINKS = TableSchema(
    name="links",
    meaning="which channel record belongs to which customer",
    key=("source", "source_id"),
    columns=(
        _text("source", "source base", required=True),
        _text("source_id", "customer number in that source", required=True),
        OWNER,
        _text("rule", "why the two belong together", required=True),
        Column(
            name="confidence", dtype="float64", unit="probability", required=True,
            meaning="of the link",
        ),
        Column(
            name=c.KNOWN_TIME, dtype="timestamp", required=True, meaning="when it became known"
        ),
        Column(
            name=c.ACCOUNT, dtype="int64", required=True,
            meaning="internal number of this id alone, whoever it belongs to",
        ),
    ),
)  # fmt: skip

CANONICAL = {
    table.name: table
    for table in (
        ORDER_LINES, PRODUCTS, CUSTOMERS, ATTRIBUTES, EVENTS, CONTACTS, RESPONSES, FEEDBACK,
        LOYALTY, DEVICES, LOCATIONS, RELATIONS, MERGES, SUBSCRIPTIONS, OUTCOMES, CONSENTS, DERIVED,
    )
}  # fmt: skip
"""Every table that features are made of, by name."""
LASTING = frozenset(
    t.name for t in (PRODUCTS, CUSTOMERS, ATTRIBUTES, RELATIONS, MERGES, SUBSCRIPTIONS, CONSENTS)
)
"""Those whose rows hold until a later one replaces them; those of all others happen once."""
SOURCED = {**CANONICAL, IDENTIFIERS.name: IDENTIFIERS}
"""Every table a source may bring: the direct identifiers go no further than to who is who."""
