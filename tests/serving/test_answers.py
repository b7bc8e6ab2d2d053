"""What a service promises: recorded answers, its version, explanations that add up, its schema."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from serving import base
from serving.guard import Guard
from serving.release import Release
from serving.replies import ModelReply, RefusalReply, reply_types
from tests.serving.asgi import JSON, Reply, ask, post
from tests.serving.conftest import COLUMNS, GOLDEN_ROWS
from training.bundle import TOLERANCE
from training.supervised.bundle import Bundle
from training.supervised.levers import Levers


def good(reply: Reply) -> Any:
    """The reply's body, when it is an answer."""
    assert reply.status == 200, reply.body
    return reply.json


def test_golden_rows_are_reproduced_over_http(
    served: Guard, bundle: Bundle, rows: list[Any]
) -> None:
    """Each recorded probability and score comes back, through JSON both ways."""
    assert bundle.golden is not None
    answers = good(post(served, "/predict", rows))["predictions"]
    told = np.array([[a["churn_probability"], a["score"]] for a in answers])
    recorded = np.column_stack([bundle.golden.prediction, bundle.golden.score])
    assert len(answers) == GOLDEN_ROWS
    assert np.abs(told - recorded).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("path", "answers"), [("/predict", "predictions"), ("/explain", "explanations")]
)
def test_batch_equals_singles(served: Guard, rows: list[Any], path: str, answers: str) -> None:
    """Many rows in one request get exactly what as many requests get, in order."""
    batch = good(post(served, path, rows))[answers]
    singles = [good(post(served, path, [row]))[answers][0] for row in rows]
    assert batch == singles
    assert batch != batch[::-1]  # the order carries something


def test_numbers_survive_json_exactly(served: Guard, bundle: Bundle, rows: list[Any]) -> None:
    """What arrives as JSON is the float64 that the model returned."""
    assert bundle.golden is not None
    probability, scores = bundle.predict(bundle.golden.X)
    answers = good(post(served, "/predict", rows))["predictions"]
    assert [a["churn_probability"] for a in answers] == probability.tolist()
    assert [a["score"] for a in answers] == scores.tolist()


def test_positive_follows_the_threshold(served: Guard, rows: list[Any]) -> None:
    """Both sides of the threshold occur, and each is on the right one."""
    reply = good(post(served, "/predict", rows))
    assert reply["threshold"] == 0.4
    positive = [a["positive"] for a in reply["predictions"]]
    assert positive == [a["churn_probability"] >= 0.4 for a in reply["predictions"]]
    assert {True, False} == set(positive)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/predict"), ("POST", "/explain"), ("GET", "/model")]
)
def test_every_reply_names_model_version_cutoff_and_request(
    served: Guard, rows: list[Any], method: str, path: str
) -> None:
    """The request's own id comes back, in the body and as a header."""
    mine = [(b"x-request-id", b"order-77.a_b")]
    reply = (
        post(served, path, rows[:1], mine)
        if method == "POST"
        else ask(served, "GET", path, headers=mine)
    )
    told = good(reply)
    named = {k: told[k] for k in ("model", "version", "cutoff", "request_id")}
    assert named == {
        "model": "churn",
        "version": 3,
        "cutoff": "2011-09-10",
        "request_id": "order-77.a_b",
    }
    assert reply.headers["x-request-id"] == "order-77.a_b"


def test_explanations_add_up_to_the_served_score(
    served: Guard, bundle: Bundle, rows: list[Any]
) -> None:
    """Base + contributions = score of /predict, for every row, over all columns."""
    assert bundle.golden is not None
    predicted = good(post(served, "/predict", rows))["predictions"]
    reply = good(post(served, "/explain", rows))
    assert reply["space"] == "log-odds"
    assert "before calibration" in reply["explains"]
    for i, (answer, prediction) in enumerate(zip(reply["explanations"], predicted, strict=True)):
        moved = {item["feature"]: item["contribution"] for item in answer["contributions"]}
        assert set(moved) == set(bundle.columns)
        total = answer["base"] + sum(moved.values())
        assert total == pytest.approx(
            prediction["score"], abs=1e-5
        )  # XGBoost's own single precision
        assert answer["sum_check"] == pytest.approx(abs(total - answer["score"]), abs=1e-9)
        assert answer["churn_probability"] == prediction["churn_probability"]
        assert [moved[name] for name in bundle.columns] == bundle.golden.contributions[i].tolist()
    assert max(a["sum_check"] for a in reply["explanations"]) < 1e-5


def test_contributions_come_largest_first_with_their_values_and_words(
    served: Guard, rows: list[Any]
) -> None:
    """Values are those sent; reasons are the first sentences; what moves nothing has none."""
    for row, answer in zip(rows, good(post(served, "/explain", rows))["explanations"], strict=True):
        items = answer["contributions"]
        sizes = [abs(item["contribution"]) for item in items]
        assert sizes == sorted(sizes, reverse=True)
        assert {item["feature"]: item["value"] for item in items} == row
        assert [item["text"] is None for item in items] == [size == 0 for size in sizes]
        assert answer["reasons"] == [item["text"] for item in items if item["text"]][:3]
    recency = next(item for item in items if item["feature"] == "rfm__recency_days")
    assert recency["text"].startswith("time since the last order: ")


def test_model_tells_what_is_served(served: Guard, bundle: Bundle, statement: Release) -> None:
    """Approval, threshold and the declared columns, in the model's order."""
    told = good(ask(served, "GET", "/model"))
    assert (told["digest"], told["reviewer"]) == (statement.digest, "Ann")
    assert (told["threshold"], told["output"]) == (0.4, "churn_probability")
    assert told["columns"] == [column.model_dump(mode="json") for column in COLUMNS]


def test_published_schema_is_the_feature_schema(served: Guard) -> None:
    """Names, order, ranges, nulls and meaning in /openapi.json are the bundle's."""
    spec = good(ask(served, "GET", "/openapi.json"))
    for path in ("/predict", "/explain"):
        body = spec["paths"][path]["post"]["requestBody"]
        assert body["required"] is True
        schema = body["content"]["application/json"]["schema"]
        if path == "/explain":
            schema, earlier = schema["oneOf"]
            assert earlier["required"] == ["prediction"]
        rows = schema["properties"]["rows"]
        assert (rows["minItems"], rows["maxItems"], schema["required"]) == (1, 1000, ["rows"])
        row = rows["items"]
        assert schema["additionalProperties"] is row["additionalProperties"] is False
        assert list(row["properties"]) == row["required"] == [column.name for column in COLUMNS]
        for column, field in zip(COLUMNS, row["properties"].values(), strict=True):
            kinds = field.get("anyOf", [field])
            assert [kind["type"] for kind in kinds] == (
                ["number"] if column.missing == "never" else ["number", "null"]
            )
            assert (kinds[0].get("minimum"), kinds[0].get("maximum")) == (column.low, column.high)
            assert column.meaning in field["description"]
            assert column.unit in field["description"]
            assert (column.missing in field["description"]) == (column.missing != "never")


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_published_example_works(served: Guard, bundle: Bundle, path: str) -> None:
    """The example of the docs page is answered, with the recorded probability."""
    assert bundle.golden is not None
    spec = good(ask(served, "GET", "/openapi.json"))
    example = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert None in example["rows"][0].values()
    answers = good(post(served, path, example["rows"]))
    first = answers.get("predictions", answers.get("explanations"))[0]
    assert first["churn_probability"] == bundle.golden.prediction[0]


def test_replies_fit_their_published_types(served: Guard, bundle: Bundle, rows: list[Any]) -> None:
    """Nothing is sent that the docs do not describe, errors included."""
    predicted, explained = reply_types(bundle.answer)
    spec = good(ask(served, "GET", "/openapi.json"))
    for path, method, kind, reply in (
        ("/predict", "post", predicted, post(served, "/predict", rows)),
        ("/explain", "post", explained, post(served, "/explain", rows)),
        ("/model", "get", ModelReply, ask(served, "GET", "/model")),
    ):
        kind.model_validate_json(reply.body)
        published = spec["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        assert published["schema"]["$ref"].endswith("/" + kind.__name__)
        described = spec["components"]["schemas"][kind.__name__]
        assert sorted(described["properties"]) == sorted(reply.json)
    refused = post(served, "/predict", [])
    RefusalReply.model_validate_json(refused.body)
    errors = spec["paths"]["/predict"]["post"]["responses"]
    assert {"400", "401", "408", "413", "415", "422", "431", "500", "503", "504"} < set(errors)


def test_docs_page_needs_no_internet(served: Guard) -> None:
    """Every address on the docs page is a path of the service itself that the guard knows."""
    page = ask(served, "GET", "/docs").body.decode()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for path in (
        "openapi.json",
        "static_content/swagger-ui-bundle.js",
        "static_content/swagger-ui.css",
    ):
        assert path in page
        assert f"/{path}" in base.RULES


def test_metrics_count_by_route_and_class(
    bundle: Bundle, statement: Release, rows: list[Any]
) -> None:
    """Known paths are labels, all others share one."""
    app = Guard(base.make_app(bundle, statement), base.RULES)
    post(app, "/predict", rows[:2])
    post(app, "/predict", [])
    for i in range(30):
        ask(app, "GET", f"/customers/{i}")
    text = ask(app, "GET", "/metrics").body.decode()
    assert 'perennial_requests_total{route="/predict",status="2xx"} 1.0' in text
    assert 'perennial_requests_total{route="/predict",status="4xx"} 1.0' in text
    assert 'perennial_requests_total{route="other",status="4xx"} 30.0' in text
    assert 'perennial_request_seconds_count{route="other"} 30.0' in text
    assert "customers" not in text


def test_probability_outside_its_range_is_an_error(bundle: Bundle, statement: Release) -> None:
    """A model gone wrong gives 500, never a NaN that JSON would turn into null."""

    class Broken:
        answer, columns, golden = bundle.answer, bundle.columns, bundle.golden

        def predict(self, X: Any) -> Any:
            return np.full(len(X), np.nan), np.zeros(len(X))

    app = Guard(base.make_app(Broken(), statement), base.RULES)  # type: ignore[arg-type]
    reply = ask(app, "POST", "/predict", b'{"rows":[{"a":1}]}', JSON)
    assert reply.status == 422
    spec = ask(app, "GET", "/openapi.json").json
    example = spec["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]
    reply = post(app, "/predict", example["rows"])
    assert (reply.status, reply.json["code"]) == (500, "internal_error")


def test_openapi_is_one_document(served: Guard) -> None:
    """Every reference of the description leads somewhere."""
    spec = ask(served, "GET", "/openapi.json").json

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [r for value in node.values() for r in references(value)]
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    found = references(spec)
    assert found
    assert {r.removeprefix("#/components/schemas/") for r in found} <= set(
        spec["components"]["schemas"]
    )
    TypeAdapter(dict[str, Any]).validate_python(spec)


def test_levers_are_told_with_the_reasons(
    bundle: Bundle, statement: Release, rows: list[Any]
) -> None:
    """An explanation says what the answer would be with what the business can move."""
    levers = Levers(wanted="lower", tried={bundle.columns[0]: (1.0, 30.0, 300.0)})
    movable = replace(bundle, answer=bundle.answer.model_copy(update={"levers": levers}))
    served = Guard(base.make_app(movable, statement), base.RULES)
    reply = post(served, "/explain", rows[:20])
    reply_types(movable.answer)[1].model_validate_json(reply.body)
    said = [line for told in good(reply)["explanations"] for line in told["levers"]]
    assert any("would be answered instead of" in line for line in said)
