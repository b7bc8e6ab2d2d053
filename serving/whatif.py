"""What if: a customer as asked and with some values changed, and what the change moves."""

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from serving.histories import once
from serving.refused import Refused
from serving.rows import STRICT, Asked, RowReader, first_error, refusal
from training import categories
from training.supervised.bundle import Bundle


class Numbers(BaseModel):
    """Answer and score of one side."""

    model_config = STRICT

    answer: float
    """As ``/predict`` gives it."""
    score: float
    """Before calibration."""


class Moved(BaseModel):
    """What a column adds to the score with the changes, less what it adds without them."""

    model_config = STRICT

    feature: str
    before: float | str | None
    after: float | str | None
    difference: float


class WhatIf(BaseModel):
    """The reply of ``/what-if``."""

    model_config = STRICT

    model: str
    version: int
    cutoff: str
    request_id: str
    output: str
    """What ``answer`` is."""
    space: str
    """What scores and differences are measured in."""
    before: Numbers
    after: Numbers
    differences: list[Moved]
    """Columns that change what they add, largest first; base and they add up to the change."""
    base: float
    """How far the base moves; 0 where it is the same for everyone."""
    sum_check: float
    """|base + differences - change of the score|."""
    warnings: list[str]


class _Body(BaseModel):
    model_config = STRICT

    of: dict[str, Any]
    changes: dict[str, float | str | None]


def schema(reader: RowReader) -> dict[str, Any]:
    """JSON schema of a body: a request for one customer, and the columns to change."""
    of, row = reader.schema(), reader.row_schema()
    for form in of.get("oneOf", [of]):
        for name in ("rows", "customers"):
            if name in form["properties"]:
                form["properties"][name]["maxItems"] = 1
    changes = {**row, "required": [], "minProperties": 1, "title": "Changes"}
    return {
        "type": "object",
        "properties": {"of": of, "changes": changes},
        "required": ["of", "changes"],
        "additionalProperties": False,
    }


def example(reader: RowReader) -> dict[str, Any]:
    """A body that is answered."""
    of = reader.example()
    name, value = next(iter(of["rows"][0].items()))
    return {"of": of, "changes": {name: value}}


def read(reader: RowReader, body: bytes) -> Asked:
    """Two rows: the customer as asked, and with the changes.

    Raises
    ------
    Refused
        As the reader refuses rows; 422 where it is not one customer, or nothing changes.
    """
    try:
        said = _Body.model_validate(json.loads(body, object_pairs_hook=once))
    except ValidationError as error:
        first = first_error(error)
        raise refusal(first) from None
    except (ValueError, RecursionError):
        raise Refused(400, "unreadable_body", "the body is not JSON, or repeats a name") from None
    asked = reader.read(json.dumps(said.of).encode())  # also of integers beyond 64 bits
    if len(asked.X) != 1 or not said.changes:
        text = "one customer is asked about, and one change at least"
        raise Refused(422, "invalid_body", text)
    (row,) = categories.rows(reader.known, asked.X)
    changed = reader.read(json.dumps({"rows": [{**row, **said.changes}]}).encode())
    warnings = list(dict.fromkeys([*asked.warnings, *changed.warnings]))
    return Asked(np.vstack([asked.X, changed.X]), warnings)


def told(bundle: Bundle, asked: Asked, answers: list[float], scores: list[float]) -> dict[str, Any]:
    """Both sides and what lies between them; the rows are those of :func:`read`."""
    found, answer = bundle.explain(asked.X), bundle.answer
    moved = found.contributions[1] - found.contributions[0]
    base = float(found.base[1] - found.base[0])
    before, after = categories.rows(answer.columns, asked.X)
    order = np.argsort(-np.abs(moved), kind="stable")
    return {
        "output": answer.output,
        "space": answer.space,
        "before": {"answer": answers[0], "score": scores[0]},
        "after": {"answer": answers[1], "score": scores[1]},
        "differences": [
            {
                "feature": name,
                "before": before[name],
                "after": after[name],
                "difference": float(moved[j]),
            }
            for j, name in ((j, bundle.columns[j]) for j in order)
            if moved[j] != 0.0 or before[name] != after[name]
        ],
        "base": base,
        "sum_check": abs(base + float(moved.sum()) - (scores[1] - scores[0])),
        "warnings": asked.warnings,
    }
