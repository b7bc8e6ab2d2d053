"""What every model promises. Each check takes a model class and fails with what it broke.

``discover`` walks ``training/models``, so a new file is under contract without being named here.
"""

import importlib
import inspect
import io
import json
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from features import catalogue
from features.errors import ConfigError, DataError
from features.settings import validated
from tests.training.samples import SPENT, VALUE, customers, spenders
from training.bundle import MODELS
from training.contract import Explanation, Floats, matrix
from training.metrics import METRICS, Ranked
from training.models.logistic import Logistic

N_ROWS = 1_511
"""Rows of the world that models learn from; no array of a fitted model may have this length."""
N_UNSEEN = 3_000
MANY = 2_500
"""Rows at once, more than a model would take by another way than few."""
FLOOR = 0.70
"""ROC-AUC on unseen rows that every model reaches; the true probabilities reach 0.80."""
NOTHING = 0.02
"""Log loss that may be gained over the base rate after learning from shuffled labels."""
AMOUNT_FLOOR = 0.35
"""Rank correlation with amounts on unseen rows; what could be expected reaches 0.5."""
UNTAUGHT = (
    "past_value.PastValue", "frequency_value.FrequencyValue", "published_value.PublishedValue",
    "hybrid.Hybrid",
)  # fmt: skip
"""Models that learn nothing, or only by half, from labels: wrong ones cannot mislead them."""
BY_VALUE = (
    "frequency_value.FrequencyValue", "published_value.PublishedValue", "hybrid.Hybrid",
)  # fmt: skip
"""Models that see first what an order is worth, which goes with what was spent."""
ADDS_UP = dict.fromkeys(
    (
        "gbm.Gbm", "gbm.Tweedie", "forest.Forest", "blend.Blend", "two_part.TwoPart",
        "hybrid.Hybrid", "hazards.Hazards",
    ),
    1e-4,
)  # fmt: skip
"""Largest gap of base + contributions and score, where it is not 1e-11: these use 32-bit floats."""
ON_AVERAGE = {
    "gbm.Gbm": 5e-3, "forest.Forest": 2e-2, "blend.Blend": 2e-2, "hazards.Hazards": 5e-3,
    "rates.Rates": 2e-3,
}  # fmt: skip
"""Largest distance of mean probability and rate where it is learned from, where it is not 2e-4."""
SIGNAL = "rfm__recency_days"
"""The column that carries most of the signal: the longer ago, the likelier the event."""
NATIVE = (".ubj", ".npz", ".json", ".parquet")

Check = Callable[[type], None]


def discover(home: str = MODELS) -> dict[str, type]:
    """``file.Class`` -> class of every model below ``home``."""
    found = {}
    for use in catalogue.discover(home, "fit"):
        file, _, name = use.rpartition(".")
        found[use] = getattr(importlib.import_module(f"{home}.{file}"), name)
    return found


def name_of(cls: type) -> str:
    """``file.Class`` of a model."""
    return f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}"


def config_of(cls: type) -> Any:
    """The settings class that a model's annotation names."""
    return inspect.get_annotations(cls).get("config") or config_of(cls.__mro__[1])


def new(cls: type, **config: Any) -> Any:
    """A model that has learned nothing yet."""
    return cls(validated(config_of(cls), config, cls.__name__))


def about_amounts(cls: type) -> bool:
    """Whether a model answers with expected amounts rather than probabilities."""
    return "amount" in cls.answers  # type: ignore[attr-defined]


@cache
def known(cls: type = Logistic) -> tuple[pd.DataFrame, Floats, Floats]:
    """Rows to learn from, with events or amounts as the model answers."""
    return (spenders if about_amounts(cls) else customers)(N_ROWS, seed=1)


@cache
def unseen(cls: type = Logistic) -> tuple[pd.DataFrame, Floats, Floats]:
    """Rows to be judged on."""
    return (spenders if about_amounts(cls) else customers)(N_UNSEEN, seed=2)


def signal(cls: type) -> str:
    """The column that carries most of the signal."""
    if name_of(cls) in BY_VALUE:
        return VALUE
    return SPENT if about_amounts(cls) else SIGNAL


def ranking(cls: type) -> str:
    """The metric that says how well rows are put in order."""
    return "spearman" if about_amounts(cls) else "roc_auc"


@cache
def fitted(cls: type) -> Any:
    """The model with its defaults, fitted once."""
    model = new(cls)
    X, y, _ = known(cls)
    model.fit(X, y, weight=None, seed=3)
    return model


def _asked(model: Any, n: int = 200) -> Floats:
    return matrix(unseen(type(model))[0].head(n), model.columns)


def _probability(scores: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-scores))


def _metric(name: str, y: Floats, p: Floats) -> float:
    return METRICS[name](Ranked.of(y, p, 0.5), np.ones(len(y)))


def _equal(a: Explanation, b: Explanation) -> bool:
    return (
        a.columns == b.columns
        and a.space == b.space
        and np.array_equal(a.base, b.base)
        and np.array_equal(a.contributions, b.contributions)
        and np.array_equal(a.values, b.values, equal_nan=True)
    )


def declares(cls: type) -> None:
    """What it answers and the space of its scores are said before anything is learned."""
    model = new(cls)
    assert isinstance(cls.answers, tuple), "answers is a tuple of kinds of task"
    assert cls.answers, "answers nothing"
    assert model.space.strip(), "no space is named"
    assert cls.__doc__, "no docstring"


def config_round_trip(cls: type) -> None:
    """Config -> JSON -> config is the same config, for the defaults and for changed values."""
    settings = config_of(cls)
    config = new(cls).config
    again = validated(settings, json.loads(json.dumps(config.model_dump())), "round trip")
    assert again == config, "the config changed on its way through JSON"
    spelled_out = new(cls, **config.model_dump()).config
    assert spelled_out == config, "spelling out the defaults changes the config"
    with pytest.raises(Exception, match="frozen"):
        config.__setattr__(next(iter(settings.model_fields)), 1)


def unknown_key(cls: type) -> None:
    """A key that the config does not have is refused by name."""
    with pytest.raises(ConfigError, match="no_such_key: unknown key"):
        new(cls, no_such_key=1)


def same_seed(cls: type) -> None:
    """The same rows and seed give the same bytes, on one thread or several."""
    X, y, _ = known(cls)
    saved = []
    for threads in (1, 2, 2):
        model = new(cls)
        with threadpool_limits(limits=threads):
            model.fit(X, y, weight=None, seed=3)
        saved.append(model.save())
    assert saved[1] == saved[2], "two fits with one seed differ"
    assert saved[0] == saved[1], "the number of threads changes the fit"


def save_and_load(cls: type) -> None:
    """A loaded model scores and explains exactly as the saved one, and saves the same bytes."""
    model = fitted(cls)
    files = model.save()
    loaded = new(cls)
    loaded.load(files, model.columns)
    X = _asked(model)
    assert loaded.columns == model.columns, "the columns got lost"
    assert np.array_equal(loaded.score(X), model.score(X)), "the loaded model scores otherwise"
    assert _equal(loaded.explain(X), model.explain(X)), "the loaded model explains otherwise"
    assert loaded.save() == files, "the loaded model saves other bytes"


def no_pickle(cls: type) -> None:
    """Every saved file is of a native format, and no part of it is a pickle."""
    files: Mapping[str, bytes] = fitted(cls).save()
    assert files, "nothing is saved"
    for name, data in files.items():
        assert isinstance(data, bytes), f"{name}: not bytes"
        assert name.endswith(NATIVE), f"{name}: expected one of {NATIVE}"
        members = {name: data}
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                members = {part.filename: packed.read(part) for part in packed.infolist()}
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                try:
                    kinds = {member: stored[member].dtype.kind for member in stored.files}
                except ValueError as error:
                    raise AssertionError(f"{name}: {error}") from None
            assert "O" not in kinds.values(), f"{name}: objects among the arrays"
        for member, part in members.items():
            assert not _is_pickle(part), f"{name}: {member} is a pickle"


def _is_pickle(data: bytes) -> bool:
    try:
        return sum(1 for _ in pickletools.genops(data)) > 1
    except Exception:  # whatever the reader of opcodes stumbles over, it is no pickle
        return False


def single_rows(cls: type) -> None:
    """N rows at once give exactly what n single rows give, however the array lies in memory."""
    model = fitted(cls)
    X = np.ascontiguousarray(_asked(model, 60))
    scores, explained = model.score(X), model.explain(X)
    singles = [model.score(X[i : i + 1]) for i in range(len(X))]
    assert np.array_equal(scores, np.concatenate(singles)), "single rows are scored otherwise"
    for i in range(len(X)):
        alone = model.explain(X[i : i + 1])
        assert np.array_equal(alone.contributions[0], explained.contributions[i]), (
            "single rows are explained otherwise"
        )
        assert alone.base[0] == explained.base[i], "the base depends on other rows"
    many = _asked(model, MANY)
    assert np.array_equal(model.score(many)[: len(X)], scores), "many rows are scored otherwise"
    assert np.array_equal(model.explain(many).contributions[: len(X)], explained.contributions), (
        "many rows are explained otherwise"
    )
    by_columns = np.asfortranarray(X)
    assert np.array_equal(model.score(by_columns), scores), "the layout in memory changes scores"
    assert _equal(model.explain(by_columns), explained), "the layout changes explanations"


def explanation_adds_up(cls: type) -> None:
    """Base and contributions add up to the score, row by row, in the original columns."""
    model = fitted(cls)
    X = _asked(model, 1_000)
    explained, scores = model.explain(X), model.score(X)
    assert explained.columns == tuple(known(cls)[0].columns), "not in the original columns"
    assert explained.contributions.shape == X.shape, "not one contribution per row and column"
    assert explained.base.shape == (len(X),), "not one base per row"
    assert len(np.unique(explained.base)) == 1, "the base differs from row to row"
    assert np.array_equal(explained.values, X, equal_nan=True), "other rows are explained"
    assert explained.space == model.space, "explained in another space than scored"
    gap = float(np.abs(explained.scores - scores).max())
    limit = ADDS_UP.get(name_of(cls), 1e-11)
    assert gap <= limit, f"contributions miss the score by {gap:.3g}, at most {limit:g}"
    assert scores.dtype == np.float64, "scores are not float64"


def credits_the_right_columns(cls: type) -> None:
    """The column with the signal gets most of the credit, in its direction; a constant one none."""
    frame, y, _ = known(cls)
    frame = frame.copy()
    frame.insert(2, "orders__constant", 1.0)
    model = new(cls)
    model.fit(frame, y, weight=None, seed=0)
    explained = model.explain(matrix(frame, model.columns))
    credit = dict(zip(explained.columns, np.abs(explained.contributions).mean(axis=0), strict=True))
    assert max(credit, key=lambda name: credit[name]) == signal(cls), f"most credit: {credit}"
    assert credit["orders__constant"] < 1e-9, "a column that never varies gets credit"
    values = frame[signal(cls)].to_numpy()
    own = explained.contributions[:, explained.columns.index(signal(cls))]
    ranks = [pd.Series(v).rank().to_numpy() for v in (values, own)]
    assert np.corrcoef(*ranks)[0, 1] > 0.9, f"{signal(cls)} is credited against its direction"


def right_on_average(cls: type) -> None:
    """Over the rows learned from the probabilities average to the rate: scores are log-odds."""
    if "event" not in cls.answers:
        return
    X, y, _ = known(cls)
    model = fitted(cls)
    p = _probability(model.score(matrix(X, model.columns)))
    limit = ON_AVERAGE.get(name_of(cls), 2e-4)
    assert abs(p.mean() - y.mean()) < limit, f"mean {p.mean():.4f}, rate {y.mean():.4f}"


def missing_values(cls: type) -> None:
    """Missing values are scored, one at a time, all at once, and in a column never seen filled."""
    model = fitted(cls)
    X = _asked(model, 50)
    for column in range(X.shape[1]):
        holed = X.copy()
        holed[:, column] = np.nan
        assert np.isfinite(model.score(holed)).all(), f"column {column} missing: no score"
        assert np.isfinite(model.explain(holed).contributions).all(), (
            f"column {column} missing: no explanation"
        )
    nothing = np.full((3, X.shape[1]), np.nan)
    assert np.isfinite(model.score(nothing)).all(), "a row without any value has no score"
    frame, y, _ = known(cls)
    frame = frame.assign(orders__trend_orders=np.nan)
    blind = new(cls)
    blind.fit(frame, y, weight=None, seed=0)
    scores = blind.score(matrix(frame, blind.columns))
    assert np.isfinite(scores).all(), "a column that is always missing breaks the fit"


def columns_by_name(cls: type) -> None:
    """Columns count by name; missing, unknown and infinite ones are refused by name."""
    model = fitted(cls)
    frame = unseen(cls)[0].head(50)
    assert model.columns == tuple(known(cls)[0].columns), "the columns are not those learned from"
    turned = frame[list(reversed(frame.columns))]
    expected = model.score(matrix(frame, model.columns))
    assert np.array_equal(model.score(matrix(turned, model.columns)), expected), (
        "the order of columns changes scores"
    )
    first, second = model.columns[:2]
    with pytest.raises(DataError, match=f"column '{first}' is missing"):
        matrix(frame.drop(columns=first), model.columns)
    with pytest.raises(DataError, match="column 'stranger' is unknown"):
        matrix(frame.assign(stranger=1.0), model.columns)
    both = frame.drop(columns=first).assign(stranger=1.0)
    with pytest.raises(DataError, match=rf"(?s)'{first}' is missing.*'stranger' is unknown"):
        matrix(both, model.columns)
    endless = frame.assign(**{second: np.inf})
    with pytest.raises(DataError, match=rf"{second}.*{len(frame)} infinite"):
        matrix(endless, model.columns)
    X, y, _ = known(cls)
    with pytest.raises(DataError, match=f"{second}.*infinite"):
        new(cls).fit(X.assign(**{second: np.inf}), y, weight=None, seed=0)


def beats_chance(cls: type) -> None:
    """On unseen rows with a known signal the ranking reaches the floor."""
    X, y, p = unseen(cls)
    model = fitted(cls)
    metric, floor = ranking(cls), AMOUNT_FLOOR if about_amounts(cls) else FLOOR
    found = _metric(metric, y, model.score(matrix(X, model.columns)))
    best = _metric(metric, y, p)
    assert found >= floor, f"{metric} {found:.3f}, floor {floor}, what is true has {best:.3f}"
    assert found <= best + 0.02, f"{metric} {found:.3f} above what can be known, {best:.3f}"


def shuffled_labels(cls: type) -> None:
    """Learned from shuffled labels, the scores predict unseen rows no better than the base rate.

    Judged by log loss: a rule on one column ranks by that column whatever its sign, so its ROC-AUC
    says nothing here.
    """
    if name_of(cls) in UNTAUGHT:
        return
    X, y, _ = known(cls)
    model = new(cls)
    model.fit(X, np.random.default_rng(4).permutation(y), weight=None, seed=0)
    rows, truth, _ = unseen(cls)
    if about_amounts(cls):
        values = np.exp(model.score(matrix(rows, model.columns)))
        best = _metric("rmse", truth, np.full(len(truth), y.mean()))
        assert _metric("rmse", truth, values) > (1 - NOTHING) * best, "better than the mean"
        return
    p = _probability(model.score(matrix(rows, model.columns)))
    constant = _metric("log_loss", truth, np.full(len(truth), y.mean()))
    gained = constant - _metric("log_loss", truth, p)
    assert gained < NOTHING, f"log loss better by {gained:.3f} than the base rate"


def weights_count(cls: type) -> None:
    """Rows of weight 0 teach nothing, even with every label wrong."""
    X, y, _ = known(cls)
    right = np.arange(len(y)) % 3 == 0
    model = new(cls)
    model.fit(X, np.where(right, y, y.max() - y), weight=right.astype(np.float64), seed=0)
    rows, truth, _ = unseen(cls)
    found = _metric(ranking(cls), truth, model.score(matrix(rows, model.columns)))
    floor = AMOUNT_FLOOR if about_amounts(cls) else FLOOR
    assert found >= floor - 0.03, f"{ranking(cls)} {found:.3f}: weights are not heeded"


def words_in_one_column(cls: type) -> None:
    """A column of categories is learned, explained in itself, kept by save and load, or left alone.

    Its 30 codes say nothing by their order; missing ones are scored too.
    """
    X, y, _ = known(cls)
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 30, len(y))
    raises = np.isin(codes, rng.permutation(30)[:12])
    y = np.where(raises & (rng.random(len(y)) < 0.8), y.max(), y)
    cells = pd.Categorical.from_codes(
        np.where(rng.random(len(y)) < 0.05, -1, codes), categories=WORDS
    )
    frame = X.assign(attributes__plan=cells)
    model = new(cls)
    model.fit(frame, y, weight=None, seed=0)
    values = matrix(frame, model.columns)
    explained, scores = model.explain(values), model.score(values)
    assert explained.columns == tuple(frame.columns), "not in the original columns"
    gap = float(np.abs(explained.scores - scores).max())
    assert gap <= ADDS_UP.get(name_of(cls), 1e-11), f"contributions miss the score by {gap:.3g}"
    assert not getattr(model, "unsupported", ""), "explained by the slow way"
    own, known_ = explained.contributions[:, -1], ~np.isnan(values[:, -1])
    if own.any():
        apart = own[known_ & raises].mean() - own[known_ & ~raises].mean()
        assert apart > 0.3, f"words are credited against what they say: {apart:.2f}"
    loaded = new(cls)
    loaded.load(model.save(), model.columns)
    assert np.array_equal(loaded.score(values), scores), "the loaded model scores otherwise"
    assert _equal(loaded.explain(values), explained), "the loaded model explains otherwise"
    singles = [model.score(values[i : i + 1])[0] for i in range(40)]
    assert np.array_equal(singles, scores[:40]), "single rows are scored otherwise"


WORDS = [f"plan {k}" for k in range(30)]


def keeps_no_data(cls: type) -> None:
    """After the fit no attribute holds a frame, or an array as long as the data."""
    for where, value in _held(fitted(cls), cls.__name__, set()):
        assert not isinstance(value, pd.DataFrame | pd.Series), f"{where}: data are kept"
        shape = getattr(value, "shape", ())
        assert N_ROWS not in tuple(shape), f"{where}: an array of {shape} is kept"
        if isinstance(value, list | tuple | bytes):
            assert len(value) != N_ROWS, f"{where}: {N_ROWS} values are kept"


def _held(value: Any, where: str, seen: set[int]) -> list[tuple[str, Any]]:
    """``value`` and all that can be reached from it through attributes and containers."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    found = [(where, value)]
    inner: dict[str, Any] = {}
    if isinstance(value, Mapping):
        inner = {f"{where}[{k!r}]": v for k, v in value.items()}
    elif isinstance(value, list | tuple | set):
        inner = {f"{where}[{k}]": v for k, v in enumerate(value)}
    elif hasattr(value, "__dict__") and not inspect.isclass(value) and not inspect.ismodule(value):
        inner = {f"{where}.{k}": v for k, v in vars(value).items()}
        closure = inspect.getclosurevars(value).nonlocals if inspect.isfunction(value) else {}
        inner |= {f"{where}({k})": v for k, v in closure.items()}
    for place, part in inner.items():
        found += _held(part, place, seen)
    return found


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        declares,
        config_round_trip,
        unknown_key,
        same_seed,
        save_and_load,
        no_pickle,
        single_rows,
        explanation_adds_up,
        credits_the_right_columns,
        right_on_average,
        missing_values,
        columns_by_name,
        beats_chance,
        shuffled_labels,
        weights_count,
        words_in_one_column,
        keeps_no_data,
    )
}
