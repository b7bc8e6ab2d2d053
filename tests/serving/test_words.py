"""Amounts and words over HTTP: an expected value with its unit, categories by their words."""

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from features.schema import FeatureColumn
from serving import base
from serving.guard import Guard
from serving.release import Release
from serving.replay import through_app
from tests.serving.asgi import JSON, post
from tests.serving.asgi import ask as send
from training import bundle as bundles
from training import categories
from training.calibrate import Calibrator
from training.contract import matrix
from training.keys import signing_key, verifying_key
from training.model_part import ModelPart
from training.models.gbm import Tweedie, TweedieConfig
from training.supervised import bundle as supervised
from training.supervised.bundle import Answer, Bundle

DECLARED = (
    FeatureColumn(name="rfm__recency_days", unit="days", meaning="recency", missing="no order"),
    FeatureColumn(
        name="customers__region", dtype="string", unit="category", meaning="region",
        missing="not said",
    ),
    FeatureColumn(name="orders__spend_365d", unit="currency", meaning="spend", missing="never"),
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A signed bundle that expects spend; half of the regions spend thrice as much."""
    rng = np.random.default_rng(0)
    regions = np.array(['north "up"', "s{o}uth", "east", "west", None], object)
    frame = pd.DataFrame({
        "rfm__recency_days": rng.gamma(2, 40, 800),
        "customers__region": regions[rng.integers(0, 5, 800)],
        "orders__spend_365d": rng.lognormal(4, 1, 800),
    })  # fmt: skip
    frame.loc[:4, "customers__region"] = ["islands", "islands", "moon", "abroad", "abroad"]
    rich = frame["customers__region"].isin(["east", "west"]).to_numpy()
    y = frame["orders__spend_365d"].to_numpy() * np.where(rich, 3, 1) * rng.gamma(2, 0.5, 800) / 4
    columns = categories.learned(DECLARED, frame)
    X = categories.encoded(frame, columns)
    model = Tweedie(TweedieConfig(trees=60, min_child_weight=2))
    model.fit(X, y, weight=None, seed=1)
    answer = Answer(
        task="spend", question="How much in 90 days?", kind="amount", output="expected_spend",
        unit="currency", space=model.space,
        model=ModelPart(use="gbm.Tweedie", config={"trees": 60}), columns=columns, threshold=None,
        cutoff="2011-09-10", horizon_days=90, source="random", currency="GBP", run_key="test",
    )  # fmt: skip
    root = tmp_path_factory.mktemp("amounts")
    made = Bundle(answer, model, Calibrator("factor", {"log": (0.1,)}, 0.2))
    values = matrix(X, made.columns)
    supervised.write(made, values[:60], root / "bundle", signing_key(root / "keys"))
    return bundles.load(root / "bundle", verifying_key(root / "keys"))


@pytest.fixture(scope="module")
def app(bundle: Bundle) -> Guard:
    """The app of that bundle behind its guard."""
    release = Release(
        model="spend", version=1, digest=bundle.digest, reviewer="Ann", approved_at="2026-01-02"
    )
    return Guard(base.make_app(bundle, release), base.RULES)


def row(region: Any = "east", **more: Any) -> dict[str, Any]:
    """A row that works."""
    return {
        "rfm__recency_days": 12.0, "customers__region": region, "orders__spend_365d": 90.0, **more
    }  # fmt: skip


def ask(app: Guard, path: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """The reply to ``rows``."""
    reply = post(app, path, list(rows))
    assert reply.status == 200, reply.body
    return dict(reply.json)


def test_golden_rows_are_answered_as_when_learned(bundle: Bundle, app: Guard) -> None:
    """In process, from words in a frame, and over HTTP, where requests carry the words."""
    assert bundle.golden is not None
    assert bundle.replay() <= bundles.TOLERANCE
    frame = categories.frame(bundle.answer.columns, bundle.golden.X)
    assert frame["customers__region"].dtype == object
    found = bundle.predict_frame(frame)["expected_spend"].to_numpy()
    assert np.abs(found - bundle.golden.prediction).max() <= bundles.TOLERANCE
    assert through_app(bundle, app) <= bundles.TOLERANCE


def test_a_reply_says_the_value_and_its_unit(app: Guard) -> None:
    """No threshold, no decision; the factor and the season are in the value, not in the score."""
    reply = ask(app, "/predict", row(), row("s{o}uth"))
    assert reply["unit"] == "GBP"
    assert "threshold" not in reply
    east, south = reply["predictions"]
    assert set(east) == {"expected_spend", "score"}
    assert east["expected_spend"] == pytest.approx(np.exp(east["score"] + 0.3))
    assert east["expected_spend"] > 1.5 * south["expected_spend"]
    told = send(app, "GET", "/model").json
    assert (told["answers"], told["unit"], told["threshold"]) == ("amount", "GBP", None)
    assert told["columns"][1]["levels"][-1] == "other"


def test_explanations_show_the_word_in_one_column(app: Guard) -> None:
    """Value and sentence say the word; base and contributions add up to the score."""
    told = ask(app, "/explain", row('north "up"'))["explanations"][0]
    assert told["sum_check"] < 1e-5
    parts = {part["feature"]: part for part in told["contributions"]}
    assert set(parts) == {column.name for column in DECLARED}
    region = parts["customers__region"]
    assert region["value"] == 'north "up"'
    assert "north" in region["text"]
    assert region["contribution"] < 0


def test_rare_words_count_together_and_unknown_ones_as_missing(app: Guard) -> None:
    """A word never learned is answered like none, with a warning that does not repeat it."""
    rare, other, unknown, none = (row(w) for w in ("moon", "abroad", "secret-town", None))
    reply = ask(app, "/predict", rare, other, unknown, none)
    scores = [p["score"] for p in reply["predictions"]]
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]
    assert reply["warnings"] == ["rows[2].customers__region: not learned, counts as missing"]
    assert "secret" not in orjson.dumps(reply).decode()
    assert ask(app, "/explain", row("moon"))["explanations"][0]["contributions"]
    many = ask(app, "/predict", *[unknown] * 30)["warnings"]
    assert len(many) == 21
    assert many[-1] == "and 10 more"


@pytest.mark.parametrize(
    ("region", "spend", "status", "code"),
    [
        (b'"customers__region": 3', b"1", 422, "invalid_field"),
        (b'"customers__region": "b", "rfm__recency_days": "a"', b"1", 422, "invalid_field"),
        (b'"customers__region": "b"', b"null", 422, "invalid_field"),
        (b'"customers__region": "x", "customers__region": "y"', b"1", 400, "repeated_name"),
        (b'"customers__region": null, "customers__region": null', b"1", 400, "repeated_name"),
        (b'"customers__region": "x", "y": "customers"', b"1", 422, "unknown_field"),
        (b'"region": "x"', b"1", 422, "missing_field"),
        (b'"customers__region": "' + b"x" * 300 + b'"', b"1", 422, "invalid_field"),
        (b'"customers__region": "x', b"1", 400, "unreadable_body"),
    ],
)
def test_bad_rows_are_refused(
    app: Guard, region: bytes, spend: bytes, status: int, code: str
) -> None:
    """Names are counted although values may be words with braces, quotes and colons in them."""
    head = b'{"rows": [{"rfm__recency_days": 1, '
    body = head + region + b', "orders__spend_365d": ' + spend + b"}]}"
    reply = send(app, "POST", "/predict", body, JSON)
    assert (reply.status, reply.json["code"]) == (status, code), reply.body


@pytest.mark.parametrize("word", ['a": "b', "{", '"', "\\", ':"', "}, {", "\u00e9"])
def test_any_word_may_be_sent(app: Guard, word: str) -> None:
    """Whatever it holds, it is a word that was not learned, and no row is refused for it."""
    reply = ask(app, "/predict", row(word), row(word))
    assert len(reply["warnings"]) == 2


def test_the_published_schema_lists_the_words(app: Guard, bundle: Bundle) -> None:
    """A text or null, with the learned words in its description and one as its example."""
    spec = send(app, "GET", "/openapi.json").json
    content = spec["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    field = content["schema"]["properties"]["rows"]["items"]["properties"]["customers__region"]
    assert "s{o}uth" in field["description"]
    assert content["example"]["rows"][0].keys() == set(bundle.columns)
    assert post(app, "/predict", content["example"]["rows"]).status == 200


def test_codes_and_words_by_hand() -> None:
    """The commonest word first, rare ones together, unknown ones missing."""
    column = categories.learned(DECLARED, pd.DataFrame({"customers__region": ["a"] * 30 + ["b"]}))[
        1
    ]
    assert (column.levels, column.rare) == (("a", "other"), ("b",))
    frame = categories.encoded(
        pd.DataFrame({column.name: ["b", "a", "c", None, "other"]}), [column]
    )
    assert frame[column.name].cat.codes.tolist() == [1, 0, -1, -1, 1]
    assert categories.words(column, np.array([1.0, 0.0, np.nan])) == ["other", "a", None]
