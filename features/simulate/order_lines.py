"""The order lines of the simulated shop as they arrive from a real one: late, repeated, damaged.

Every defect is counted as it is put in, so that whoever reads the file can be held to the numbers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray

from features.errors import DataError
from features.simulate.draws import BLOCK, DAY_SECONDS, Ints, days_of, seconds, stream
from features.simulate.files import gzip_file, in_bytes, money, rewritten, texts_of, times_written
from features.simulate.world import GUEST, World

ORDER_LINES = "order_lines.csv.gz"
HEADER = (
    "order_no", "line_no", "placed_at", "recorded_at", "sku", "item", "qty", "unit_price",
    "shopper", "channel", "discount",
)  # fmt: skip
SHIPPING = ("SHIP", "Shipping", 490)
"""Code, name and price (cents) of a line for shipping."""
UNREADABLE = (
    "unescaped_quote", "unclosed_quote", "extra_field", "no_sku", "qty_text", "price_comma",
    "bad_date",
)  # fmt: skip
"""Damage that leaves nothing to compare: a second delivery is damaged again, not a repetition."""
DAMAGE = (*UNREADABLE, "negative_price")
DEFECTS = (*DAMAGE, "lost_sign", "delivered_twice", "guest", "gift", "shipping")
SOUND = -1
SALE, RETURN, GIFT, SHIPPED = range(4)
TIME = "%d.%m.%Y %H:%M:%S"
DAMAGED: dict[str, tuple[str, Callable[[str], str]]] = {
    "unescaped_quote": ("item", lambda text: f'{text[:-1]}, 12" wide"'),
    "unclosed_quote": ("item", lambda text: text[:-1]),
    "extra_field": ("discount", lambda text: text + ";"),
    "no_sku": ("sku", lambda text: ""),
    "qty_text": ("qty", lambda text: text + " pcs"),
    "price_comma": ("unit_price", lambda text: text.replace(".", ",")),
    "bad_date": ("placed_at", lambda text: "00.00.0000 00:00:00"),
    "negative_price": ("unit_price", lambda text: "-" + text),
    "lost_sign": ("qty", lambda text: text.lstrip("-")),
}
"""Header that each kind of damage hits, and what becomes of the text there."""


def write_order_lines(world: World, folder: Path) -> dict[str, Any]:
    """Write ``order_lines.csv.gz`` as a shop system does; equal configs, equal bytes.

    Records are numbers until they are written: text is made block by block.

    Returns
    -------
    dict
        ``records`` in the file (header excluded, blank line included); ``sound`` records, with no
        defect; ``defects``, the number of records with each, every record counted once;
        ``late_records``, ``lower_case_records`` (no defects: they are to be read);
        ``recorded_too_late``, records not in the file for they came after it was made.
    """
    config = world.config
    exported, documents = _records(world)
    written = len(exported)
    exported = exported.loc[exported["recorded"] < config.days * DAY_SECONDS]
    exported = exported.sort_values(["recorded", "document", "line_no"], ignore_index=True)
    if exported.empty:
        raise DataError(f"{config.customers} customers give no record by the end; simulate more")
    first = (config.dirt.repeated_first_day - config.first_day).days
    day = exported["happened"] // DAY_SECONDS
    exported["again"] = (day >= first) & (day < first + config.dirt.repeated_days)
    defect = _defects(exported, world)
    exported["defect"] = defect
    again = np.flatnonzero(exported["again"])
    place = np.concatenate([np.arange(len(exported)), again])
    with gzip_file(folder / ORDER_LINES) as packed:
        packed.write((";".join(HEADER) + "\n").encode())
        for at in range(0, len(place), BLOCK):
            packed.write(_text(world, documents, exported.iloc[place[at : at + BLOCK]]))
        packed.write(b"\n")
    # A record that can be read is a repetition when it comes again, whatever else is wrong with it.
    unreadable = [DEFECTS.index(name) for name in UNREADABLE]
    repeated = np.where(
        np.isin(defect[again], unreadable), defect[again], DEFECTS.index("delivered_twice")
    )
    counted = np.concatenate([defect, repeated])
    lower = exported["lower"].to_numpy() & (defect != DEFECTS.index("no_sku"))
    return {
        "records": len(place) + 1,
        "sound": int((counted == SOUND).sum()),
        "defects": {
            **{name: int((counted == k).sum()) for k, name in enumerate(DEFECTS)}, "blank_line": 1,
        },
        "late_records": int(exported["late"].to_numpy()[place].sum()),
        "lower_case_records": int(lower[place].sum()),
        "recorded_too_late": written - len(exported),
    }  # fmt: skip


def _records(world: World) -> tuple[pd.DataFrame, pa.Array]:
    """One row per record: goods sold and taken back, gifts and shipping, with both clocks.

    A document is an order or a return; their numbers are given beside the rows. The product of a
    line for shipping is the one after the last.
    """
    rng, dirt = stream(world.config, "records"), world.config.dirt
    orders, lines, n = world.orders, world.lines, len(world.orders)
    gifts = np.flatnonzero(rng.random(n) < dirt.gift_share)
    free = rng.integers(len(world.products), size=len(gifts))
    shipped = np.flatnonzero(rng.random(n) < dirt.shipping_share)
    sizes = (len(lines), len(gifts), len(shipped))
    placed = _passed(world, orders["placed_at"])
    order = np.concatenate([lines["order"], gifts, shipped])
    happened = np.concatenate([_passed(world, lines["happened_at"]), placed[order[len(lines) :]]])
    kind = np.repeat(np.array([SALE, GIFT, SHIPPED], dtype=np.int8), sizes)
    kind[: len(lines)][lines["return_no"].notna()] = RETURN
    # The records of a document are written together, those of a return after its order's.
    code, returns = pd.factorize(lines["return_no"])
    document = order.copy()
    document[: len(lines)][code >= 0] = n + code[code >= 0]
    late = rng.random(document.max() + 1) < dirt.late_share
    minutes = rng.exponential(dirt.minutes_to_record, len(late))
    minutes = np.where(late, rng.uniform(1.0, 5.0, len(late)) * 1_440.0, minutes)
    delay = np.floor(minutes * 60.0).astype(np.int64)
    records = pd.DataFrame({
        "document": document,
        "line_no": pd.Series(document).groupby(document).cumcount() + 1,
        "order": order,
        "happened": happened,
        "recorded": np.maximum(happened + delay[document], placed[order] + delay[order]),
        "product": np.concatenate([
            lines["product"], free, np.full(len(shipped), len(world.products)),
        ]),
        "lower": rng.random(len(order)) < dirt.lower_case_share,
        "quantity": np.concatenate([lines["quantity"], np.ones(sum(sizes[1:]), dtype=np.int64)]),
        "unit_cents": np.concatenate([
            lines["unit_cents"], np.repeat([0, SHIPPING[2]], sizes[1:]),
        ]),
        "discount_cents": np.concatenate([
            lines["discount_cents"], np.zeros(sum(sizes[1:]), dtype=np.int64),
        ]),
        "kind": kind,
        "late": late[document],
    })  # fmt: skip
    return records, pa.concat_arrays([texts_of(orders["order_no"]), texts_of(returns)])


def _passed(world: World, moments: pd.Series) -> Ints:
    """Whole seconds since the first midnight."""
    return seconds(days_of(world.config, moments.to_numpy()))


def _defects(records: pd.DataFrame, world: World) -> NDArray[np.int8]:
    """Position in ``DEFECTS`` of what is wrong with each record; those damaged are drawn.

    Of an order at most one line is damaged, only where another is whole and nothing is sent back:
    the purchases that can be read from the file stay those of the truth.
    """
    rng, orders = stream(world.config, "damage"), world.orders
    kind, order, document = (records[name].to_numpy() for name in ("kind", "order", "document"))
    guest = (orders["customer"] == GUEST).to_numpy()[order]
    untouched = (orders["returned"] == "none").to_numpy()[order]
    defect = np.full(len(records), SOUND, dtype=np.int8)
    for name, hit in (("shipping", kind == SHIPPED), ("gift", kind == GIFT), ("guest", guest)):
        defect[hit] = DEFECTS.index(name)
    # An open quote in the last line of the file would have no line to run into.
    closing = [*document[-1:], *document[records["again"]][-1:]]
    within = (kind == SALE) & ~guest & untouched & ~np.isin(document, closing)
    first, second = (within & (records["line_no"] == k).to_numpy() for k in (1, 2))
    candidates = np.flatnonzero(first & np.isin(document, document[second]))
    wanted = int(world.config.dirt.damaged_share * (kind == SALE).sum() / len(DAMAGE))
    each = min(wanted, len(candidates) // len(DAMAGE))
    for name, rows in zip(DAMAGE, _groups(rng, candidates, len(DAMAGE), each), strict=True):
        defect[rows] = DEFECTS.index(name)
    takings = np.flatnonzero((kind == RETURN) & ~guest)
    lost = _groups(rng, takings, 1, min(wanted, len(takings) // 2))[0]
    defect[lost] = DEFECTS.index("lost_sign")
    return defect


def _groups(rng: Generator, rows: NDArray[np.int64], groups: int, each: int) -> NDArray[np.int64]:
    return rng.choice(rows, size=(groups, each), replace=False)


def _text(world: World, documents: pa.Array, records: pd.DataFrame) -> memoryview:
    """Records as they stand in the file: ``;`` between fields, names quoted, day before month."""
    column = {name: records[name].to_numpy() for name in records}
    order, product, quantity = (pa.array(column[k]) for k in ("order", "product", "quantity"))
    of_order = {name: texts_of(world.orders[name]).take(order) for name in ("shopper", "channel")}
    sku, item = (
        pa.array([*world.products[name], last], pa.string()).take(product)
        for name, last in zip(("sku", "item"), SHIPPING, strict=False)
    )
    cells = {
        "order_no": documents.take(pa.array(column["document"])),
        "line_no": pa.array(column["line_no"]).cast(pa.string()),
        "placed_at": times_written(world.config, TIME, column["happened"]),
        "recorded_at": times_written(world.config, TIME, column["recorded"]),
        "sku": pc.if_else(pa.array(column["lower"]), pc.utf8_lower(sku), sku),
        "item": pc.binary_join_element_wise('"', item, '"', ""),
        "qty": quantity.cast(pa.string()),
        "unit_price": money(column["unit_cents"]),
        "shopper": pc.fill_null(of_order["shopper"], ""),
        "channel": of_order["channel"],
        "discount": money(column["quantity"] * column["discount_cents"]),
    }
    for name, (header, damaged) in DAMAGED.items():
        cells[header] = rewritten(cells[header], column["defect"] == DEFECTS.index(name), damaged)
    lines = pc.binary_join_element_wise(*(cells[name] for name in HEADER), ";")
    return in_bytes(pc.binary_join_element_wise(lines, "\n", ""))
