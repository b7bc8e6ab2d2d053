"""A segmentation over HTTP: the same answers as in Python, explanations that add up, refusals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from features.settings import Part, resolve
from serving import base, replay
from serving.guard import Guard
from serving.release import Release
from serving.told import Contribution, ToldEndpoints
from tests.serving.asgi import ask, post
from tests.training.segments.samples import ACTIVITY, SCHEMA, VALUE, customers
from tests.training.segments.test_ways import PLACED, placed
from training import bundle as common
from training.keys import signing_key, verifying_key
from training.segments import bundle as bundles
from training.segments.bundle import Segment, SegmentsAnswer, SegmentsBundle
from training.segments.choose import WAYS
from training.segments.segmentation import SPACE, learn
from training.segments.stability import bootstrap, with_confidence

PART = Part(use="hybrid.Hybrid", config={"columns": list(ACTIVITY), "k": 3, "top": [0.05]})


@dataclass(frozen=True)
class Served:
    """A loaded bundle and its app behind the guard."""

    bundle: SegmentsBundle
    app: Guard
    X: np.ndarray

    def told(self, path: str, rows: list[dict[str, Any]]) -> Any:
        """The reply to rows that are answered."""
        reply = post(self.app, path, rows)
        assert reply.status == 200, reply.body
        return reply.json


def answer_of(way: Any, found: Any, part: Part, schema: Any) -> SegmentsAnswer:
    """What a segmentation answers; its words are made up."""
    segments = tuple(
        Segment(
            id=i, name=f"name of {i}", words="words", customers=100, share=0.25,
            value_share=0.25, buying=0.5, rule="everybody", precision=1.0, coverage=1.0, medians={},
        )
        for i in "ABCD"
    )  # fmt: skip
    declared = {column.name: column for column in schema}
    return SegmentsAnswer(
        task="segments", question="To which segment?", kind="segments", output="segment",
        cutoff="2024-01-01", horizon_days=90, source="random", currency="GBP", run_key="test",
        space=SPACE, way=part, nature=way.nature, value=VALUE, segments=segments,
        columns=tuple(declared[name] for name in found.columns),
    )  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A segmentation learned, signed, loaded and served."""
    root = tmp_path_factory.mktemp("segments")
    frame, way = customers(400, 1)[0], resolve(WAYS, PART)
    found = learn(way, frame, SCHEMA, VALUE, seed=1).segmentation
    (stable,) = bootstrap(way, frame, SCHEMA, VALUE, found, [frame], repeats=5, seed=1)
    found = with_confidence(found, found.assign(found.rows(frame)), stable.agreed)
    declared = {column.name: column for column in SCHEMA}
    answer = answer_of(way, found, PART, SCHEMA)
    X = found.rows(frame)
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X)
    X[:, [declared[n].missing == "never" for n in found.columns]] = found.rows(frame)[
        :, [declared[n].missing == "never" for n in found.columns]
    ]
    made = SegmentsBundle(answer, found)
    bundles.write(made, X[:250], root / "bundle", signing_key(root / "keys"))
    loaded = common.load(root / "bundle", verifying_key(root / "keys"))
    assert isinstance(loaded, SegmentsBundle)
    release = Release(
        model="segments", version=2, digest=loaded.digest, reviewer="Ann", approved_at="2026-01-02"
    )
    app = Guard(base.make_app(loaded, release), base.RULES)
    return Served(loaded, app, X)


def rows(served: Served, n: int) -> list[dict[str, Any]]:
    """Request rows."""
    return [
        {c: None if v != v else v for c, v in zip(served.bundle.columns, row, strict=True)}
        for row in served.X[:n].tolist()
    ]


def test_golden_rows_are_answered_as_in_training(served: Served) -> None:
    """In process, through the loader class that MLflow uses, and over HTTP."""
    assert served.bundle.replay() == 0.0
    assert replay.through_app(served.bundle, served.app) <= common.TOLERANCE
    frame = pd.DataFrame(served.X, columns=list(served.bundle.columns))
    told = common.PyfuncAnswer(served.bundle).predict(frame)
    over = served.told("/predict", rows(served, 40))["predictions"]
    pd.testing.assert_frame_equal(pd.DataFrame(over)[list(told.columns)], told.iloc[:40])
    assert [name for name, _ in served.bundle.outputs] == list(told.columns)


def test_a_changed_answer_is_noticed(served: Served) -> None:
    """A reply with another segment or another number differs from the golden one."""
    asked = next(iter(served.bundle.recorded()))
    reply = served.told(asked.path, asked.body["rows"])
    assert asked.difference(reply) <= common.TOLERANCE
    reply["predictions"][3]["margin"] += 0.5
    assert asked.difference(reply) == pytest.approx(0.5)
    reply["predictions"][3]["segment"] = "Z"
    assert asked.difference(reply) == float("inf")


def test_explanations_add_up_and_say_what_moves(served: Served) -> None:
    """Base + contributions = margin; the told change, asked again, gives the told segment."""
    reply = served.told("/explain", rows(served, 25))
    assert reply["space"] == "squared distance"
    moved = 0
    for row, answer in zip(rows(served, 25), reply["explanations"], strict=True):
        total = answer["base"] + sum(c["contribution"] for c in answer["contributions"])
        assert total == pytest.approx(answer["margin"], abs=1e-9)
        assert answer["sum_check"] < 1e-9
        assert {c["feature"] for c in answer["contributions"]} == set(served.bundle.columns)
        sizes = [abs(c["contribution"]) for c in answer["contributions"]]
        assert sizes == sorted(sizes, reverse=True)
        change = answer["change"]
        if change is None:
            continue
        asked = [{**row, change["feature"]: change["becomes"]}]
        (again,) = served.told("/predict", asked)["predictions"]
        assert again["segment"] == change["segment"] != answer["segment"]
        assert change["name"] == f"name of {change['segment']}"
        moved += 1
    assert moved > 10


def test_one_new_customer_of_whom_little_is_known(served: Served) -> None:
    """All that may be missing is: the customer is assigned, less sure than most."""
    known = {k.name: k.missing == "never" for k in served.bundle.answer.columns}
    row = {n: (0.0 if known[n] else None) for n in served.bundle.columns}
    (answer,) = served.told("/predict", [row])["predictions"]
    assert 0 <= answer["confidence"] <= 1
    assert answer["segment"] != answer["runner_up"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rfm__recency_days": "soon"}, "invalid_field"),
        ({"rfm__recency_days": -1.0}, "invalid_field"),
        ({"orders__orders_365d": None}, "invalid_field"),
        ({"person": 7.0}, "unknown_field"),
    ],
)
def test_rows_that_do_not_fit_are_refused(served: Served, change: Any, code: str) -> None:
    """By the shared reader, naming the field."""
    reply = post(served.app, "/predict", [rows(served, 1)[0] | change])
    assert (reply.status, reply.json["code"]) == (422, code)


def test_model_tells_the_segments(served: Served) -> None:
    """Segments with their names and numbers, and the columns that are needed."""
    told = ask(served.app, "GET", "/model").json
    assert [s["id"] for s in told["segments"]] == list("ABCD")
    assert [c["name"] for c in told["columns"]] == list(served.bundle.columns)
    assert told["kind"] == "hybrid.Hybrid"
    paths = ask(served.app, "GET", "/openapi.json").json["paths"]
    assert {"/predict", "/explain", "/model"} <= set(paths)
    example = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert served.told("/predict", example["rows"])


def test_frames_that_do_not_fit_are_refused(served: Served) -> None:
    """In Python too, all problems at once."""
    frame = pd.DataFrame(served.X, columns=list(served.bundle.columns))
    with pytest.raises(DataError, match="is missing"):
        served.bundle.predict_frame(frame.drop(columns="rfm__recency_days").assign(other=1.0))


def test_a_border_case_is_shown(served: Served) -> None:
    """The demo's request is answered, and people are told of it."""
    shown = served.bundle.shown()
    said = shown.say(served.told(shown.path, shown.body["rows"]))
    assert len(said) >= 3
    assert "golden customer of segment" in said[0]


def test_files_are_native(served: Served, tmp_path: Path) -> None:
    """Nothing in the bundle needs pickle."""
    for name, data in served.bundle.segmentation.save().items():
        (tmp_path / name).write_bytes(data)
        with np.load(tmp_path / name, allow_pickle=False) as stored:
            assert all(stored[key].dtype != object for key in stored.files)


def test_words_are_told_as_words() -> None:
    """A contribution of a category names its word, not the code that the model sees."""
    config = {
        "quantiles": {}, "values": {"profile__age_years": [30]}, "words": ["profile__region"],
        "rules": [{"name": "north", "where": {"profile__region": ["north"]}}],
    }  # fmt: skip
    part, frame = Part(use="rules.Rules", config=config), placed(120)
    way = resolve(WAYS, part)
    found = learn(way, frame, PLACED, VALUE, seed=1).segmentation
    bundle = SegmentsBundle(answer_of(way, found, part, PLACED), found)
    X = found.rows(frame)
    said = Release(model="s", version=1, digest="d", reviewer="Ann", approved_at="2026-01-02")
    told = ToldEndpoints(bundle, said, None, X[0], "", {}).explained(X)
    for region, answer in zip(frame["profile__region"], told, strict=True):
        values = {c["feature"]: c["value"] for c in answer["contributions"]}
        assert values["profile__region"] == (region if isinstance(region, str) else None)
        Contribution.model_validate(answer["contributions"][0])
