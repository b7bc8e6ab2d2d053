"""Records of files with typed cells: the sheets of a workbook, the rows of a Parquet file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from features.errors import DataError
from features.raw_files import (
    LIKELY_BYTES,
    MAX_RATIO,
    Record,
    as_json,
    places_of,
    see_columns,
    text_of,
)


def sheet_records(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """All sheets of a workbook, one after the other; each begins with the same header."""
    from python_calamine import CalamineError, CalamineWorkbook

    _see_sizes(path)
    header: list[str] | None = None
    places: list[int] = []
    try:
        book = CalamineWorkbook.from_path(str(path))
    except CalamineError as error:
        raise DataError(
            f"{path}: the workbook is cut off or damaged ({error}); copy it again"
        ) from None
    for sheet in book.sheet_names:
        for number, cells in enumerate(book.get_sheet_by_name(sheet).iter_rows()):
            fields = [_cell_text(cell) for cell in cells]
            record = Record(fields, "", as_json(fields).encode())
            if not any(fields):
                continue
            if header is None:
                header, places = fields, places_of(path, fields, "", wanted)
                yield record._replace(header=True)
            elif number == 0:
                if fields != header:
                    raise DataError(
                        f"{path}: sheet {sheet!r} has the columns {fields}, the first one "
                        f"{header}; sheets of one table need the same header"
                    )
                yield record._replace(header=True)
            elif len(fields) != len(header):
                problem = f"{len(fields)} cells, expected {len(header)}"
                yield record._replace(values=[], problem=problem)
            else:
                yield record._replace(values=[fields[place] for place in places])


def _see_sizes(path: Path) -> None:
    if not path.stat().st_size:
        return  # the reader of workbooks says it better
    with ZipFile(path) as book:
        size = sum(part.file_size for part in book.infolist())
    if size > max(LIKELY_BYTES, MAX_RATIO * path.stat().st_size):
        raise DataError(f"{path}: unpacks to {size} bytes: taken for a zip bomb")


def _cell_text(cell: Any) -> str:
    return str(cell) if isinstance(cell, bool) else text_of(cell) or ""


def parquet_records(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """Rows of a Parquet file; ``a.b`` is field ``b`` of the struct ``a``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: the Parquet file is cut off or damaged ({error}); copy it again"
        ) from None
    with file:
        schema = file.schema_arrow
        foreign = [field.name for field in schema if isinstance(field.type, pa.ExtensionType)]
        if foreign:
            raise DataError(f"{path}: columns {foreign} are of an extension type; write plain ones")
        names = schema.empty_table().flatten().column_names
        see_columns(path, names, wanted)
        yield Record(names, "", b"", 0, header=True)
        tops = {name for name in schema.names for w in wanted if f"{w}.".startswith(f"{name}.")}
        for batch in file.iter_batches(10_000, columns=sorted(tops)):
            table = pa.Table.from_batches([batch]).flatten()
            columns = [_arrow_texts(table[name]) for name in wanted]
            for values in zip(*columns, strict=True) if columns else [()] * batch.num_rows:
                raw = as_json(dict(zip(wanted, values, strict=True)))
                yield Record(list(values), "", raw.encode())


def _arrow_texts(column: Any) -> list[str | None]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):  # Python has no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return [text_of(value) for value in column.to_pylist()]
