"""The catalogue: every column of every feature set with all that is declared about it."""

import csv
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from features.compute import FeatureSet
from features.errors import ConfigError
from features.pages import page
from features.schema import FeatureColumn
from features.settings import Part, resolve
from features.snapshot import SETS, FeaturePlan, feature_sets
from features.themes import theme_of

Entry = dict[str, str]
SEARCHED = ("column", "unit", "meaning")
SHOWN = ("column", "type", "unit", "window", "meaning", "missing means")
"""What fits a terminal; files have everything."""


def discover(home: str = SETS, having: str = "build") -> list[str]:
    """``file.Class`` of every part below ``home``: of the classes with such a method."""
    package = importlib.import_module(home)
    found = []
    for info in pkgutil.walk_packages(package.__path__, f"{home}."):
        module = importlib.import_module(info.name)
        found += [
            f"{info.name.removeprefix(f'{home}.')}.{name}"
            for name, cls in vars(module).items()
            if inspect.isclass(cls) and cls.__module__ == info.name and hasattr(cls, having)
            if not name.startswith("_")  # what parts are made of
        ]
    return sorted(found)


def every_set() -> tuple[dict[str, FeatureSet], list[str]]:
    """Every set with its defaults, and the names of those whose config has to name columns."""
    sets, unset = {}, []
    for use in discover():
        try:
            sets[use] = resolve(SETS, Part(use=use))
        except ConfigError:
            unset.append(use)
    return sets, unset


def sets_of(plan: FeaturePlan) -> dict[str, FeatureSet]:
    """The sets of a pipeline, with its configs; one that is listed again is told by its number."""
    named: dict[str, FeatureSet] = {}
    for part, made in zip(plan.features, feature_sets(plan), strict=True):
        again = sum(name.split(" ")[0] == part.use for name in named)
        named[f"{part.use} {again + 1}" if again else part.use] = made
    return named


def entries(sets: Mapping[str, FeatureSet]) -> list[Entry]:
    """One entry per column, in the order of sets and declarations."""
    return [_entry(use, part, column) for use, part in sets.items() for column in part.columns()]


def _entry(use: str, part: FeatureSet, column: FeatureColumn) -> Entry:
    limits = {"at least": column.low, "at most": column.high}
    bounds = [f"{words} {value:g}" for words, value in limits.items() if value is not None]
    return {
        "column": column.name,
        "type": "category" if column.dtype == "string" else "number",
        "unit": column.unit,
        "window": "whole past" if column.window_days is None else f"{column.window_days} days",
        "meaning": column.meaning,
        "missing means": column.missing,
        "without rows": "missing" if column.fill is None else f"{column.fill:g}",
        "theme": theme_of(column),
        "more of it": f"{column.buying} buying" if column.buying else "not declared",
        "bounds": ", ".join(bounds) or "none",
        "owner": column.owner,
        "leak class": column.leak,
        "sensitivity": column.sensitivity,
        "set": use,
        "reads": ", ".join(part.reads),
    }


def find(found: Sequence[Entry], words: str) -> list[Entry]:
    """Entries that have all of ``words`` in name, unit or meaning; those named so come first."""
    wanted = words.lower().split()
    hits = [
        entry
        for entry in found
        if all(any(word in entry[field].lower() for field in SEARCHED) for word in wanted)
    ]
    return sorted(hits, key=lambda entry: -sum(word in entry["column"].lower() for word in wanted))


def write_html(found: Sequence[Entry], path: Path) -> None:
    """One self-contained page with a search box."""
    sets = len({entry["set"] for entry in found})
    text = [
        f"{len(found)} columns of {sets} feature sets. A window of 90 days before a cutoff t is "
        "[t - 90 days, t). Numbers in currency are in the source's own.",
        "Leak class: as of = computed from rows known before the cutoff; declared = said by the "
        "source in the version known then; model = said by an approved model before then.",
        "Sensitivity: personal says who somebody is; audit is for fairness reports and kept out "
        "of training.",
    ]
    path.write_text(page("Feature catalogue", text, found), encoding="utf-8")


def write_csv(found: Sequence[Entry], path: Path) -> None:
    """The entries as they are."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(found[0]) if found else ["column"])
        writer.writeheader()
        writer.writerows(found)
