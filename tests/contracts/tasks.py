"""What every task promises. Each check takes a task and fails with what it broke.

``discover`` walks ``training/tasks``, so a new file is under contract without being named here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache, cached_property
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import catalogue
from features import columns as c
from features.canonical import OUTCOMES
from features.settings import Part, resolve
from tests.worlds import BEGAN, DAY, line, random_world, renumbered, tables, world
from training.contract import DAY as LABEL_DAY
from training.contract import LABEL, Floats
from training.metrics import METRICS, Ranked
from training.pipeline import TASKS

CUTOFFS = tuple(BEGAN + days * DAY for days in (300, 450, 600))
LAST = CUTOFFS[-1]
TICK = timedelta(microseconds=1)
REGULAR = 7_001
"""A customer who has ordered recently, so that every task that asks anybody asks about them."""

Check = Callable[[Any], None]
Labels = dict[tuple[datetime, int], float]


def discover(home: str = TASKS) -> list[str]:
    """``file.Class`` of every supervised task below ``home``: of those with labels."""
    return catalogue.discover(home, "label")


def _said(answer: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "some", "output": f"some_{answer}", "question": "Within {horizon_days} days?",
        "horizon_days": 60, "asked": {"active_within_days": 400}, **more,
    }  # fmt: skip


EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "event.Event": [
        _said("event", where=[{"column": c.AMOUNT, "at_least": 3_000}]),
        _said("event", asked={}, horizon_days=45, maturity_days=15, absent=True),
        _said(
            "event",
            table="order_lines",
            where=[{"column": c.IS_RETURN, "equals": False}],
            asked={"table": "order_lines", "within_days": 300},
        ),
    ],
    "amount.Amount": [
        _said("amount"),
        _said("amount", asked={}, maturity_days=15, column=c.QUANTITY, unit="items"),
    ],
    "outcome.Outcome": [
        _said("event", outcome="bought", absent=0.0, maturity_days=20),
        _said("amount", outcome="bought", absent=0.0, kind="amount"),
    ],
    "timing.Timing": [
        _said("event", points_days=[20, 40]),
        _said("event", points_days=[7], absent=True, maturity_days=15, asked={}),
    ],
}
"""Questions in YAML's words for label kinds that have no defaults."""


def variants(use: str) -> list[Any]:
    """The task with its defaults, and with other windows where it has such settings."""
    if use in EXAMPLES:
        return [resolve(TASKS, Part(use=use, config=config)) for config in EXAMPLES[use]]
    task = resolve(TASKS, Part(use=use))
    other = {"horizon_days": 30, "active_within_days": 100, "maturity_days": 20}
    other = {name: value for name, value in other.items() if hasattr(task.config, name)}
    return [task, resolve(TASKS, Part(use=use, config=other))] if other else [task]


def _brought(lines: pa.Table) -> dict[str, pa.Table]:
    """Order lines, and for each line of a sale an outcome with its clocks."""
    sales = lines.filter(pc.invert(lines[c.IS_RETURN]))
    given = {name: sales[name] for name in (c.CUSTOMER, c.EVENT_TIME, c.KNOWN_TIME, c.ROW)}
    bought = pa.array(["bought"] * sales.num_rows)
    columns = given | {"name": bought, "value": pa.array(np.ones(sales.num_rows))}
    outcomes = pa.table([columns[n] for n in OUTCOMES.arrow.names], schema=OUTCOMES.arrow)
    return {"order_lines": lines, "outcomes": outcomes}


class Statements:
    """What a task asks at some cutoffs, for any rows: writing it takes longer than running it."""

    def __init__(self, task: Any, cutoffs: tuple[datetime, ...]) -> None:
        self._task, self._cutoffs = task, cutoffs
        self._opened = tables(_brought(_world().slice(0, 0)))
        self._backend = self._opened.backend
        self._spine = task.spine(self._opened.asof(cutoffs))
        self._asked = self._backend.create_table("asked", self._spine)
        self._who = self._backend.compile(self._spine)

    @cached_property
    def _label(self) -> tuple[ir.Table, str]:
        """The expression, whose life is that of the constants in it, and its statement."""
        task = self._task
        following = self._opened.following(self._cutoffs, task.horizon_days, task.maturity_days)
        label = task.label(self._asked, following)
        self._backend.to_pyarrow(label)
        return label, self._backend.compile(label)

    def asked(self, lines: pa.Table) -> pa.Table:
        """Who is asked over these rows."""
        for name, table in _brought(lines).items():
            self._backend.create_table(name, table, overwrite=True)
        self._backend.con.execute(f"CREATE OR REPLACE TABLE asked AS {self._who}")
        return self._backend.con.sql("FROM asked").to_arrow_table()

    def labels(self, lines: pa.Table) -> pa.Table:
        """Label of each asked customer over these rows, put together as a run does it."""
        statement = self._label[1]
        self.asked(lines)
        return self._backend.con.sql(statement).to_arrow_table()


statements = cache(Statements)


def asked(task: Any, table: pa.Table, cutoffs: Sequence[datetime] = CUTOFFS) -> set[Any]:
    """Who is asked: ``(cutoff, customer)``."""
    return set(_pairs(statements(task, tuple(cutoffs)).asked(table)))


def labels(task: Any, table: pa.Table, cutoffs: Sequence[datetime] = CUTOFFS) -> Labels:
    """Label of each asked customer by ``(cutoff, customer)``."""
    found = statements(task, tuple(cutoffs)).labels(table)
    pairs = _pairs(found)
    assert len(set(pairs)) == len(pairs), "a customer is asked twice at one cutoff"
    return dict(zip(pairs, found[LABEL].to_pylist(), strict=True))


def _pairs(found: pa.Table) -> list[tuple[datetime, int]]:
    return list(zip(found[c.CUTOFF].to_pylist(), found[c.CUSTOMER].to_pylist(), strict=True))


@cache
def _world() -> pa.Table:
    return random_world(seed=23, customers=70)


def _regular(*more: dict[str, Any]) -> pa.Table:
    """One customer with an order 10 days before the last cutoff, and ``more``."""
    return world([line(REGULAR, LAST - 10 * DAY, "before", 5_000), *more])


def _label(task: Any, *more: dict[str, Any]) -> float:
    return labels(task, _regular(*more), [LAST])[LAST, REGULAR]


def _before(table: pa.Table, clock: str, moment: datetime) -> pa.Table:
    return table.filter(pc.less(table[clock], pa.scalar(moment, pa.timestamp("us"))))


def declares(task: Any) -> None:
    """Name, output, kind and question say what is asked; the question holds the numbers."""
    named = getattr(task.config, "name", type(task).__module__.rsplit(".", 1)[-1])
    assert task.name == named, "named other than its file, or its config"
    assert task.output.isidentifier(), "the output is no plain name"
    assert task.kind in ("event", "amount"), "no known kind of answer"
    assert (task.unit == "probability") == (task.kind == "event"), "the unit is not the kind's"
    assert task.horizon_days >= 1, "a window without length"
    assert task.maturity_days >= 0, "labels known before they happen"
    assert str(task.horizon_days) in task.question, "the question does not say the horizon"
    assert task.question.endswith("?"), "the question is no question"


def spine_is_blind(task: Any) -> None:
    """Rows that happen or become known at the cutoff or later change nobody that is asked."""
    expected = asked(task, _world(), [LAST])
    assert expected, "nobody is asked, so nothing was checked"
    for clock in (c.EVENT_TIME, c.KNOWN_TIME):
        past = _before(_world(), clock, LAST)
        assert past.num_rows < _world().num_rows
        assert asked(task, past, [LAST]) == expected, f"rows with a later {clock} are seen"
    people = range(1, 71)
    announced = [line(k, LAST, f"new-{k}", 9_000, known=LAST - 5 * DAY) for k in people]
    late = [line(k, LAST - DAY, f"late-{k}", 9_000, known=LAST) for k in people]
    back = [line(k, LAST, f"C{k}", -9_999_999, -9, known=LAST - DAY, ref=f"{k}-0") for k in people]
    for what, rows in (("announced", announced), ("late", late), ("returned later", back)):
        more = renumbered(pa.concat_tables([_world(), world(rows)]))
        assert asked(task, more, [LAST]) == expected, f"{what} rows are seen"


def spine_fits_the_view(task: Any) -> None:
    """Everyone asked has a row before the cutoff, and every one of them gets one label."""
    opened = tables(_brought(_world()))
    known = set(_pairs(opened.backend.to_pyarrow(opened.asof(CUTOFFS).customers)))
    opened.backend.disconnect()
    spine, found = asked(task, _world()), labels(task, _world())
    assert spine <= known, "strangers are asked"
    assert set(found) == spine, "labels of others than those asked"
    assert {cutoff for cutoff, _ in spine} == set(CUTOFFS), "a cutoff at which nobody is asked"


def labels_are_numbers(task: Any) -> None:
    """A label is a finite float64; that of an event is 0 or 1, and both occur."""
    found = statements(task, CUTOFFS).labels(_world())
    more = [LABEL_DAY] if task.points_days else []
    declared = [c.CUSTOMER, c.CUTOFF, LABEL, *more]
    assert found.column_names == declared, "other columns than declared"
    assert found.schema.field(LABEL).type == pa.float64(), "not float64"
    assert not found[LABEL].null_count, "a label is missing rather than dropped"
    values = set(found[LABEL].to_pylist())
    assert all(np.isfinite(v) for v in values), "not finite"
    if task.kind == "event":
        assert values == {0.0, 1.0}, f"labels {values}"
    assert min(values) >= 0, "an amount below 0"
    assert len(values) >= 2, "one label only"


def window_is_half_open(task: Any) -> None:
    """An order at ``t`` counts, one at ``t + h`` does not; a tick earlier it is the other way."""
    end = LAST + task.horizon_days * DAY
    without = _label(task)
    for when, counts in ((LAST, True), (end - TICK, True), (end, False), (LAST - TICK, False)):
        changed = _label(task, line(REGULAR, when, "new", 5_000)) != without
        assert changed == counts, (
            f"an order at {when} {'does not count' if counts else 'counts'} in [{LAST}, {end})"
        )


def taken_back_is_no_purchase(task: Any) -> None:
    """An order taken back entirely within the window is none; taken back in part it is one."""
    if hasattr(task.config, "outcome") or getattr(task.config, "table", "orders") != "orders":
        return  # asks about rows of a table, whatever became of them
    within = LAST + DAY * (task.horizon_days / 3)
    bought = line(REGULAR, within, "new", 5_000, 5)
    without, with_order = _label(task), _label(task, bought)
    assert with_order != without, "an order in the window does not count"
    back = line(REGULAR, within + DAY, "C", -5_000, -5, ref="new")
    assert _label(task, bought, back) == without, "an order taken back entirely counts"
    part = line(REGULAR, within + DAY, "C", -1_000, -1, ref="new")
    assert _label(task, bought, part) != without, "an order taken back in part does not count"
    old = line(REGULAR, within, "C", -100, -1, ref="before")
    assert _label(task, old) == without, "taking back an earlier order is taken for a purchase"


def known_by_maturity(task: Any) -> None:
    """Only rows known before ``t + h + m`` count, whenever they happened in the window."""
    happened = LAST + DAY
    matured = LAST + (task.horizon_days + task.maturity_days) * DAY
    without = _label(task)
    for known, counts in ((matured - TICK, True), (matured, False)):
        changed = _label(task, line(REGULAR, happened, "new", 5_000, known=known)) != without
        assert changed == counts, f"an order known at {known}, labels are known by {matured}"
    earlier = line(REGULAR, LAST - DAY, "old", 5_000, known=LAST + DAY)
    assert _label(task, earlier) == without, "an earlier order that became known late counts"


def later_rows_change_no_label(task: Any) -> None:
    """Labels of ``t`` depend on no row that happens or becomes known at ``t + h + m`` or later."""
    cutoff = CUTOFFS[0]
    matured = cutoff + (task.horizon_days + task.maturity_days) * DAY
    expected = labels(task, _world(), [cutoff])
    for clock in (c.EVENT_TIME, c.KNOWN_TIME):
        past = _before(_world(), clock, matured)
        assert past.num_rows < _world().num_rows
        assert labels(task, past, [cutoff]) == expected, f"rows with a later {clock} count"
    rows = [line(k, matured, f"after-{k}", 9_000) for k in range(1, 71)]
    rows += [line(k, cutoff + DAY, f"late-{k}", 9_000, known=matured + DAY) for k in range(1, 71)]
    more = renumbered(pa.concat_tables([_world(), world(rows)]))
    assert labels(task, more, [cutoff]) == expected, "rows after maturity count"


def one_pass(task: Any) -> None:
    """Several cutoffs at once give what each gives alone, whatever the order of rows."""
    together = labels(task, _world())
    alone: Labels = {}
    for cutoff in reversed(CUTOFFS):
        alone |= labels(task, _world(), [cutoff])
    assert together == alone, "cutoffs are mixed up"
    turned = _world().take(np.random.default_rng(5).permutation(_world().num_rows))
    assert labels(task, renumbered(turned)) == together, "the order of rows matters"


def perfect_and_constant(task: Any) -> None:
    """The labels as answers score perfect, one answer for everybody scores chance."""
    y = np.array(list(labels(task, _world()).values()))
    if task.kind == "amount":
        best = {"mae": 0.0, "rmse": 0.0, "gini": 1.0, "spearman": 1.0, "total_ratio": 1.0}
        same = {"gini": 0.0, "total_ratio": 1.0, "capture_at_10": _tenth(y)}
        for what, p, wanted in (
            ("perfect", y, best),
            ("constant", np.full_like(y, y.mean()), same),
        ):
            for metric, value in wanted.items():
                found = _metric(metric, y, p)
                assert abs(found - value) < 1e-9, f"{what}: {metric} {found}, not {value}"
        return
    rate = float(y.mean())
    assert 0 < rate < 1, f"a rate of {rate}"
    perfect = {"roc_auc": 1.0, "average_precision": 1.0, "accuracy": 1.0, "f1": 1.0,
               "log_loss": 0.0, "brier": 0.0, "ece": 0.0}  # fmt: skip
    chance = {"roc_auc": 0.5, "average_precision": rate, "brier": rate * (1 - rate), "ece": 0.0,
              "log_loss": -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)}  # fmt: skip
    for what, p, wanted in (("perfect", y, perfect), ("constant", np.full(len(y), rate), chance)):
        for metric, value in wanted.items():
            found = _metric(metric, y, p)
            assert abs(found - value) < 1e-9, f"{what} answers: {metric} {found}, not {value}"


def _tenth(y: Floats) -> float:
    """Share of the total that the first tenth of the rows has, the last of them in part."""
    whole, part = divmod(0.1 * len(y), 1)
    return float((y[: int(whole)].sum() + part * y[int(whole)]) / y.sum())


def _metric(name: str, y: Floats, p: Floats) -> float:
    return METRICS[name](Ranked.of(y, p, 0.5), np.ones(len(y)))


def slices_are_groups(task: Any) -> None:
    """Slices are named masks over the rows; without the columns they need there are none."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({
        "rfm__recency_days": rng.exponential(90, 400),
        "rfm__frequency_orders": rng.integers(0, 8, 400).astype(float),
        "rfm__T_days": rng.uniform(0, 800, 400),
        "rfm__monetary_value": rng.lognormal(3, 1, 400),
    })  # fmt: skip
    found = task.slices(X)
    assert found, "no slice at all"
    for name, mask in found.items():
        assert name.strip(), "a slice without a name"
        assert np.asarray(mask).dtype == np.bool_, f"{name}: no mask"
        assert np.asarray(mask).shape == (400,), f"{name}: not one value a row"
        assert 0 < np.asarray(mask).sum() < 400, f"{name}: nobody, or everybody"
    assert task.slices(X.rename(columns=lambda n: f"other__{n}")) == {}, "slices of no columns"
    holed = X.astype(float).mask(rng.random(X.shape) < 0.3)
    assert set(task.slices(holed)) == set(found), "missing values make slices disappear"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        declares,
        spine_is_blind,
        spine_fits_the_view,
        labels_are_numbers,
        window_is_half_open,
        taken_back_is_no_purchase,
        known_by_maturity,
        later_rows_change_no_label,
        one_pass,
        perfect_and_constant,
        slices_are_groups,
    )
}
