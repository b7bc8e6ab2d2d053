"""The order lines of the simulated shop as they arrive from a real one: late, repeated, damaged.

Every defect is counted as it is put in, so that whoever reads the file can be held to the numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray

from features.errors import DataError
from features.simulate.draws import BLOCK, stream
from features.simulate.files import gzip_file, in_bytes, money
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


def write_order_lines(world: World, folder: Path) -> dict[str, Any]:
    """Write ``order_lines.csv.gz`` as a shop system does; equal configs, equal bytes.

    Returns
    -------
    dict
        ``records`` in the file (header excluded, blank line included); ``sound`` records, with no
        defect; ``defects``, the number of records with each, every record counted once;
        ``late_records``, ``lower_case_records`` (no defects: they are to be read);
        ``recorded_too_late``, records not in the file for they came after it was made.
    """
    config = world.config
    exported = _records(world)
    written = len(exported)
    end = np.datetime64(config.last_day, "us") + np.timedelta64(1, "D")
    exported = exported.loc[exported["recorded"] < end]
    exported = exported.sort_values(["recorded", "document", "line_no"], ignore_index=True)
    if exported.empty:
        raise DataError(f"{config.customers} customers give no record by the end; simulate more")
    first = np.datetime64(config.dirt.repeated_first_day, "us")
    after = first + np.timedelta64(config.dirt.repeated_days, "D")
    exported["again"] = (exported["happened"] >= first) & (exported["happened"] < after)
    exported["defect"] = _defects(exported, world)
    file = pd.concat([exported, exported.loc[exported["again"]]], ignore_index=True)
    # A record that can be read is a repetition when it comes again, whatever else is wrong with it.
    repeated = (file.index >= len(exported)) & ~file["defect"].isin(UNREADABLE)
    counted = file["defect"].where(~repeated, "delivered_twice")
    with gzip_file(folder / ORDER_LINES) as packed:
        packed.write((";".join(HEADER) + "\n").encode())
        for at in range(0, len(file), BLOCK):
            packed.write(_text(file.iloc[at : at + BLOCK]))
        packed.write(b"\n")
    return {
        "records": len(file) + 1,
        "sound": int((counted == "").sum()),
        "defects": {**{name: int((counted == name).sum()) for name in DEFECTS}, "blank_line": 1},
        "late_records": int(file["late"].sum()),
        "lower_case_records": int((file["sku"].str.islower() & (file["defect"] != "no_sku")).sum()),
        "recorded_too_late": written - len(exported),
    }


def _records(world: World) -> pd.DataFrame:
    """One row per record: goods sold and taken back, gifts and shipping, with both clocks."""
    rng, dirt = stream(world.config, "records"), world.config.dirt
    orders, lines, n = world.orders, world.lines, len(world.orders)
    goods = lines.join(world.products[["sku", "item"]], on="product")
    goods["kind"] = np.where(lines["return_no"].isna(), "sale", "return")
    gifts = np.flatnonzero(rng.random(n) < dirt.gift_share)
    free = world.products.iloc[rng.integers(len(world.products), size=len(gifts))]
    shipped = np.flatnonzero(rng.random(n) < dirt.shipping_share)
    sku, item, cents = SHIPPING
    gift = free[["sku", "item"]].assign(order=gifts, unit_cents=0, kind="gift")
    shipping = pd.DataFrame(
        {"order": shipped, "sku": sku, "item": item, "unit_cents": cents, "kind": "shipping"}
    )
    added = pd.concat([gift, shipping]).assign(quantity=1)
    added["happened_at"] = orders["placed_at"].to_numpy()[added["order"]]
    records = pd.concat([goods, added], ignore_index=True)
    order = orders.iloc[records["order"]].reset_index(drop=True)
    records["number"] = records["return_no"].fillna(order["order_no"])
    # A document is an order or a return: its records are written together, after a return's order.
    code, _ = pd.factorize(records["return_no"])
    document = np.where(code < 0, records["order"], n + code)
    late = rng.random(document.max() + 1) < dirt.late_share
    minutes = rng.exponential(dirt.minutes_to_record, len(late))
    minutes = np.where(late, rng.uniform(1.0, 5.0, len(late)) * 1_440.0, minutes)
    delay = np.floor(minutes * 60.0).astype("timedelta64[s]")
    order_recorded = order["placed_at"] + delay[records["order"]]
    lower = rng.random(len(records)) < dirt.lower_case_share
    return pd.DataFrame({
        "document": document,
        "number": records["number"],
        "line_no": records.groupby(document).cumcount() + 1,
        "happened": records["happened_at"],
        "recorded": np.maximum(records["happened_at"] + delay[document], order_recorded),
        "sku": records["sku"].where(~lower, records["sku"].str.lower()),
        "item": records["item"],
        "quantity": records["quantity"],
        "unit_cents": records["unit_cents"],
        "shopper": order["shopper"],
        "channel": order["channel"],
        "discount_cents": records["discount_cents"].fillna(0).astype(np.int64),
        "guest": order["customer"] == GUEST,
        "untouched": order["returned"] == "none",
        "kind": records["kind"],
        "late": late[document],
    })  # fmt: skip


def _defects(records: pd.DataFrame, world: World) -> NDArray[np.object_]:
    """Name of the defect of each record, "" where there is none; those damaged are drawn.

    Of an order at most one line is damaged, only where another is whole and nothing is sent back:
    the purchases that can be read from the file stay those of the truth.
    """
    rng, kind = stream(world.config, "damage"), records["kind"]
    defect = np.select(
        [records["guest"], kind == "gift", kind == "shipping"], ["guest", "gift", "shipping"], ""
    ).astype(object)  # fmt: skip
    # An open quote in the last line of the file would have no line to run into.
    closing = [*records["document"].tail(1), *records.loc[records["again"], "document"].tail(1)]
    within = (
        (kind == "sale")
        & ~records["guest"]
        & records["untouched"]
        & ~records["document"].isin(closing)
    )
    first = within & (records["line_no"] == 1)
    second = set(records.loc[within & (records["line_no"] == 2), "document"])
    candidates = np.flatnonzero(first & records["document"].isin(second))
    wanted = int(world.config.dirt.damaged_share * (kind == "sale").sum() / len(DAMAGE))
    each = min(wanted, len(candidates) // len(DAMAGE))
    for name, rows in zip(DAMAGE, _groups(rng, candidates, len(DAMAGE), each), strict=True):
        defect[rows] = name
    takings = np.flatnonzero((kind == "return") & ~records["guest"])
    defect[_groups(rng, takings, 1, min(wanted, len(takings) // 2))[0]] = "lost_sign"
    return defect


def _groups(rng: Generator, rows: NDArray[np.int64], groups: int, each: int) -> NDArray[np.int64]:
    return rng.choice(rows, size=(groups, each), replace=False)


def _text(records: pd.DataFrame) -> memoryview:
    """Records as they stand in the file: ``;`` between fields, names quoted, day before month."""
    cells = pd.DataFrame({
        "order_no": records["number"],
        "line_no": records["line_no"].astype(str),
        "placed_at": _times(records["happened"]),
        "recorded_at": _times(records["recorded"]),
        "sku": records["sku"],
        "item": '"' + records["item"] + '"',
        "qty": records["quantity"].astype(str),
        "unit_price": _money(records["unit_cents"]),
        "shopper": records["shopper"].fillna(""),
        "channel": records["channel"],
        "discount": _money(records["quantity"] * records["discount_cents"]),
    })  # fmt: skip
    defect = records["defect"]
    cells.loc[defect == "unescaped_quote", "item"] = '"' + records["item"] + ', 12" wide"'
    cells.loc[defect == "unclosed_quote", "item"] = '"' + records["item"]
    cells.loc[defect == "extra_field", "discount"] += ";"
    cells.loc[defect == "no_sku", "sku"] = ""
    cells.loc[defect == "qty_text", "qty"] += " pcs"
    cells.loc[defect == "price_comma", "unit_price"] = cells["unit_price"].str.replace(".", ",")
    cells.loc[defect == "bad_date", "placed_at"] = "00.00.0000 00:00:00"
    cells.loc[defect == "negative_price", "unit_price"] = "-" + cells["unit_price"]
    cells.loc[defect == "lost_sign", "qty"] = cells["qty"].str.lstrip("-")
    columns = (pa.array(cells[name], pa.string()) for name in HEADER)
    lines = pc.binary_join_element_wise(*columns, ";")
    return in_bytes(pc.binary_join_element_wise(lines, "\n", ""))


def _money(cents: pd.Series) -> pd.Series:
    """Amounts in currency; what is taken back takes its discount back."""
    return money(cents.to_numpy(dtype=np.int64)).to_pandas().set_axis(cents.index)


def _times(times: pd.Series) -> pd.Series:
    moments = pa.array(times.to_numpy().astype("datetime64[s]"))
    return pc.strftime(moments, "%d.%m.%Y %H:%M:%S").to_pandas().set_axis(times.index)
