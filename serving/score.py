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
from features.online import publication_moment
from features.progress import Progress
from features.settings import Workspace, code_fingerprint, fingerprint
from features.snapshot import build_features, read_features
from features.store import Published, publish
from features.tables import Stored, Tables, build_tables
from training import review, track
from training.bundle import Loaded
from training.pipeline import AnyPlan, load_plan
from training.recommend.asof import read_lines

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
    rows: int
    as_of: datetime
    version: int
    withheld: int
    """Customers left out because they did not consent to the purpose."""


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
        :func:`features.consent.allowed`; such a list is an audience of at least 20 customers.
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
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"{out}: the name has to end with {' or '.join(SUFFIXES)}")
    granted = review.approved(place, model, number)
    loaded = review.bundle_at(place, granted.folder)
    settings = track.review_folder(place, model, granted.version) / "config.resolved.yaml"
    plan, progress = load_plan(place, settings), Progress(f"answers of {model}", STAGES)
    with progress.stage("tables"):
        stored = build_tables(place, plan.source)
    moment = publication_moment(stored, as_of)
    with progress.stage("features"):
        features = build_features(place, stored, plan.config, Moments((), moment))
    with stored.open(plan.config.sample) as tables:
        asked = kept = _asked(tables, plan, moment)
        if purpose is not None:
            kept = _consenting(tables, moment, purpose, channel, asked)
        rows = _rows(loaded, tables, features, moment)
    rows = rows[rows[c.CUSTOMER].isin(kept)].sort_values(c.CUSTOMER, ignore_index=True)
    if rows.empty and purpose is None:
        raise DataError(
            f"{model}: nobody is asked about at {moment:%Y-%m-%d}; give another --as-of"
        )
    with progress.stage("answers"):
        # Feature rows or purchase lines: what was asked with is told by both contents.
        made_of = (granted.digest, stored.published.content, features.content, str(moment))
        key = fingerprint(*made_of, code_fingerprint("training", "serving"), reasons)
        answers = _answers(place, model, key, loaded, rows, reasons, progress)
    if purpose is not None and (few := answers[c.CUSTOMER].nunique()) < LEAST_AUDIENCE:
        raise DataError(
            f"{model}: {few} of {len(asked)} customers consent to {purpose!r} and have an answer; "
            f"a list of fewer than {LEAST_AUDIENCE} is not written, since they could be told apart"
        )
    with progress.stage("write"):
        head = {"as_of": f"{moment:%Y-%m-%d}", "model": model, "version": granted.version}
        _write(_named(answers, stored, loaded, head), out)
    withheld = len(asked) - len(kept)
    return Scored(out, len(answers), moment, granted.version, withheld)


def _asked(tables: Tables, plan: AnyPlan, moment: datetime) -> set[int]:
    spine = plan.task.spine(tables.asof((moment,)))
    return set(tables.backend.to_pyarrow(spine.select(c.CUSTOMER))[c.CUSTOMER].to_pylist())


def _rows(loaded: Loaded, tables: Tables, features: Published, moment: datetime) -> pd.DataFrame:
    """What the bundle is asked with: feature rows, or the purchases that lists are made from."""
    if loaded.answer.columns:
        return read_features(features.folder, [moment]).to_pandas()
    lines = read_lines(tables, moment)
    return lines.assign(**{OWNER: lines[c.CUSTOMER].astype(str)})


def _consenting(
    tables: Tables, moment: datetime, purpose: str, channel: str | None, asked: set[int]
) -> set[int]:
    found = allowed(tables.asof((moment,)), purpose, channel).select(c.CUSTOMER)
    return asked & set(tables.backend.to_pyarrow(found)[c.CUSTOMER].to_pylist())


def _answers(
    place: Workspace,
    model: str,
    key: str,
    loaded: Loaded,
    rows: pd.DataFrame,
    reasons: int,
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

        def write(folder: Path, part: pd.DataFrame = part) -> dict[str, Any]:
            answers = loaded.predict_frame(part[names])
            owner = answers.pop(OWNER).astype("int64") if OWNER in answers else part[c.CUSTOMER]
            answers.insert(0, c.CUSTOMER, owner)
            if reasons and "reason" not in answers:  # lists carry theirs
                said = loaded.reasons_frame(part[names], reasons)
                answers["reasons"] = ["; ".join(lines) for lines in said]
            pq.write_table(pa.Table.from_pandas(answers, preserve_index=False), folder / FILE)
            return {"rows": len(answers)}

        made = publish(place.store / "answers" / model, f"{key}-{customers}", write)
        progress.step(i + 1, total, "shard")
        shards.append(pd.read_parquet(made.folder / FILE))
    return pd.concat(shards[min(total, 1) :], ignore_index=True)


def _named(
    answers: pd.DataFrame, stored: Stored, loaded: Loaded, head: dict[str, Any]
) -> pd.DataFrame:
    """Under the source's own ids; highest answers first where they are numbers."""
    answers.insert(0, "source_id", answers.pop(c.CUSTOMER).map(stored.source_ids()))
    output = loaded.answer.output
    ranks = output in answers and pd.api.types.is_float_dtype(answers[output])
    by, rising = ([output, "source_id"], [False, True]) if ranks else (["source_id"], [True])
    ordered = answers.sort_values(by, ascending=rising, kind="stable", ignore_index=True)
    return ordered.assign(**head)


def _write(answers: pd.DataFrame, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    if out.suffix == ".csv":
        answers.to_csv(partial, index=False)
    else:
        answers.to_parquet(partial, index=False)
    partial.replace(out)
