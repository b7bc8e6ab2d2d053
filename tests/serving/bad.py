"""Bad requests and how each is refused: status, code, and the field at fault."""

import gzip
import json
import pickle
from dataclasses import dataclass
from typing import Any

from serving.rows import MAX_ROWS
from tests.serving.asgi import JSON
from tests.serving.conftest import NAMES

SECRET = "S3CRET"
NUMBER = "31415.9265"
"""Planted in bad requests; neither may come back or reach a log."""

GOOD = {name: 0.5 for name in NAMES}
RECENCY, FREQUENCY, TREND = NAMES[0], NAMES[1], NAMES[3]
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Bad:
    """One bad request and its refusal."""

    name: str
    status: int
    code: str
    body: bytes = b""
    field: str | None = None
    method: str = "POST"
    path: str = "/predict"
    headers: Headers = JSON


def body(*rows: Any) -> bytes:
    """A body with these rows."""
    return json.dumps({"rows": rows}).encode()


def valued(text: str, name: str = RECENCY) -> bytes:
    """A body whose one row has ``text``, as it stands, for one field."""
    row = ",".join(f'"{n}":{text if n == name else 0.5}' for n in NAMES)
    return f'{{"rows":[{{{row}}}]}}'.encode()


def lacking(name: str, *others: str) -> dict[str, Any]:
    """A row that lacks a field and may have others."""
    return {n: v for n, v in GOOD.items() if n != name} | dict.fromkeys(others, 1)


def longer(more: str, times: int = 1) -> bytes:
    """A body whose one row goes on with ``more``."""
    return body(GOOD).replace(b"}]", more.encode() * times + b"}]")


NOT_JSON = {
    "empty": b"",
    "blanks": b" \n\t ",
    "truncated": body(GOOD)[:-3],
    "truncated in a text": b'{"rows":[{"' + SECRET.encode(),
    "two documents": body(GOOD) + body(GOOD),
    "text after the document": body(GOOD) + SECRET.encode(),
    "text before the document": SECRET.encode() + body(GOOD),
    "not UTF-8": b'{"rows":[{"\xff\xfe":1}]}',
    "byte order mark": b"\xef\xbb\xbf" + body(GOOD),
    "UTF-16": body(GOOD).decode().encode("utf-16"),
    "UTF-32": body(GOOD).decode().encode("utf-32"),
    "single quotes": str({"rows": [GOOD]}).encode(),
    "trailing comma": longer(","),
    "comment": b"/* " + SECRET.encode() + b" */" + body(GOOD),
    "bare word": valued(SECRET),
    "hexadecimal": valued("0x10"),
    "leading zero": valued("01"),
    "no digit after the point": valued("1."),
    "no digit before the point": valued(".5"),
    "plus sign": valued("+1"),
    "underscores": valued("1_000"),
    "Python's None": valued("None"),
    "integer of 5,000 digits": valued("9" * 5000),
    "lone surrogate as value": valued('"\\ud800"'),
    "lone surrogate as name": b'{"rows":[{"\\ud800":1}]}',
    "raw NUL in a name": b'{"rows":[{"\x00":1}]}',
    "depth of 100,000 lists": b"[" * 100_000,
    "depth of 100,000 objects": b'{"rows":' * 100_000,
    "depth inside a field": valued("[" * 5_000 + "]" * 5_000),
    "pickle": pickle.dumps({"rows": [SECRET]}),
    "gzip named JSON": gzip.compress(body(GOOD)),
}
TWICE = {
    "field twice": longer(f',"{RECENCY}":{NUMBER}'),
    "field twice, once escaped": longer(f',"\\u0072{RECENCY[1:]}":{NUMBER}'),
    "rows twice": body(GOOD)[:-1] + b"," + body(GOOD)[1:],
    "40,000 repetitions": longer(f',"{RECENCY}":1', 40_000),
}
NOT_ROWS: dict[str, tuple[str, bytes, str | None]] = {
    "a list at the root": ("invalid_body", b"[1]", None),
    "a text at the root": ("invalid_body", f'"{SECRET}"'.encode(), None),
    "null at the root": ("invalid_body", b"null", None),
    "no rows": ("invalid_rows", b"{}", "rows"),
    "rows misspelt": ("unknown_field", b'{"row' + SECRET.encode() + b'":[]}', None),
    "a name beside rows": ("unknown_field", body(GOOD)[:-1] + b',"S3CRET":1}', None),
    "wrapped like a framework does": ("unknown_field", b'{"body":' + body(GOOD) + b"}", None),
    "rows is null": ("invalid_rows", b'{"rows":null}', "rows"),
    "rows is an object": ("invalid_rows", b'{"rows":{}}', "rows"),
    "rows is a text": ("invalid_rows", b'{"rows":"' + SECRET.encode() + b'"}', "rows"),
    "no row": ("invalid_rows", b'{"rows":[]}', "rows"),
    "too many rows": ("invalid_rows", body(*[GOOD] * (MAX_ROWS + 1)), "rows"),
    "200,000 numbers": ("invalid_row", b'{"rows":[' + b"0," * 200_000 + b"0]}", "rows[0]"),
    "a row is a list": ("invalid_row", body([0.5] * 6), "rows[0]"),
    "a row is a text": ("invalid_row", body(SECRET), "rows[0]"),
    "a row is null": ("invalid_row", body(GOOD, None), "rows[1]"),
}
MISSING = {
    "missing field": (lacking(RECENCY),),
    "empty row": ({},),
    "unknown for known": (lacking(RECENCY, SECRET),),
    "another case": (lacking(RECENCY, RECENCY.upper()),),
    "Cyrillic letter in a name": (lacking(RECENCY, RECENCY.replace("e", "\u0435")),),
    "right-to-left mark in a name": (lacking(RECENCY, RECENCY + "\u202e"),),
    "NUL in a name": (lacking(RECENCY, RECENCY + "\x00"),),
    "50,000 unknown fields": ({f"{SECRET}{i}": 1 for i in range(50_000)},),
    "more unknown than known": (lacking(RECENCY, *(f"{SECRET}{i}" for i in range(40))),),
}
UNKNOWN = {
    "unknown field": (GOOD | {SECRET: 1},),
    "unknown ones balance missing ones": ({**GOOD, SECRET: 1}, lacking(RECENCY)),
}
NO_NUMBER = {
    "text": f'"{SECRET}"',
    "a number as text": f'"{NUMBER}"',
    "empty text": '""',
    "overlong text": '"' + SECRET * 20_000 + '"',
    "NUL in a text": '"\\u0000"',
    "true": "true",
    "a list as value": f"[{NUMBER}]",
    "an object as value": "{}",
    "an object with the right names": json.dumps(GOOD),
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "integer of 400 digits": "3" * 400,
    "below its range": "-" + NUMBER,
    "just below its range": "-5e-324",
}
OTHER_FIELDS = {
    "null where there is always a value": (valued("null", FREQUENCY), f"rows[0].{FREQUENCY}"),
    "above its range": (valued(NUMBER, TREND), f"rows[0].{TREND}"),
    "just above its range": (valued("1.0000000000000002", TREND), f"rows[0].{TREND}"),
    "bad row after good ones": (body(*[GOOD] * 4, GOOD | {TREND: 2}), f"rows[4].{TREND}"),
}
TOO_LARGE: dict[str, tuple[bytes, Headers]] = {
    "body of 2 MB": (b" " * 2_000_000 + body(GOOD), ()),
    "declared as 20 MB": (body(GOOD), ((b"content-length", b"20000000"),)),
    "length below zero": (body(GOOD), ((b"content-length", b"-1"),)),
    "length of 400 digits": (body(GOOD), ((b"content-length", b"9" * 400),)),
}
NO_JSON_TYPE = {
    "text/plain": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "multipart without boundary": "multipart/form-data",
    "framework's pickle type": "application/vnd.bentoml+pickle",
    "pickle type in capitals": "APPLICATION/VND.BENTOML+PICKLE",
    "Latin-1 JSON": "application/json; charset=latin-1",
    "JSON with a tail": "application/json, text/plain",
    "JSON lines": "application/x-ndjson",
    "empty type": "",
}
GZIP = (*JSON, (b"content-encoding", b"gzip"))
WRONG_METHOD = {
    "GET": ("GET", "/predict"),
    "PUT": ("PUT", "/predict"),
    "TRACE": ("TRACE", "/explain"),
    "DELETE": ("DELETE", "/model"),
    "method in small letters": ("post", "/predict"),
}
NO_PATH = {
    "unknown path": f"/{SECRET}",
    "trailing slash": "/predict/",
    "double slash": "//predict",
    "capitals": "/Predict",
    "dots": "/model/../predict",
    "framework's page": "/",
    "framework's schema": "/schema.json",
    "file outside": "/static_content/../../etc/passwd",
    "path of an absolute address": f"http://{SECRET}/model",
}

FIRST = f"rows[0].{RECENCY}"
TABLE = [
    *(Bad(name, 400, "unreadable_body", sent) for name, sent in NOT_JSON.items()),
    *(Bad(name, 400, "repeated_name", sent) for name, sent in TWICE.items()),
    *(Bad(name, 422, code, sent, field) for name, (code, sent, field) in NOT_ROWS.items()),
    *(Bad(name, 422, "missing_field", body(*rows), FIRST) for name, rows in MISSING.items()),
    Bad("third row", 422, "missing_field", body(GOOD, GOOD, lacking(TREND)), f"rows[2].{TREND}"),
    *(Bad(name, 422, "unknown_field", body(*rows), "rows[0]") for name, rows in UNKNOWN.items()),
    *(Bad(name, 422, "invalid_field", valued(text), FIRST) for name, text in NO_NUMBER.items()),
    *(Bad(name, 422, "invalid_field", *told) for name, told in OTHER_FIELDS.items()),
    *(
        Bad(name, 413, "body_too_large", sent, headers=(*JSON, *more))
        for name, (sent, more) in TOO_LARGE.items()
    ),
    *(
        Bad(
            name,
            415,
            "unsupported_media_type",
            SECRET.encode(),
            headers=((b"content-type", kind.encode()),),
        )
        for name, kind in NO_JSON_TYPE.items()
    ),
    Bad("no content type", 415, "unsupported_media_type", body(GOOD), headers=()),
    Bad("two content types", 415, "unsupported_media_type", body(GOOD), headers=(*JSON, *JSON)),
    Bad("gzip", 415, "unsupported_encoding", gzip.compress(body(GOOD)), headers=GZIP),
    Bad("bomb", 415, "unsupported_encoding", gzip.compress(b"0" * 10_000_000), headers=GZIP),
    Bad("long headers", 431, "headers_too_large", headers=(*JSON, (b"x", b"S3CRET" * 7_000))),
    *(
        Bad(name, 405, "method_not_allowed", method=method, path=path)
        for name, (method, path) in WRONG_METHOD.items()
    ),
    Bad(
        "method override",
        405,
        "method_not_allowed",
        body(GOOD),
        method="GET",
        headers=(*JSON, (b"x-http-method-override", b"POST")),
    ),
    *(Bad(name, 404, "not_found", body(GOOD), path=path) for name, path in NO_PATH.items()),
]
