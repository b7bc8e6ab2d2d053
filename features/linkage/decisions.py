"""What people said about doubtful pairs: an append-only file in the registry, and fitted weights.

A decision names customers by their internal numbers, which say nothing without the key.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.errors import ConfigError, DataError
from features.linkage.resolve import Decision
from features.settings import Workspace

EPOCH = datetime(1970, 1, 1)


def decisions(place: Workspace, source: str) -> list[Decision]:
    """What was decided about customers of ``source``, in the order of time.

    Raises
    ------
    DataError
        If a line is not what :func:`decide` writes.
    """
    path = _file(place, source)
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            found.append(Decision(**{k: v for k, v in json.loads(line).items() if k != "decided"}))
        except (ValueError, TypeError, AttributeError):
            raise DataError(f"{path}, line {number}: no decision; restore the file") from None
    return sorted(found, key=lambda k: (k.at, k.a, k.b))


def decide(place: Workspace, source: str, a: int, b: int, same: bool, at: datetime) -> Decision:
    """Append a decision about customers ``a`` and ``b`` that holds from ``at`` on, business time.

    Raises
    ------
    DataError
        If both are one customer.
    """
    if a == b:
        raise DataError("a decision is about two customers; these are one number")
    low, high = sorted((a, b))
    made = Decision(low, high, same, (at - EPOCH) // (EPOCH.resolution))
    path = _file(place, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"a": low, "b": high, "same": same, "at": made.at,
            "decided": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    with path.open("a") as stream:
        stream.write(json.dumps(said) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return made


def fitted_weights(place: Workspace, name: str | None) -> dict[str, Any] | None:
    """The weights in ``configs/data/<name>``; None where none are named.

    Raises
    ------
    ConfigError
        If the file is missing or no JSON object.
    """
    if name is None:
        return None
    path = place.configs / "data" / name
    try:
        weights = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"identity.weights: {path}: {error}; `python -m features identity SOURCE --fit` "
            "writes such a file"
        ) from None
    if not isinstance(weights, dict) or "comparisons" not in weights:
        raise ConfigError(f"identity.weights: {path}: not the settings of a fitted model")
    return weights


def _file(place: Workspace, source: str) -> Path:
    return place.registry / "identity" / f"{source}.jsonl"
