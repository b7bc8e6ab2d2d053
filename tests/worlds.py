"""Small worlds of order lines, as tables and as raw files.

A world is the Arrow table of ``order_lines``: made by hand (:func:`line`, :func:`world`), from a
seed (:func:`random_world`, :func:`wide_world`) or by hypothesis (:func:`worlds`). Raw files have
the layout of Online Retail II.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from features import columns as c
from features.canonical import ORDER_LINES
from features.compute import compute
from features.engine import connect
from features.settings import Workspace
from features.sources import Source, load_source
from features.tables import Stored, Tables, build_tables

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
BEGAN = datetime(2009, 1, 1)
DAY = timedelta(days=1)

# --- tables ---------------------------------------------------------------------------------


def line(
    customer: int,
    when: str | datetime,
    order: str,
    amount: int = 100,
    quantity: int = 1,
    product: str = "A",
    known: str | datetime | None = None,
    ref: str | None = None,
) -> dict[str, Any]:
    """One order line; a negative quantity is a return, ``ref`` the order that it cancels."""
    event_time = _time(when)
    return {
        c.CHANNEL: None,
        c.DISCOUNT: None,
        c.CUSTOMER: customer,
        c.EVENT_TIME: event_time,
        c.KNOWN_TIME: event_time if known is None else _time(known),
        c.ORDER: order,
        c.ORDER_REF: ref or order,
        c.PRODUCT: product,
        c.QUANTITY: quantity,
        c.AMOUNT: amount,
        c.IS_RETURN: quantity < 0,
    }


def _time(when: str | datetime) -> datetime:
    return when if isinstance(when, datetime) else datetime.fromisoformat(when)


def world(lines: Iterable[dict[str, Any]]) -> pa.Table:
    """The table of ``lines``, rows numbered in their order."""
    rows = [{**values, c.ROW: number} for number, values in enumerate(lines)]
    return pa.Table.from_pylist(rows, schema=ORDER_LINES.arrow)


def renumbered(table: pa.Table) -> pa.Table:
    """``table`` as a file in this order would have given it."""
    rows = pa.array(np.arange(table.num_rows))
    return table.set_column(table.column_names.index(c.ROW), c.ROW, rows)


World = pa.Table | Mapping[str, pa.Table]
"""Order lines alone, or canonical tables by name."""


def tables(world: World, threads: int = 1, began: datetime = BEGAN) -> Tables:
    """``world`` on an in-memory backend."""
    backend = connect(threads=threads)
    brought = {"order_lines": world} if isinstance(world, pa.Table) else world
    opened = {name: backend.create_table(name, table) for name, table in brought.items()}
    return Tables(backend, opened, dict.fromkeys(opened, began))


def computed(
    parts: Sequence[Any],
    world: World,
    cutoffs: Sequence[datetime],
    threads: int = 1,
    began: datetime = BEGAN,
) -> pa.Table:
    """Feature table of ``parts`` over ``world`` at ``cutoffs``."""
    opened = tables(world, threads, began)
    try:
        return compute(opened.backend, opened.asof(cutoffs), parts)
    finally:
        opened.backend.disconnect()


def as_bytes(table: pa.Table) -> bytes:
    """Values bit for bit: 0.0 and -0.0 differ, what lies under a missing value does not count."""
    parts = [repr(table.schema.names).encode()]
    for column in table.combine_chunks().columns:
        parts.append(column.is_null().to_numpy().tobytes())
        if pa.types.is_string(column.type):
            parts.append(repr(column.to_pylist()).encode())
        else:
            filled = column.fill_null(0) if column.null_count else column
            parts.append(filled.to_numpy().tobytes())
    return b"".join(parts)


def random_world(seed: int = 0, customers: int = 80, days: int = 900) -> pa.Table:
    """Customers of every sort: none, one or many orders; late news, ties, midnights, returns.

    Returns never take back more than was sold. Some are known late, some cancel nothing, some
    customers have nothing else.
    """
    rng = np.random.default_rng(seed)
    lines = []
    for customer in range(1, customers + 1):
        for number in range(int(rng.integers(0, 9))):
            when = BEGAN + timedelta(seconds=int(rng.integers(0, days * 86_400)))
            if rng.random() < 0.3:
                when = when.replace(hour=0, minute=0, second=0)
            lines += _order(rng, customer, f"{customer}-{number}", when)
        if rng.random() < 0.3:
            when = BEGAN + timedelta(days=int(rng.integers(0, days)))
            number = f"C{customer}"
            lines.append(line(customer, when, number, amount=-500, quantity=-5, product="old"))
    first = line(customers + 1, BEGAN, "first", amount=1)
    return world([first, *(lines[k] for k in rng.permutation(len(lines)))])


def _order(
    rng: np.random.Generator, customer: int, number: str, when: datetime
) -> list[dict[str, Any]]:
    def known(since: datetime) -> datetime:
        late = timedelta(seconds=int(rng.integers(0, 40 * 86_400)))
        return since + late if rng.random() < 0.3 else since

    lines = []
    all_back = rng.random() < 0.1
    for k in range(int(rng.integers(1, 5))):
        quantity, price = int(rng.integers(1, 20)), int(rng.integers(1, 3_000))
        product = f"P{rng.integers(0, 6)}"
        lines.append(line(customer, when, number, quantity * price, quantity, product, known(when)))
        if all_back or rng.random() < 0.2:
            back = quantity if all_back else int(rng.integers(1, quantity + 1))
            later = when + timedelta(seconds=int(rng.integers(0, 100 * 86_400)))
            lines.append(
                line(customer, later, f"C{number}-{k}", -back * price, -back, product,
                     known(later), ref=number)
            )  # fmt: skip
    return lines


def wide_world(seed: int, rows: int, customers: int, days: int = 900) -> pa.Table:
    """Many sales at once, large enough for an engine to spread over threads."""
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, days * 86_400, rows)
    when = (np.datetime64(BEGAN, "us") + seconds.astype("timedelta64[s]")).astype("datetime64[us]")
    customer, quantity = rng.integers(1, customers + 1, rows), rng.integers(1, 20, rows)
    order = np.char.add(np.char.mod("%d-", customer), (seconds // 86_400).astype(str))
    columns = {
        c.CHANNEL: pa.nulls(rows, pa.string()),
        c.DISCOUNT: pa.nulls(rows, pa.int64()),
        c.CUSTOMER: customer,
        c.EVENT_TIME: when,
        c.KNOWN_TIME: when,
        c.ORDER: order,
        c.ORDER_REF: order,
        c.PRODUCT: np.char.mod("P%d", rng.integers(0, 300, rows)),
        c.QUANTITY: quantity,
        c.AMOUNT: quantity * rng.integers(1, 3_000, rows),
        c.IS_RETURN: np.zeros(rows, bool),
        c.ROW: np.arange(rows),
    }
    return pa.table({name: columns[name] for name in ORDER_LINES.arrow.names}).cast(
        ORDER_LINES.arrow
    )


@st.composite
def worlds(draw: st.DrawFn, days: int = 500) -> pa.Table:
    """A handful of lines of few customers, close enough to collide in time, order and product."""
    lines = []
    for number in range(draw(st.integers(1, 20))):
        when = BEGAN + timedelta(hours=12 * draw(st.integers(0, 2 * days)))
        customer, quantity = draw(st.integers(1, 3)), draw(st.integers(1, 5))
        price, product = draw(st.integers(1, 500)), draw(st.sampled_from("AB"))
        known = when + timedelta(days=draw(st.sampled_from([0, 0, 0, 20])))
        order = f"{customer}-{(when - BEGAN).days}"
        lines.append(line(customer, when, order, quantity * price, quantity, product, known))
        if draw(st.booleans()):
            back = draw(st.integers(1, quantity))
            later = when + timedelta(hours=12 * draw(st.integers(0, 80)))
            lines.append(
                line(customer, later, f"C{number}", -back * price, -back, product, ref=order)
            )
    return world(lines)


# --- raw files ------------------------------------------------------------------------------

HEADER = (
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
    "Country",
)
Raw = tuple[str, ...]


def raw(
    invoice: str = "500001",
    customer: str = "13085.0",
    when: str = "2010-06-01 10:00:00",
    code: str = "85048",
    quantity: str | int = 1,
    price: str = "1.00",
    description: str = "WALL CLOCK",
) -> Raw:
    """One record of the raw file."""
    return (invoice, code, description, str(quantity), when, price, customer, "United Kingdom")


def good(count: int, first: int = 500_000) -> list[Raw]:
    """``count`` different records that every rule accepts, on as many days from 2010-01-01 on."""
    start = datetime(2010, 1, 1, 9)
    return [
        raw(str(first + k), f"{13_000 + k % 7}.0", str(start + k % 300 * DAY), price=f"{1 + k}.25")
        for k in range(count)
    ]


def text(record: Raw | bytes) -> bytes:
    """A record as a line of the file; bytes stand for themselves."""
    if isinstance(record, bytes):
        return record
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(record)
    return out.getvalue().encode()


def write_raw(path: Path, records: Iterable[Raw | bytes], header: Sequence[str] = HEADER) -> Path:
    """Write ``header`` and ``records`` to ``path``, packed where it ends in ``.gz``."""
    data = b"".join([text(tuple(header)), *map(text, records)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def source(place: Workspace, **overrides: Any) -> Source:
    """Order lines of Online Retail II with dotted keys changed; ``__`` stands for the dot."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_source(place, "online_retail_II", {"products": None, **changed})


def built(
    place: Workspace,
    records: Iterable[Raw | bytes],
    name: str = "online_retail_II.csv",
    **overrides: Any,
) -> Stored:
    """Published tables of a raw file with ``records``."""
    assert place.data is not None
    write_raw(place.data / name, records)
    return build_tables(place, source(place, **overrides))


def stored_table(stored: Stored, name: str) -> pa.Table:
    """A published table: ``order_lines``, ``links`` or ``quarantine``."""
    return pq.read_table(stored.published.folder / f"{name}.parquet")
