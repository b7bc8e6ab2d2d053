"""Customer values over HTTP: columns beside the answer, and factors that add up to the value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from serving import base
from serving.guard import Guard
from serving.release import Release
from serving.replay import through_app
from serving.replies import reply_types
from tests.serving.asgi import ask, post
from tests.training.test_value import bundle as unwritten
from training import bundle as bundles
from training.categories import rows as as_rows
from training.keys import signing_key, verifying_key
from training.supervised.bundle import Bundle, write


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Guard, Bundle]:
    """A bundle with details behind its routes."""
    root: Path = tmp_path_factory.mktemp("value")
    made, golden = unwritten()
    private = signing_key(root / "keys")
    write(made, golden, root / "bundle", private)
    loaded = bundles.load(root / "bundle", verifying_key(root / "keys"))
    assert isinstance(loaded, Bundle)
    said = Release(
        model="clv", version=3, digest=loaded.digest, reviewer="Ann", approved_at="2026-01-02"
    )
    return Guard(base.make_app(loaded, said), base.RULES), loaded


def asked(loaded: Bundle) -> list[dict[str, Any]]:
    """Golden rows as a request has them."""
    assert loaded.golden is not None
    return as_rows(loaded.answer.columns, loaded.golden.X[:8])


def test_recorded_columns_come_back(served: tuple[Guard, Bundle]) -> None:
    """Through JSON both ways, words included; and a changed one is noticed."""
    app, loaded = served
    assert through_app(loaded, app) == 0.0
    assert loaded.golden is not None
    reply = post(app, "/predict", asked(loaded)).json
    tier = [p["value_tier"] for p in reply["predictions"]]
    assert tier == loaded.golden.told["value_tier"][:8].tolist()
    TypeAdapter(reply_types(loaded.answer)[0]).validate_python(reply)
    recorded = next(iter(loaded.recorded()))
    whole = post(app, "/predict", recorded.body["rows"]).json
    whole["predictions"][2]["value_tier"] = "none"
    assert recorded.difference(whole) == float("inf")


def test_every_column_is_explained_on_the_model_page(served: tuple[Guard, Bundle]) -> None:
    """With its unit, the currency by its code."""
    app, loaded = served
    details = {d["name"]: d for d in ask(app, "GET", "/model").json["details"]}
    assert list(details) == [d.name for d in loaded.answer.told]
    assert details["clv_next_365d"]["unit"] == "EUR"
    assert details["p_alive"]["unit"] == "probability"


def test_factors_add_up_to_the_value_in_currency(served: tuple[Guard, Bundle]) -> None:
    """Row by row, each with a sentence, the largest first; themes add up to each factor."""
    app, loaded = served
    rows = asked(loaded)
    predictions = post(app, "/predict", rows).json["predictions"]
    reply = post(app, "/explain", rows).json
    TypeAdapter(reply_types(loaded.answer)[1]).validate_python(reply)
    for told, explained in zip(predictions, reply["explanations"], strict=True):
        value = explained["value"]
        moved = [f["contribution"] for f in value["factors"]]
        assert value["usual"] + sum(moved) == pytest.approx(told[value["of"]], rel=1e-9)
        assert np.all(np.diff(np.abs(moved)) <= 0)
        assert all("EUR" in f["text"] for f in value["factors"])
        for factor in value["factors"]:
            columns = sum(factor["themes"].values()) + factor["common"]
            assert columns == pytest.approx(factor["contribution"], rel=1e-9, abs=1e-9)
            assert all("EUR" in said for said in factor["reasons"])
