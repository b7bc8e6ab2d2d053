"""Answers for everyone at once: the approved version over the newest features, as one file."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.consent import allowed
from features.cutoffs import Moments
from features.errors import ConfigError, DataError
from features.progress import Progress
from features.publishing import publication_moment
from features.settings import Workspace, code_fingerprint, fingerprint
from features.snapshot import build_features, read_features
from features.store import Published, publish
from features.tables import Stored, Tables, build_tables
from serving import groups
from training import predictions, suggestions, tracker, versions
from training.bundle import Loaded
from training.pipeline import AnyPlan, load_plan
from training.recommend.asof import read_lines
from training.recommend.bundle import ListsBundle
from training.supervised.bundle import Bundle

log = logging.getLogger("perennial")

CUSTOMERS_A_SHARD = 50_000
OWNER = "customer"
"""Column of lists that says whose they are: a customer has several lines."""
LEAST_AUDIENCE = 20
"""Fewer customers than this could be told apart: such a list is not written."""
STAGES = (("tables", 10.0), ("features", 10.0), ("answers", 20.0), ("write", 2.0))
FILE = "answers.parquet"
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class Scored:
    """What was written."""

    path: Path
    customers: int
    as_of: datetime
    version: int
    withheld: int
    """Customers left out because they did not consent to the purpose."""


@dataclass(frozen=True)
class Scoring:
    """An approved version with the tables it is to answer from, as of a moment."""

    model: str
    granted: versions.Approved
    loaded: Loaded
    plan: AnyPlan
    stored: Stored
    moment: datetime

    @property
    def head(self) -> dict[str, Any]:
        """Columns that every line of a file carries."""
        as_of, version = f"{self.moment:%Y-%m-%d}", self.granted.version
        return {"as_of": as_of, "model": self.model, "version": version}


def scoring(place: Workspace, model: str, number: int | None, as_of: str | None) -> Scoring:
    """The approved version ``number`` (None = the champion), its pipeline's tables and the moment.

    Raises
    ------
    NotApproved, ConfigError, DataError
        As :func:`score`.
    """
    granted = versions.approved(place, model, number)
    loaded = versions.bundle_at(place, granted.folder)
    settings = tracker.review_folder(place, model, granted.version) / "config.resolved.yaml"
    plan = load_plan(place, settings)
    stored = build_tables(place, plan.source).consenting(plan.config.consent)
    return Scoring(model, granted, loaded, plan, stored, publication_moment(stored, as_of))


def score(
    place: Workspace,
    model: str,
    out: Path,
    *,
    number: int | None = None,
    as_of: str | None = None,
    reasons: int = 0,
    purpose: str | None = None,
    channel: str | None = None,
) -> Scored:
    """Answer for every customer that the question asks about, as of ``as_of``.

    The version's own pipeline, from its review pack, says which tables, features and customers. A
    killed call goes on where it stopped; ``out`` appears whole or not at all.

    Parameters
    ----------
    model
        Registered name.
    out
        ``.csv`` or ``.parquet``: one row per customer under the source's own id; of lists one row
        per item.
    number
        An approved version; None = the champion.
    as_of
        Date up to which the past is looked at; None = the end of the source's data.
    reasons
        How many reasons to say in words for each customer.
    purpose
        Keep only customers whose consent for this purpose is in force, as
        :func:`features.consent.allowed`. Such a list is an audience of at least 20 customers, as is
        every tier, segment, stage or suggested action in it; its reasons are themes without values.
    channel
        Channel of that consent; None asks for one that is not tied to a channel.

    Raises
    ------
    NotApproved
        If no reviewer approved the version.
    ConfigError
        If the file's kind is unknown, or the date lies outside the data.
    DataError
        If the bundle is not what was approved, nobody is asked, an audience is too small, or the
        source brings no consents.
    """
    check_name(out)
    progress = Progress(f"answers of {model}", STAGES)
    with progress.stage("tables"):
        version = scoring(place, model, number, as_of)
    stored, plan, loaded, moment = version.stored, version.plan, version.loaded, version.moment
    with progress.stage("features"):
        features = build_features(place, stored, plan.config, Moments((), moment))
    with stored.open(plan.config.sample) as tables:
        asked = kept = _asked(tables, plan, moment)
        if purpose is not None:
            kept = asked & consenting(tables, moment, purpose, channel)
        rows = _rows(loaded, tables, features, moment)
    rows = rows[rows[c.CUSTOMER].isin(kept)].sort_values(c.CUSTOMER, ignore_index=True)
    if rows.empty and purpose is None:
        raise DataError(
            f"{model}: nobody is asked about at {moment:%Y-%m-%d}; give another --as-of"
        )
    with progress.stage("answers"):
        # Feature rows or purchase lines: what was asked with is told by both contents.
        if purpose is not None and any("reason" in one.when for one in plan.config.suggest):
            reasons = max(reasons, 1)
        made_of = (version.granted.digest, stored.published.content, features.content, str(moment))
        grouped = purpose is not None
        key = fingerprint(*made_of, code_fingerprint("training", "serving"), reasons, grouped)
        answers = _answers(place, model, key, loaded, rows, reasons, grouped, progress)
    if purpose is not None:
        answers = _audience(version, answers, purpose, len(asked))
    customers = answers[c.CUSTOMER].nunique()
    with progress.stage("write"):
        number = version.granted.version
        if purpose is None:  # an audience is not like everyone: the ledger would judge it as such
            predictions.write_batch(place, model, number, loaded, moment, rows, answers)
        write(_named(answers, version), out)
    return Scored(out, customers, moment, number, len(asked) - len(kept))


def _audience(version: Scoring, answers: pd.DataFrame, purpose: str, asked: int) -> pd.DataFrame:
    """The answers as they leave the house: with what to do, in no group that tells people apart."""
    if (few := answers[c.CUSTOMER].nunique()) < LEAST_AUDIENCE:
        raise DataError(
            f"{version.model}: {few} of {asked} customers consent to {purpose!r} and have an "
            f"answer; a list of fewer than {LEAST_AUDIENCE} is not written, since they could be "
            "told apart"
        )
    if suggest := version.plan.config.suggest:
        answers[suggestions.COLUMN] = suggestions.suggested(answers, suggest)
    if isinstance(version.loaded, ListsBundle):
        return answers
    return groups.coarse(answers, LEAST_AUDIENCE)


def _asked(tables: Tables, plan: AnyPlan, moment: datetime) -> set[int]:
    spine = plan.task.spine(tables.asof((moment,)))
    return set(tables.backend.to_pyarrow(spine.select(c.CUSTOMER))[c.CUSTOMER].to_pylist())


def _rows(loaded: Loaded, tables: Tables, features: Published, moment: datetime) -> pd.DataFrame:
    """What the bundle is asked with: feature rows, or the interactions lists are made from."""
    if not isinstance(loaded, ListsBundle):
        return read_features(features.folder, [moment]).to_pandas()
    lines = read_lines(tables, moment, loaded.answer.interactions)
    return lines.assign(**{OWNER: lines[c.CUSTOMER].astype(str)})


def consenting(tables: Tables, moment: datetime, purpose: str, channel: str | None) -> set[int]:
    """Customers whose consent is in force."""
    found = allowed(tables.asof((moment,)), purpose, channel).select(c.CUSTOMER)
    return set(tables.backend.to_pyarrow(found)[c.CUSTOMER].to_pylist())


def _answers(
    place: Workspace,
    model: str,
    key: str,
    loaded: Loaded,
    rows: pd.DataFrame,
    reasons: int,
    grouped: bool,
    progress: Progress,
) -> pd.DataFrame:
    """Answers shard by shard, each published on its own: a killed call loses one at most."""
    names = [name for name, _ in loaded.inputs]
    everyone = rows[c.CUSTOMER].unique()
    total = -(-len(everyone) // CUSTOMERS_A_SHARD)
    shards = [pd.DataFrame({c.CUSTOMER: pd.Series(dtype="int64")})]
    for i in range(total):
        chosen = everyone[i * CUSTOMERS_A_SHARD : (i + 1) * CUSTOMERS_A_SHARD]
        part = rows[rows[c.CUSTOMER].isin(chosen)]
        customers = fingerprint(chosen.tolist())

        def answered(folder: Path, part: pd.DataFrame = part) -> dict[str, Any]:
            answers = loaded.predict_frame(part[names])
            owner = answers.pop(OWNER).astype("int64") if OWNER in answers else part[c.CUSTOMER]
            answers.insert(0, c.CUSTOMER, owner)
            if reasons and grouped and isinstance(loaded, Bundle):
                answers["reason"] = loaded.reason_groups(part[names])
            elif reasons and not grouped and "reason" not in answers:  # lists carry theirs
                said = loaded.reasons_frame(part[names], reasons)
                answers["reasons"] = ["; ".join(lines) for lines in said]
            pq.write_table(pa.Table.from_pandas(answers, preserve_index=False), folder / FILE)
            return {"rows": len(answers)}

        made = publish(place.store / "answers" / model, f"{key}-{customers}", answered)
        progress.step(i + 1, total, "shard")
        shards.append(pd.read_parquet(made.folder / FILE))
    return pd.concat(shards[min(total, 1) :], ignore_index=True)


def _named(answers: pd.DataFrame, version: Scoring) -> pd.DataFrame:
    """Under the source's own ids; highest answers first where they are numbers."""
    answers.insert(0, "source_id", answers.pop(c.CUSTOMER).map(version.stored.source_ids()))
    output = version.loaded.answer.output
    ranks = output in answers and pd.api.types.is_float_dtype(answers[output])
    by, rising = ([output, "source_id"], [False, True]) if ranks else (["source_id"], [True])
    ordered = answers.sort_values(by, ascending=rising, kind="stable", ignore_index=True)
    return ordered.assign(**version.head)


def check_name(out: Path) -> None:
    """Refuse a file of a kind that cannot be written.

    Raises
    ------
    ConfigError
        Naming the kinds.
    """
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"{out}: the name has to end with {' or '.join(SUFFIXES)}")


def write(answers: pd.DataFrame, out: Path) -> None:
    """Write a CSV or Parquet file that appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    if out.suffix == ".csv":
        answers.to_csv(partial, index=False)
    else:
        answers.to_parquet(partial, index=False)
    partial.replace(out)
