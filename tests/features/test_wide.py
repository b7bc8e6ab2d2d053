"""Sets are taken apart and put beside each other without changing what they say."""

from datetime import datetime

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pytest

from features.once import Definitions, needed, shared
from features.views import View
from features.wide import flat

KEYS = ("customer_id", "cutoff")
ASKED = ibis.table({"customer_id": "int64", "cutoff": "timestamp(6)"}, name="asked")
ROWS = ibis.table(
    {"customer_id": "int64", "cutoff": "timestamp(6)", "x": "int64", "y": "int64"}, name="rows"
)
SUMS = ROWS.group_by(KEYS).aggregate(x=ROWS.x.sum(), y=ROWS.y.sum())


def _beside(part: ir.Table) -> ir.Table:
    return ASKED.left_join(part, list(KEYS)).drop("customer_id_right", "cutoff_right")


def test_arithmetic_goes_and_sums_stay() -> None:
    """What was projected step by step is arithmetic on the sums, beside who is asked about."""
    found = _beside(SUMS)
    twice = found.select(*KEYS, z=found.x + found.y)
    taken = flat(twice.mutate(z=twice.z * 2))
    assert taken.base == ASKED.op()
    assert taken.parts == [ASKED.op(), SUMS.op()]
    assert taken.values["z"] == ((SUMS.x + SUMS.y) * 2).op()


@pytest.mark.parametrize(
    "part",
    [
        SUMS.mutate(x=SUMS.x.fill_null(0)),
        SUMS.mutate(x=ibis.row_number().over(order_by=SUMS.x)),
        SUMS.filter(SUMS.x > 0),
    ],
    ids=["a fill", "a window", "a filter"],
)
def test_what_says_something_of_its_own_rows_stays_whole(part: ir.Table) -> None:
    """Outside, it would speak of customers without a row too."""
    assert flat(_beside(part)).parts == [ASKED.op(), part.op()]


def test_other_joins_stay_whole() -> None:
    """Rows that go, or join by other columns, are no rows beside others."""
    inner = ASKED.join(SUMS, list(KEYS))
    crossed = ASKED.left_join(SUMS, [ASKED.customer_id == SUMS.x]).select(ASKED, SUMS.y)
    for table in (inner, crossed):
        assert flat(table).parts == [table.op()]


def test_sums_that_several_read_are_named_once() -> None:
    """The outermost first; what only it reads stays in it."""
    twice = SUMS.group_by("customer_id").aggregate(x=SUMS.x.sum())
    read = [twice.select(a=twice.x), twice.filter(twice.x > 1), ROWS.select("x")]
    tables, names = shared(read)
    assert list(names) == ["shared_0"]
    assert names["shared_0"].equals(twice)
    assert [set(t.op().find(ops.UnboundTable)) for t in tables[:2]] == [
        {ibis.table(twice.schema(), name="shared_0").op()}
    ] * 2
    assert tables[2].equals(read[2])


def test_a_view_names_what_is_made_once() -> None:
    """Only what is needed is defined, before what names it, with no column too many."""
    lines = ibis.table(
        {
            **dict.fromkeys(("customer_id", "quantity", "amount_minor", "source_row"), "int64"),
            **dict.fromkeys(("event_time", "known_time"), "timestamp(6)"),
            "order_ref": "string", "product_id": "string", "is_return": "boolean",
            "discount_minor": "int64",
        },
        name="order_lines",
    )  # fmt: skip
    plain = View({"order_lines": lines}, {"order_lines": datetime(2020, 1, 1)}, (), None, ASKED)
    assert not isinstance(plain.customers.op(), ops.UnboundTable)
    definitions = Definitions()
    noting = View(*(getattr(plain, n) for n in plain.__dataclass_fields__ if n != "definitions"),
                  definitions)  # fmt: skip
    assert noting.customers.get_name() == "made_customers"
    assert noting.customers is noting.customers
    assert list(definitions) == ["made_pieces", "made_first_seen", "made_customers"]
    assert noting.orders is noting.orders
    assert len(definitions) == 5
    chosen = needed(definitions, [noting.customers])
    assert list(chosen) == ["made_pieces", "made_first_seen", "made_customers"]
    assert set(chosen["made_pieces"].columns) == {"customer_id", "seen"}
