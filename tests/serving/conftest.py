"""A small bundle, fitted on random data, and what is served from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.schema import FeatureColumn
from features.settings import Workspace
from serving import base, release
from serving.guard import Guard
from serving.release import Release
from training import bundle as bundles
from training.calibrate import Calibrator
from training.keys import signing_key, verifying_key
from training.model_part import ModelPart
from training.models.gbm import Gbm, GbmConfig
from training.supervised import bundle as supervised
from training.supervised.bundle import Answer, Bundle

COLUMNS = tuple(
    FeatureColumn(name=name, unit=unit, meaning=meaning, missing=missing, low=low, high=high)
    for name, unit, meaning, missing, low, high in (
        ("rfm__recency_days", "days", "time since the last order", "no order", 0, None),
        ("rfm__frequency_orders", "orders", "repeat orders", "never", 0, None),
        ("rfm__monetary_value", "currency", "mean value of an order", "no order", None, None),
        ("orders__trend_ratio", "ratio", "orders, late to early", "never", 0, 1),
        ("orders__season_spend", "currency", "spend a year ago", "no history", None, None),
        ("web__visits_30d", "", "visits", "no web channel", 0, None),
    )
)
NAMES = tuple(column.name for column in COLUMNS)
GOLDEN_ROWS = 60


@dataclass(frozen=True)
class Made:
    """Where a bundle lies, and the keys that signed it."""

    folder: Path
    keys: Path
    digest: str


def random_rows(count: int, seed: int) -> np.ndarray:
    """Rows of shape (count, 6) within the declared ranges; NaN where a column may be missing."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(1.5, 40.0, size=(count, len(COLUMNS)))
    X[:, 1] = rng.integers(0, 9, count)
    X[:, 3] = rng.uniform(0, 1, count)
    missing = np.array([column.missing != "never" for column in COLUMNS])
    return np.where((rng.random(X.shape) < 0.15) & missing, np.nan, X)


def as_rows(X: np.ndarray) -> list[dict[str, Any]]:
    """Request rows: NaN becomes null."""
    return [
        {name: None if np.isnan(value) else value for name, value in zip(NAMES, row, strict=True)}
        for row in X.tolist()
    ]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A signed bundle of 20 trees that answers churn."""
    root = tmp_path_factory.mktemp("bundle")
    X = random_rows(500, seed=1)
    odds = 0.02 * np.nan_to_num(X[:, 0], nan=90.0) - 0.5 * X[:, 1]
    y = (np.random.default_rng(2).random(500) < 1 / (1 + np.exp(-odds))).astype(float)
    model = Gbm(GbmConfig(trees=20, min_child_weight=2))
    model.fit(pd.DataFrame(X, columns=list(NAMES)), y, weight=None, seed=3)
    answer = Answer(
        task="churn",
        question="Will the customer buy nothing in 90 days?",
        output="churn_probability",
        space="log-odds",
        model=ModelPart(use="gbm.Gbm", config=model.config.model_dump()),
        columns=COLUMNS,
        threshold=0.4,
        cutoff="2011-09-10",
        horizon_days=90,
        source="random",
        currency="GBP",
        run_key="test",
    )
    whole = Bundle(answer, model, Calibrator("platt", {"line": (1.1, -0.2)}))
    keys = root / "keys"
    golden = random_rows(GOLDEN_ROWS, seed=4)
    golden[0, 2] = np.nan  # so that the published example shows a null
    digest = supervised.write(whole, golden, root / "bundle", signing_key(keys))
    return Made(root / "bundle", keys, digest)


@pytest.fixture(scope="session")
def bundle(made: Made) -> Bundle:
    """The bundle as a service loads it."""
    return bundles.load(made.folder, verifying_key(made.keys))


@pytest.fixture(scope="session")
def statement(made: Made) -> Release:
    """What a release says of the bundle."""
    return Release(
        model="churn", version=3, digest=made.digest, reviewer="Ann", approved_at="2026-01-02"
    )


@pytest.fixture(scope="session")
def served(bundle: Bundle, statement: Release) -> Guard:
    """The app behind its guard, without keys: what a Bento serves."""
    return Guard(base.make_app(bundle, statement), base.RULES)


@pytest.fixture
def released(made: Made, statement: Release, tmp_path: Path) -> Path:
    """A release folder of its own, to be tampered with."""
    release.write(statement, made.folder, tmp_path / "release", signing_key(made.keys))
    return tmp_path / "release"


@pytest.fixture
def workplace(made: Made, tmp_path: Path) -> Workspace:
    """An own store and registry, with the keys that signed the bundle."""
    return Workspace(
        store=tmp_path / "store",
        registry=tmp_path / "registry",
        keys=made.keys,
        data=None,
        configs=tmp_path,
    )


@pytest.fixture
def rows(bundle: Bundle) -> list[dict[str, Any]]:
    """The golden rows as a client would send them."""
    assert bundle.golden is not None
    return as_rows(bundle.golden.X)
