"""Rows of a process -> the raw file that a system writes: late, damaged here and there, counted.

Every table but the order lines goes this way. A frame of rows has ``happened`` (whole seconds
since the first midnight); it may have ``customer`` (row of the world's customers, -1 = a guest),
``delay_days`` (what passes before anyone can record it) and ``batch`` (rows recorded together).
"""

import gzip
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.simulate.config import EVERY, SimulateConfig, Table
from features.simulate.draws import BLOCK, DAY_SECONDS, NOBODY, Ints, stream
from features.simulate.layouts import LAYOUTS, Field, Layout
from features.simulate.world import World

SOUND = -1


def write_table(world: World, table: Table, rows: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Write ``<table>.csv.gz`` in the order of its records; text is made block by block.

    Returns
    -------
    dict
        ``records`` in the file (blank line included), ``sound`` ones, ``defects`` by kind (each
        record counted once), ``late_records``, ``recorded_too_late`` (left out: they came after
        the export was made).
    """
    config, layout = world.config, LAYOUTS[table]
    rng = stream(config, "exports", EVERY.index(table))
    recorded, late = _recorded(config, rows, rng)
    inside = np.flatnonzero(recorded < config.days * DAY_SECONDS)
    place = inside[np.argsort(recorded[inside], kind="stable")]
    known = rows["customer"].to_numpy()[place] != NOBODY if "customer" in rows else None
    guests = 0 if known is None else int((~known).sum())
    free = np.ones(len(place), dtype=bool) if known is None else known
    damage = _damage(rows, place, free, layout, config.dirt.damaged_share, rng)
    with gzip_file(folder / f"{table}.csv.gz") as packed:
        packed.write((layout.delimiter.join(layout.fields) + "\n").encode())
        for at in range(0, len(place), BLOCK):
            block = place[at : at + BLOCK]
            text = _text(world, layout, rows.iloc[block], recorded[block], damage[at : at + BLOCK])
            packed.write(text)
        packed.write(b"\n")
    defects = {name: int((damage == k).sum()) for k, (name, _) in enumerate(layout.damage)}
    return {
        "records": len(place) + 1,
        "sound": len(place) - guests - sum(defects.values()),
        "defects": {**defects, **({"guest": guests} if guests else {}), "blank_line": 1},
        "late_records": int(late[place].sum()),
        "recorded_too_late": len(rows) - len(place),
    }


def gzip_file(path: Path) -> "_Packed":
    """A compressed file whose bytes depend on its text alone."""
    return _Packed(path)


class _Packed(gzip.GzipFile):
    """Neither the time nor the name of the file goes into the header: equal text, equal bytes."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("wb")
        # Level 1 takes a fraction of the default's time for a third more bytes.
        super().__init__(filename="", mode="wb", compresslevel=1, fileobj=self._out, mtime=0)

    def close(self) -> None:
        """Finish the archive and close the file below it."""
        super().close()
        self._out.close()


def _recorded(
    config: SimulateConfig, rows: pd.DataFrame, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    """Seconds at which each row is recorded, and whether that is days late; a batch is as one."""
    batch = rows["batch"].to_numpy() if "batch" in rows else np.arange(len(rows))
    dirt, batches = config.dirt, int(batch.max(initial=-1)) + 1
    late = rng.random(batches) < dirt.late_share
    minutes = rng.exponential(dirt.minutes_to_record, batches)
    minutes = np.where(late, rng.uniform(1.0, 5.0, batches) * 1_440.0, minutes)
    recorded = rows["happened"].to_numpy() + np.floor(minutes * 60.0).astype(np.int64)[batch]
    if "delay_days" in rows:
        recorded += np.floor(rows["delay_days"].to_numpy() * DAY_SECONDS).astype(np.int64)
    return recorded, late[batch]


def _damage(
    rows: pd.DataFrame,
    place: Ints,
    free: NDArray[np.bool_],
    layout: Layout,
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    """Position in ``layout.damage`` of what befalls each record; the kinds are equally frequent."""
    damage = np.full(len(place), SOUND, dtype=np.int8)
    free, kinds, total = free.copy(), len(layout.damage), int(share * len(place))
    for k, (_, header) in enumerate(layout.damage):
        fits = free
        if header:
            fits = free & rows[layout.fields[header].column].notna().to_numpy()[place]
        pool = np.flatnonzero(fits)
        # In turns, so that a small file has some kinds once rather than none at all.
        wanted = min((total + kinds - 1 - k) // kinds, len(pool))
        hit = rng.choice(pool, wanted, replace=False)
        damage[hit], free[hit] = k, False
    return damage


def _text(
    world: World, layout: Layout, rows: pd.DataFrame, recorded: Ints, damage: NDArray[np.int8]
) -> memoryview:
    cells = {}
    for header, field in layout.fields.items():
        column = pd.Series(recorded) if field.column == "recorded" else rows[field.column]
        cells[header] = _cells(world, layout, field, column)
    cells["end"] = pa.array([""]).take(pa.array(np.zeros(len(rows), dtype=np.int8)))
    for k, (name, header) in enumerate(layout.damage):
        where = header or "end"
        damaged = partial(_damaged, name, layout.delimiter)
        cells[where] = rewritten(cells[where], damage == k, damaged)
    *columns, end = cells.values()
    lines = pc.binary_join_element_wise(*columns, layout.delimiter)
    return in_bytes(pc.binary_join_element_wise(lines, end, "\n", ""))


def rewritten(texts: pa.Array, hit: NDArray[np.bool_], change: Callable[[str], str]) -> pa.Array:
    """``texts`` with those that are ``hit`` as ``change`` makes them."""
    changed = [change(text) for text in texts.filter(pa.array(hit)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(hit), pa.array(changed, pa.string()))


def _damaged(name: str, delimiter: str, value: str) -> str:
    return {
        "extra_field": delimiter,
        "bad_date": "00.00.0000 00:00",
        "no_value": "",
        "no_number": f"{value} ?",
        "unknown_word": f"{value}?",
        "unescaped_quote": f'{value[:-1]}, 12" wide"',
    }[name]


def _cells(world: World, layout: Layout, field: Field, column: pd.Series) -> pa.Array:
    """The texts of a column; nothing where there is no value."""
    if field.spelled == "time":
        return times_written(world.config, layout.time, column.to_numpy())
    if field.spelled in ("shopper", "sku"):
        frame = world.customers if field.spelled == "shopper" else world.products
        names = pa.array(frame[field.spelled].to_numpy(), pa.string())
        row = column.fillna(NOBODY).to_numpy(dtype=np.int64)
        texts = names.take(pa.array(row, mask=row == NOBODY))
    elif field.spelled == "money":
        texts = money(column.fillna(0).to_numpy(dtype=np.int64))
        texts = pc.if_else(pa.array(column.notna().to_numpy()), texts, "")
    else:
        texts = _plain(column, field)
    texts = pc.fill_null(texts, "")
    if field.spelled == "quoted":
        texts = pc.if_else(
            pc.equal(texts, ""), "", pc.binary_join_element_wise('"', texts, '"', "")
        )
    return texts


def money(cents: Ints) -> pa.Array:
    """Amounts in currency, with both decimals."""
    sign = pc.if_else(pa.array(cents < 0), "-", "")
    whole = pa.array(np.abs(cents) // 100).cast(pa.string())
    rest = pc.utf8_lpad(pa.array(np.abs(cents) % 100).cast(pa.string()), 2, "0")
    return pc.binary_join_element_wise(sign, whole, ".", rest, "")


def texts_of(column: pd.Series | pd.Index) -> pa.Array:
    """A column of texts as one array: those put together of several come in pieces."""
    found = pa.array(column, pa.string(), from_pandas=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def in_bytes(lines: pa.Array | pa.ChunkedArray) -> memoryview:
    """All texts one after the other: they lie so in memory already."""
    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
    ends = np.frombuffer(lines.buffers()[1], dtype=np.int32)[lines.offset :][: len(lines) + 1]
    return memoryview(lines.buffers()[2])[ends[0] : ends[-1]]


def _plain(column: pd.Series, field: Field) -> pa.Array:
    if isinstance(column.dtype, pd.CategoricalDtype):
        said = [field.words.get(str(word), str(word)) for word in column.cat.categories]
        codes = column.cat.codes.to_numpy().astype(np.int64)
        return pa.array(said, pa.string()).take(pa.array(codes, mask=codes < 0))
    texts = pa.array(column, from_pandas=True).cast(pa.string())
    if field.prefix:
        texts = pc.binary_join_element_wise(field.prefix, texts, "")
    return texts


def times_written(config: SimulateConfig, form: str, passed: Ints) -> pa.Array:
    """Times in the form of the system, out of one list of days and one of seconds of the day."""
    between = "T" if "T" in form else " "
    day_form, _, second_form = form.partition(between)
    low, high = (int(k) // DAY_SECONDS for k in (passed.min(), passed.max()))
    first = config.first_day
    days = pa.array([(first + timedelta(days=k)).strftime(day_form) for k in range(low, high + 1)])
    day = days.take(pa.array(passed // DAY_SECONDS - low))
    second = _seconds_of_a_day(second_form).take(pa.array(passed % DAY_SECONDS))
    return pc.binary_join_element_wise(day, second, between)


@cache
def _seconds_of_a_day(form: str) -> pa.Array:
    two = [f"{k:02d}" for k in range(60)]
    join = ":" if ":" in form else ""
    return pa.array([join.join((h, m, s)) for h in two[:24] for m in two for s in two])
