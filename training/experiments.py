"""Experiments side by side: finished runs as objects, compared, ranked, and made again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from features.errors import ConfigError, DataError
from features.settings import Workspace
from features.store import scratch
from training.gates import CANDIDATE, CHAMPION, failed
from training.record import Entry, Record, champion, last_decision
from training.report import Section, page, text_table
from training.tracker import review_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SETTINGS = 200


@dataclass(frozen=True)
class Version:
    """A registered version as its review pack tells it."""

    model: str
    number: int
    pack: Path
    """Folder of the review pack."""
    status: str
    """``champion``, ``approved``, ``rejected`` or ``not reviewed``."""
    registered: str
    """When it was registered."""
    digest: str
    """SHA-256 of the bundle's manifest."""

    def __repr__(self) -> str:
        return f"{self.name} ({self.status}), pack in {self.pack}"

    @property
    def name(self) -> str:
        """Such as ``churn:3``."""
        return f"{self.model}:{self.number}"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Tidy: answer, metric, value, ci_low, ci_high."""
        return pd.read_csv(self.pack / "metrics.csv")

    @property
    def own(self) -> pd.DataFrame:
        """The metrics of the version itself, beside none."""
        return self.metrics[self.metrics["answer"] == CANDIDATE]

    @cached_property
    def gates(self) -> pd.DataFrame:
        """Every demand with what was found."""
        return pd.DataFrame(json.loads((self.pack / "gates.json").read_text()))

    @cached_property
    def settings(self) -> dict[str, str]:
        """Everything that may make it differ from another: ``config.*``, ``data.*``, ``code.*``."""
        config = yaml.safe_load((self.pack / "config.resolved.yaml").read_text())
        data = json.loads((self.pack / "data.json").read_text())
        facts = {
            "data.tables": data["tables"]["content"],
            "data.features": data["features"]["content"],
            "code.lock": _digest(self.pack / "requirements.lock"),
        }
        return {f"config.{k}": v for k, v in _flat(config).items()} | facts

    def card(self) -> str:
        """The card, in Markdown."""
        return (self.pack / "CARD.md").read_text()


@dataclass(frozen=True)
class Comparison:
    """Versions side by side."""

    versions: tuple[Version, ...]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Tidy: version, metric, value, ci_low, ci_high of each version's own answers."""
        parts = [v.own.drop(columns="answer").assign(version=v.name) for v in self.versions]
        table = pd.concat(parts, ignore_index=True)
        return table[["version", "metric", "value", "ci_low", "ci_high"]]

    @cached_property
    def settings(self) -> pd.DataFrame:
        """What differs: setting, and its value in each version."""
        found = {v.name: v.settings for v in self.versions}
        names = sorted({name for settings in found.values() for name in settings})
        lines = [
            {"setting": name, **{v: settings.get(name, "not set") for v, settings in found.items()}}
            for name in names
        ]
        differs = [line for line in lines if len(set(list(line.values())[1:])) > 1]
        return pd.DataFrame(differs, columns=["setting", *found])

    @cached_property
    def beside(self) -> pd.DataFrame:
        """Metrics down, versions across, each as ``value [interval]``."""
        spans = zip(
            self.metrics["value"], self.metrics["ci_low"], self.metrics["ci_high"], strict=True
        )
        cells = [f"{v:.4f} [{low:.4f}, {high:.4f}]" for v, low, high in spans]
        wide = self.metrics.assign(cell=cells).pivot_table(
            index="metric", columns="version", values="cell", aggfunc="first", sort=False
        )
        return wide[[v.name for v in self.versions]].fillna("not measured").reset_index()

    @property
    def notes(self) -> list[str]:
        """What keeps the numbers from being comparable at a glance."""
        own = {v.settings.get("config.data", ""): v.name for v in self.versions}
        cutoffs = {v.settings.get("config.cutoffs.test", "") for v in self.versions}
        tables = {v.settings["data.tables"] for v in self.versions}
        notes = ["Intervals are each version's own; those of a difference are narrower."]
        if len(own) > 1:
            notes.append(f"The sources differ ({', '.join(own)}): no number is comparable.")
        elif len(tables) > 1 or len(cutoffs) > 1:
            notes.append("Data or test cutoff differ: the versions were judged on other customers.")
        return notes

    def plot(self) -> "Figure":
        """Each metric with its interval, one row a version."""
        from training.plots import intervals

        return intervals(self.metrics)

    def write(self, folder: Path) -> None:
        """``metrics.csv``, ``settings.csv``, ``metrics.png`` and ``compare.html`` in ``folder``."""
        from training.plots import save

        save(folder, "metrics", self.metrics, self.plot())
        self.settings.to_csv(folder / "settings.csv", index=False)
        title = "Compared: " + ", ".join(v.name for v in self.versions)
        differing = self.settings if len(self.settings) else None
        text = ["What differs between the runs."] if len(self.settings) else ["Nothing differs."]
        sections = [
            Section("Test cutoff, value [95 % interval]", self.notes, self.beside, ("metrics",)),
            Section("Settings, data and code", text, differing),
        ]
        (folder / "compare.html").write_text(page(title, sections, folder))

    def __repr__(self) -> str:
        return "\n".join(
            [*self.notes, text_table(self.beside), "", text_table(self.settings[:MOST_SETTINGS])]
        )

    def _repr_html_(self) -> str:
        return f"{self.beside.to_html(index=False)}{self.settings.to_html(index=False)}"


def versions(place: Workspace, model: str | None = None) -> list[Version]:
    """All registered versions, by model and number."""
    entries = Record(place).entries(model)
    return [
        _version(place, entries, e) for e in sorted(entries, key=_order) if e.event == "registered"
    ]


def version(place: Workspace, name: str) -> Version:
    """The version that ``name`` names: ``churn:3``, or ``churn`` for the newest.

    Raises
    ------
    ConfigError
        If there is no such version.
    """
    model, _, number = name.partition(":")
    entries = Record(place).entries(model)
    registered = [e for e in entries if e.event == "registered" and number in ("", str(e.version))]
    if not registered:
        known = sorted({e.model for e in Record(place).entries()})
        raise ConfigError(
            f"no version {name!r} in {place.registry}; models there: {', '.join(known) or 'none'}"
        )
    return _version(place, entries, registered[-1])


def compare(place: Workspace, names: Sequence[str]) -> Comparison:
    """The versions that ``names`` name, side by side."""
    return Comparison(tuple(version(place, name) for name in names))


def leaderboard(found: Sequence[Version]) -> pd.DataFrame:
    """Tidy: one line per version and metric, with what the version is and where it stands."""
    lines = []
    for v in found:
        about = {
            "model": v.model, "version": v.number, "status": v.status,
            "data": v.settings.get("config.data", ""),
            "use": v.settings.get("config.model.use", v.settings.get("config.task.use", "")),
            "gates": "failed" if failed(v.gates.to_dict("records")) else "passed",
            "registered": v.registered,
        }  # fmt: skip
        for line in v.own.itertuples():
            numbers = {"value": line.value, "ci_low": line.ci_low, "ci_high": line.ci_high}
            lines.append(about | {"metric": line.metric} | numbers)
    return pd.DataFrame(lines)


def ranked(board: pd.DataFrame) -> pd.DataFrame:
    """The board for people: one line per version, the metrics that gates speak of beside it."""
    cells = [
        f"{v:.4f} [{low:.4f}, {high:.4f}]"
        for v, low, high in zip(board["value"], board["ci_low"], board["ci_high"], strict=True)
    ]
    about = ["model", "version", "status", "data", "use", "gates", "registered"]
    to_the_minute = board["registered"].str[:16].str.replace("T", " ")
    wide = board.assign(cell=cells, registered=to_the_minute).pivot_table(
        index=about, columns="metric", values="cell", aggfunc="first", sort=False
    )
    return wide.fillna("").reset_index()


def write_leaderboard(board: pd.DataFrame, folder: Path) -> None:
    """``leaderboard.csv`` and ``leaderboard.html``, a section per question."""
    folder.mkdir(parents=True, exist_ok=True)
    board.to_csv(folder / "leaderboard.csv", index=False)
    text = "Each version on its own test cutoff; rows with other data are not comparable."
    sections = [
        Section(str(model), [text], ranked(part).replace("", "not measured"))
        for model, part in board.groupby("model", sort=True)
    ]
    (folder / "leaderboard.html").write_text(page("Leaderboard", sections, folder))


def rerun(place: Workspace, name: str) -> pd.DataFrame:
    """Make a version again from its record alone, in a store of its own, and compare.

    Nothing is registered.

    Returns
    -------
    DataFrame
        ``what``, ``then``, ``now``, ``same``: tables, features, bundle and each metric.

    Raises
    ------
    DataError
        If the pack lacks its settings.
    """
    from training.pipeline import load_plan
    from training.runs import learn, stages

    then = version(place, name)
    with scratch(place.store / "reruns") as work:
        path = work / f"{then.model}.yaml"
        path.write_text((then.pack / "config.resolved.yaml").read_text())
        apart = place.model_copy(update={"store": work / "store"})
        plan = load_plan(apart, path)
        progress = stages(plan)
        learned = learn(apart, plan, progress)
        with progress.stage("judge"):
            pack = learned.judged(apart, _opponent(place, then))
        now = replace(then, pack=pack.folder, status="made again", digest=learned.digest)
        return _differences(then, now)


def _differences(then: Version, now: Version) -> pd.DataFrame:
    lines = [{"what": "bundle", "then": then.digest, "now": now.digest}]
    lines += [
        {"what": what, "then": then.settings[what], "now": now.settings[what]}
        for what in ("data.tables", "data.features", "code.lock")
    ]
    values = then.metrics.merge(
        now.metrics, on=["answer", "metric"], suffixes=("_then", "_now"), how="outer"
    )
    lines += [
        {"what": f"{line.answer}: {line.metric}", "then": line.value_then, "now": line.value_now}
        for line in values.itertuples()
        if line.answer != CHAMPION
    ]
    table = pd.DataFrame(lines)
    return table.assign(same=table["then"] == table["now"])


def _opponent(place: Workspace, then: Version) -> Any:
    from training.versions import bundle_of

    entries = Record(place).entries(then.model)
    own = next(e for e in entries if e.event == "registered" and e.version == then.number)
    against = own.evidence["against_champion"]
    found = [e for e in entries if e.event == "registered" and e.digest == against]
    return bundle_of(place, found[-1]) if found else None


def _version(place: Workspace, entries: Sequence[Entry], entry: Entry) -> Version:
    own = [e for e in entries if e.model == entry.model]
    standing = champion(own)
    decided = last_decision(own, entry.version)
    status: str = decided.event if decided else "not reviewed"
    if standing is not None and standing.version == entry.version:
        status = CHAMPION
    pack = review_folder(place, entry.model, entry.version)
    return Version(entry.model, entry.version, pack, status, entry.time, entry.digest)


def _order(entry: Entry) -> tuple[str, int]:
    return entry.model, entry.version


def _digest(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: not in the pack; restore the registry folder from its backup")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flat(values: Any, name: str = "") -> dict[str, str]:
    """Nested settings as ``a.b.0.c`` -> text."""
    if isinstance(values, Mapping) and values:
        items: Any = values.items()
    elif isinstance(values, list) and values and not isinstance(values[0], (int, float, str)):
        items = ((_named(i, v), v) for i, v in enumerate(values))
    else:
        return {name: json.dumps(values) if not isinstance(values, str) else values}
    flat: dict[str, str] = {}
    for key, value in items:
        flat |= _flat(value, f"{name}.{key}" if name else str(key))
    return flat


def _named(position: int, value: Any) -> str:
    """A part of a list by what it uses, so that an added set does not shift the others."""
    return str(value["use"]) if isinstance(value, Mapping) and "use" in value else str(position)
