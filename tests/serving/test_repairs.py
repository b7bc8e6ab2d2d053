"""A service repairs posted rows as its model was taught to, and says which values it repaired."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving import base
from serving.guard import Guard
from serving.release import Release
from tests.serving.asgi import post
from tests.training import samples
from training import bundle as bundles
from training.model_part import ModelPart, built
from training.repairs import NOTHING, Repaired
from training.supervised import bundle as supervised
from training.supervised.bundle import Bundle

GAP, SPEND = "cadence__gap_mean_days", "orders__spend_90d"
REPAIRS = {
    GAP: {"impute": "model"},
    SPEND: {"outliers": {"by": "z_score", "then": "cap"}, "impute": "mean"},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trees behind repairs, as a service loads them."""
    plain, rows = samples.bundle("gbm.Gbm", trees=20)
    part = ModelPart.model_validate({**plain.answer.model.model_dump(), "repairs": REPAIRS})
    model = built(part)
    assert isinstance(model, Repaired)
    X, y, _ = samples.customers(300)
    model.fit(X, y, weight=None, seed=0)
    answer = plain.answer.model_copy(update={"model": part, "told": (model.column(),)})
    folder, key = tmp_path_factory.mktemp("repaired") / "bundle", Ed25519PrivateKey.generate()
    supervised.write(replace(plain, answer=answer, model=model), rows, Path(folder), key)
    loaded = bundles.load(folder, key.public_key())
    assert isinstance(loaded, Bundle)
    return loaded


def test_posted_rows_are_answered_as_in_python(bundle: Bundle, statement: Release) -> None:
    """Answers, scores, marks, explanations of values as they came; one at a time or together."""
    assert bundle.golden is not None
    X = bundle.golden.X.copy()
    X[3, bundle.columns.index(SPEND)] = 1e7
    frame = pd.DataFrame(X, columns=list(bundle.columns))
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    served = Guard(base.make_app(bundle, statement), base.RULES)

    def asked(path: str, name: str, some: list[Any]) -> list[dict[str, Any]]:
        reply = post(served, path, some)
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json[name]
        return found

    answers, expected = asked("/predict", "predictions", rows), bundle.predict_frame(frame)
    for name in ("churn_probability", "score", "repaired"):
        assert [a[name] for a in answers] == expected[name].tolist()
    assert answers[3]["repaired"].endswith(f"{SPEND} capped")
    assert {a["repaired"] for a in answers} >= {NOTHING, f"{GAP} imputed"}
    assert [asked("/predict", "predictions", [row])[0] for row in rows[:5]] == answers[:5]
    explained = asked("/explain", "explanations", rows)
    for row, told, score in zip(rows, explained, expected["score"], strict=True):
        parts = {item["feature"]: item for item in told["contributions"]}
        assert set(parts) == set(bundle.columns)
        assert {name: item["value"] for name, item in parts.items()} == row
        total = told["base"] + sum(item["contribution"] for item in parts.values())
        assert np.isclose(total, score, atol=1e-5)
