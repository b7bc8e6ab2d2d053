"""What stands beside one service's answer on the page of a customer: the others' answers, the past.

The others are the services of the same process (``serve --all``). The past is what the published
profile dates: moments, and what was counted period by period.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np

from features.online import Profile
from features.schema import FeatureColumn
from serving.lookup import Found, Lookup
from serving.refused import Refused
from serving.told import ToldBundle
from training import categories
from training.bundle import Loaded
from training.contract import Floats
from training.sentences import figures
from training.supervised.bundle import Bundle

_SINCE = "time since "
_PERIOD = re.compile(r"periods__(\w+)_p(\d+)")
ALONE = "this process serves no other model; `serve --all` serves all of them"
NO_HISTORY = "lists are made of what was bought, which profiles do not hold: ask /recommend"
NO_PROFILES = "no published profiles fit this model"


@dataclass(frozen=True)
class Beside:
    """Another service of the same process."""

    model: str
    bundle: Loaded
    lookup: Lookup | None

    def says(self, source_id: str) -> str:
        """Its answer for the customer in a line, or why there is none."""
        if not self.bundle.answer.columns:
            return NO_HISTORY
        if self.lookup is None or self.lookup.profiles is None:
            return NO_PROFILES
        try:
            return said(self.bundle, row_of(self.bundle, self.lookup, source_id)[0])
        except Refused:
            return NO_PROFILES


def row_of(bundle: Loaded, lookup: Lookup, source_id: str) -> tuple[Floats, Found]:
    """The customer's published row, shape (1, n_features), and as it was found.

    Raises
    ------
    Refused
        As :meth:`serving.lookup.Lookup.found`.
    """
    found = lookup.found([source_id])
    codes = {k.name: categories.codes(k) for k in bundle.answer.columns if k.dtype == "string"}
    row = found.rows[0].items()
    values = [codes[name].get(value) if name in codes else value for name, value in row]
    return np.array([values], dtype=np.float64), found


def said(bundle: Loaded, X: Floats) -> str:
    """The answer to one row in a line."""
    if bundle.answer.kind == "lifecycle":
        (told,) = cast(ToldBundle, bundle).told(X)
        return (
            f"stage: {told['stage']}, for {told['periods_in_stage']:.0f} periods; state "
            f"{told['state']} ({told['state_name']}), probability {told['probability']:.2f}"
        )
    if bundle.answer.kind == "segments":
        (told,) = cast(ToldBundle, bundle).told(X)
        return f"segment {told['segment']}: {told['name']}, confidence {told['confidence']:.2f}"
    assert isinstance(bundle, Bundle), "lists have no columns"
    answers, scores = bundle.predict(X)
    told = {name: column[0] for name, column in bundle.tell(X, answers, scores).items()}
    words = [f"{name} {value}" for name, value in told.items() if isinstance(value, str)]
    first = f"{bundle.answer.output}: {figures(answers[0])[0]} {bundle.answer.said_unit}"
    return ", ".join([first, *words])


def timeline(profile: Profile, columns: Iterable[FeatureColumn]) -> list[tuple[str, str]]:
    """Dates and what happened, the newest first, as far as the published columns date it."""
    moments: list[tuple[datetime, str]] = []
    periods: dict[tuple[int, int], list[str]] = {}
    for column in columns:
        value: Any = profile.values[column.name]
        period = _PERIOD.fullmatch(column.name)
        if value is None:
            continue
        if column.unit == "days" and column.meaning.startswith(_SINCE):
            happened = profile.cutoff - timedelta(days=float(value))
            moments.append((happened, column.meaning.removeprefix(_SINCE)))
        elif period and column.window_days and value:
            counted = periods.setdefault((column.window_days, int(period[2])), [])
            counted.append(f"{value:g} {period[1].replace('_', ' ')}")
    for (reach, k), counted in periods.items():
        began = profile.cutoff - timedelta(days=reach)
        moments.append((began, f"{', '.join(counted)} in {reach // (k + 1)} days from here"))
    moments.sort(key=lambda moment: (-moment[0].timestamp(), moment[1]))
    return [(f"{moment:%Y-%m-%d}", text) for moment, text in moments]
