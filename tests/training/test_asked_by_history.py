"""A posted history gets the answer that the batch gives its customer."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow.parquet as pq

from features import columns as c
from features.posted import OURS
from features.settings import Workspace
from features.tables import build_tables
from serving import base, package
from serving.guard import Guard
from serving.histories import Histories
from serving.lookup import Lookup
from serving.release import Release
from serving.score import score
from tests.serving.asgi import JSON, ask
from tests.training.finished import MARKS
from training import versions
from training.pipeline import load_plan
from training.tracker import review_folder

pytestmark = MARKS
ASKED = 25


def test_history_is_answered_as_the_batch(decided: Workspace, tmp_path: Path) -> None:
    """Raw rows of customers over HTTP, by what the review pack says: the scored file's numbers."""
    done = score(decided, "churn", tmp_path / "churn.csv")
    scored = pd.read_csv(done.path, dtype={"source_id": str}).set_index("source_id")
    granted = versions.approved(decided, "churn")
    bundle = versions.bundle_at(decided, granted.folder)
    posted = package._posted(decided, granted, bundle)
    assert posted is not None
    columns = bundle.answer.columns
    lookup = Lookup(None, columns, "simulated", b"", Histories(posted, columns))
    statement = Release(
        model="churn", version=1, digest=bundle.digest, reviewer="A", approved_at="x", posted=posted
    )
    assert Release.model_validate_json(statement.model_dump_json()) == statement
    app = Guard(base.make_app(bundle, statement, lookup), base.RULES)
    plan = load_plan(decided, review_folder(decided, "churn", 1) / "config.resolved.yaml")
    stored = build_tables(decided, plan.source)
    names, histories = stored.source_ids(), defaultdict[str, list[dict[str, Any]]](list)
    for row in pq.read_table(stored.published.folder / "order_lines.parquet").to_pylist():
        own = {name: value for name, value in row.items() if name not in OURS}
        histories[names[row[c.CUSTOMER]]].append(own)
    for source_id in scored.index[:: max(1, len(scored) // ASKED)]:
        body = {"history": {"order_lines": histories[source_id]}, "as_of": f"{stored.end}"}
        reply = ask(app, "POST", "/predict", orjson.dumps(body), JSON)
        assert reply.status == 200, reply.body
        told = reply.json["predictions"][0]
        for name in ("churn_probability", "score"):
            assert abs(told[name] - scored.loc[source_id, name]) < 1e-12
