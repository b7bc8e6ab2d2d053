"""The export of the simulated shop as a real one arrives: late, repeated, damaged. And the truth.

Every defect is counted as it is put in, so that whoever reads the file can be held to the numbers.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator
from numpy.typing import NDArray

from features.errors import DataError
from features.settings import validated
from features.simulate.config import SimulateConfig
from features.simulate.world import GUEST, World, draw_world, stream

ORDER_LINES = "order_lines.csv.gz"
TRUTH = "truth"
FRAMES = ("customers", "orders", "lines", "products")
HEADER = (
    "order_no", "line_no", "placed_at", "recorded_at", "sku", "item", "qty", "unit_price",
    "shopper",
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


def simulate(config: SimulateConfig, folder: Path) -> dict[str, Any]:
    """Write the raw export and the truth of a world into ``folder``; equal configs, equal bytes.

    ``order_lines.csv.gz`` is what a shop system writes. ``truth/`` holds the frames of
    :class:`~features.simulate.world.World` as Parquet and ``facts.json``, which no declaration of a
    source may match.

    Returns
    -------
    dict
        What ``facts.json`` says: ``config``; ``records`` in the file (header excluded, blank line
        included); ``sound`` records, with no defect; ``defects``, the number of records with each,
        every record counted once; ``late_records``, ``lower_case_records`` (no defects: they are to
        be read); ``recorded_too_late``, records not in the file for they came after it was made.
    """
    world = draw_world(config)
    records = _records(world)
    end = np.datetime64(config.last_day, "us") + np.timedelta64(1, "D")
    exported = records.loc[records["recorded"] < end]
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
    (folder / TRUTH).mkdir(parents=True, exist_ok=True)
    _write_gzip(folder / ORDER_LINES, _text(file) + "\n")

    facts = {
        "config": config.model_dump(mode="json"),
        "records": len(file) + 1,
        "sound": int((counted == "").sum()),
        "defects": {**{name: int((counted == name).sum()) for name in DEFECTS}, "blank_line": 1},
        "late_records": int(file["late"].sum()),
        "lower_case_records": int((file["sku"].str.islower() & (file["defect"] != "no_sku")).sum()),
        "recorded_too_late": len(records) - len(exported),
    }
    for name in FRAMES:
        table = pa.Table.from_pandas(getattr(world, name), preserve_index=False)
        pq.write_table(table, folder / TRUTH / f"{name}.parquet", compression="zstd")
    (folder / TRUTH / "facts.json").write_text(json.dumps(facts, indent=1))
    return facts


def read_world(folder: Path) -> World:
    """The world that :func:`simulate` wrote into ``folder``.

    Raises
    ------
    DataError
        If there is no truth in the folder.
    """
    truth = folder / TRUTH
    if not (truth / "facts.json").is_file():
        raise DataError(f"{truth}: no facts.json; give a folder that `simulate` has written")
    facts = json.loads((truth / "facts.json").read_text())
    config = validated(SimulateConfig, facts["config"], str(truth / "facts.json"))
    return World(config, *(pq.read_table(truth / f"{name}.parquet").to_pandas() for name in FRAMES))


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


def _text(records: pd.DataFrame) -> str:
    """The file: header and records, ``;`` between fields, names in quotes, day before month."""
    cells = pd.DataFrame({
        "order_no": records["number"],
        "line_no": records["line_no"].astype(str),
        "placed_at": _times(records["happened"]),
        "recorded_at": _times(records["recorded"]),
        "sku": records["sku"],
        "item": '"' + records["item"] + '"',
        "qty": records["quantity"].astype(str),
        "unit_price": [f"{cents // 100}.{cents % 100:02d}" for cents in records["unit_cents"]],
        "shopper": records["shopper"].fillna(""),
    })  # fmt: skip
    defect = records["defect"]
    cells.loc[defect == "unescaped_quote", "item"] = '"' + records["item"] + ', 12" wide"'
    cells.loc[defect == "unclosed_quote", "item"] = '"' + records["item"]
    cells.loc[defect == "extra_field", "shopper"] += ";"
    cells.loc[defect == "no_sku", "sku"] = ""
    cells.loc[defect == "qty_text", "qty"] += " pcs"
    cells.loc[defect == "price_comma", "unit_price"] = cells["unit_price"].str.replace(".", ",")
    cells.loc[defect == "bad_date", "placed_at"] = "00.00.0000 00:00:00"
    cells.loc[defect == "negative_price", "unit_price"] = "-" + cells["unit_price"]
    cells.loc[defect == "lost_sign", "qty"] = cells["qty"].str.lstrip("-")
    columns = (cells[name].tolist() for name in HEADER)
    return "\n".join([";".join(HEADER), *map(";".join, zip(*columns, strict=True)), ""])


def _times(times: pd.Series) -> list[str]:
    texts = np.datetime_as_string(times.to_numpy(), unit="s")
    return [f"{t[8:10]}.{t[5:7]}.{t[:4]} {t[11:]}" for t in texts]


def _write_gzip(path: Path, text: str) -> None:
    # Neither the time nor the name of the file goes into the header: equal text, equal bytes.
    with (
        path.open("wb") as out,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as packed,
    ):
        packed.write(text.encode())
