"""Times over HTTP: the same columns as in Python, and explanations of the answer."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from serving import base
from serving.guard import Guard
from serving.release import Release
from serving.replay import through_app
from serving.replies import reply_types
from tests.serving.asgi import ask, post
from tests.training.test_timing import bundle as unwritten
from tests.training.test_timing import fitted, people
from training import bundle as bundles
from training.categories import rows as as_rows
from training.keys import signing_key, verifying_key
from training.supervised.bundle import Bundle, write


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Guard, Bundle]:
    """A bundle that tells when, behind its routes."""
    root: Path = tmp_path_factory.mktemp("timing")
    made, golden = unwritten(fitted(*people(1_500, seed=1)))
    private = signing_key(root / "keys")
    write(made, golden, root / "bundle", private)
    loaded = bundles.load(root / "bundle", verifying_key(root / "keys"))
    assert isinstance(loaded, Bundle)
    assert loaded.replay() == 0.0
    said = Release(
        model="timing", version=3, digest=loaded.digest, reviewer="Ann", approved_at="2026-01-02"
    )
    return Guard(base.make_app(loaded, said), base.RULES), loaded


def test_times_come_back_as_recorded(served: tuple[Guard, Bundle]) -> None:
    """Chances, days and states, through JSON both ways; the description fits the replies."""
    app, loaded = served
    assert through_app(loaded, app) == 0.0
    assert loaded.golden is not None
    rows = as_rows(loaded.answer.columns, loaded.golden.X[:40])
    told = post(app, "/predict", rows).json
    TypeAdapter(reply_types(loaded.answer)[0]).validate_python(told)
    first = told["predictions"]
    assert [p["state"] for p in first] == loaded.golden.told["state"][:40].tolist()
    for p in first:
        assert p["chance_30d"] <= p["chance_60d"] <= p["chance"]
        assert p["earliest_in_days"] <= p["expected_in_days"] <= p["latest_in_days"] <= 90
    explained = post(app, "/explain", rows).json
    TypeAdapter(reply_types(loaded.answer)[1]).validate_python(explained)
    for row in explained["explanations"]:
        assert "value" not in row
        moved = sum(item["contribution"] for item in row["contributions"])
        assert row["base"] + moved == pytest.approx(row["score"], abs=1e-4)
        assert row["sum_check"] < 1e-4
    units = {d["name"]: d["unit"] for d in ask(app, "GET", "/model").json["details"]}
    assert units["expected_in_days"] == "days"
    assert np.isfinite([p["mean_days_of_90"] for p in first]).all()
