"""The bundle of a lifecycle: the stages' rules and the chain, as JSON and one npz.

A row is the short history of a customer, a count for each observable and period, so that a request
needs nothing else. Beside the common files: ``chain.npz``, and ``golden.npz`` with rows and the
answers given to them at training time. Answers need numpy alone.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.schema import FeatureColumn
from features.settings import Strict
from training import categories
from training.arrays import packed, unpacked
from training.bundle import ANSWER, Facts, Recorded, Shown, Typed, write_files
from training.contract import Explanation, Floats, matrix
from training.lifecycle.chain import Chain
from training.lifecycle.sequences import Ints, codes_of, counts_of, words_of_levels
from training.lifecycle.stages import Rules, Stage, time_in
from training.sentences import Language, meaning, say

if TYPE_CHECKING:
    import pandas as pd

CHAIN, GOLDEN = "chain.npz", "golden.npz"
SPACE = "log-odds of the state against the runner-up"
BATCH_ROWS, EXPLAINED_ROWS = 200, 50


class State(Strict):
    """One learned state as it was when it was learned."""

    id: str
    """Letter; A is the most active."""
    name: str
    words: str
    share: float
    dwell: float
    """Expected periods in it, once it is entered."""
    buying: float
    """Probability of an order in the next period."""
    next: dict[str, float]
    """Probabilities of the states of the next period."""
    levels: dict[str, dict[str, float]]
    """Observable, and of all but orders whether there was one -> level -> probability."""


class LifecycleAnswer(Facts):
    """What a lifecycle answers."""

    space: str
    observables: tuple[str, ...]
    """What rows count, in the order of their columns."""
    observe: dict[str, tuple[int, ...]]
    """Observables that the chain sees -> counts at which their levels begin."""
    stages: tuple[Stage, ...]
    hidden: dict[str, str]
    """Stages that the source cannot show, and why."""
    states: tuple[State, ...]


@dataclass(frozen=True)
class Seen:
    """Answers to rows, before they are put into words; arrays of shape (n_rows,)."""

    stage: Ints
    time: Ints
    """Periods in the stage."""
    state: Ints
    runner_up: Ints
    probability: Floats
    margin: Floats
    """Log-odds of the state against the runner-up."""
    next: Floats
    """States of the next period, shape (n_rows, n_states)."""
    buying: Floats
    """Probability of an order in the next period."""


@dataclass(frozen=True)
class LifecycleBundle:
    """A loaded lifecycle."""

    answer: LifecycleAnswer
    chain: Chain
    digest: str = ""
    """SHA-256 of the manifest; empty until written."""
    golden: Mapping[str, Floats] | None = None
    """``X`` and the answers given when it was learned."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in order."""
        return tuple(column.name for column in self.answer.columns)

    @cached_property
    def rules(self) -> Rules:
        """The stages over the observables."""
        return Rules(self.answer.stages, self.answer.observables)

    @cached_property
    def _observed(self) -> list[int]:
        return [self.answer.observables.index(name) for name in self.answer.observe]

    @property
    def inputs(self) -> list[Typed]:
        """The feature columns."""
        return [(name, "double") for name in self.columns]

    @property
    def outputs(self) -> list[Typed]:
        """Stage with time in it; state with probability and runner-up; what follows."""
        return [
            ("stage", "string"), ("periods_in_stage", "double"), ("state", "string"),
            ("state_name", "string"), ("probability", "double"), ("margin", "double"),
            ("runner_up", "string"), ("buying", "double"),
            *((f"next_{state.id}", "double") for state in self.answer.states),
        ]  # fmt: skip

    def counts(self, X: Floats) -> Floats:
        """Rows as (n_rows, n_periods, n_observables)."""
        return counts_of(X, len(self.answer.observables))

    def codes(self, X: Floats) -> Ints:
        """What the chain sees of rows."""
        seen = self.counts(X)[..., self._observed]
        return codes_of(seen, list(self.answer.observe.values()))

    def seen(self, X: Floats) -> Seen:
        """The answers to rows of shape (n_rows, n_columns); NaN = not observed."""
        paths = self.rules.paths(self.counts(X))
        found = self.chain.filtered(self.codes(X))
        last, step = found.state[:, -1], found.step[:, -1]
        rows = np.arange(len(X))
        order = np.argsort(-last, axis=1, kind="stable")
        own, other = order[:, 0], order[:, 1]
        return Seen(
            paths[:, -1], time_in(paths), own, other, last[rows, own],
            np.log(last[rows, own]) - np.log(last[rows, other]),
            self.chain.following(step), self.chain.buying(step),
        )  # fmt: skip

    def explain(self, X: Floats) -> Explanation:
        """What each observation added to the log-odds of the state, in the columns of the rows."""
        found = self.seen(X)
        base, moved = self.chain.evidence(self.codes(X), found.state, found.runner_up)
        contributions = np.zeros((len(X), len(self.answer.observables), moved.shape[1]))
        contributions[:, self._observed] = moved.transpose(0, 2, 1)
        return Explanation(base, contributions.reshape(len(X), -1), X, self.columns, SPACE)

    def told(self, X: Floats) -> list[dict[str, Any]]:
        """The answers to rows, as they are served."""
        found, states, stages = self.seen(X), self.answer.states, self.answer.stages
        return [
            {
                "stage": stages[stage].name, "periods_in_stage": time,
                "state": states[own].id, "state_name": states[own].name,
                "probability": probability, "margin": margin,
                "runner_up": states[other].id, "buying": buying,
                "next": {s.id: p for s, p in zip(states, following, strict=True)},
            }
            for stage, time, own, other, probability, margin, following, buying in zip(
                *(getattr(found, name).tolist() for name in Seen.__dataclass_fields__), strict=True
            )
        ]  # fmt: skip

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """The answers for a frame with the feature columns by name.

        Raises
        ------
        DataError
            If a column is missing, unknown or infinite.
        """
        import pandas as pd

        told = self.told(matrix(X, self.columns))
        flat = [
            {**{k: v for k, v in row.items() if k != "next"},
             **{f"next_{i}": p for i, p in row["next"].items()}}
            for row in told
        ]  # fmt: skip
        made = pd.DataFrame(flat, index=X.index, columns=[name for name, _ in self.outputs])
        return made.astype({"periods_in_stage": "float64"})

    def reasons(
        self, found: Explanation, row: int, language: Language = "en"
    ) -> list[tuple[int, str]]:
        """Columns of an explained row by falling contribution, each with its sentence."""
        moved, counts = found.contributions[row], np.take(found.values, row, axis=0)
        order = np.argsort(-np.abs(moved), kind="stable").tolist()
        return [(j, self._reason(j, float(counts[j]), float(moved[j]), language)) for j in order]

    def _reason(self, j: int, count: float, moved: float, language: Language) -> str:
        name = self.answer.observables[j * len(self.answer.observables) // len(self.columns)]
        edges = self.answer.observe.get(name)
        said = say("not observed", language) if np.isnan(count) else f"{count:.0f}"
        if edges and not np.isnan(count):
            said = words_of_levels(edges)[bisect_right(edges, count)]
        way = "for state" if moved > 0 else "for next" if moved < 0 else "for neither"
        what = meaning(self.answer.columns[j].meaning, language)
        return say(way, language, what=what, value=said)

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """For each row the ``top`` largest contributions, each as a short sentence."""
        found = self.explain(matrix(X, self.columns))
        return [
            [text for j, text in self.reasons(found, i)[:top] if found.contributions[i, j] != 0.0]
            for i in range(len(X))
        ]

    def answers(self, X: Floats) -> dict[str, Floats]:
        """All numbers of the answers, for the record."""
        found, explained = self.seen(X), self.explain(X)
        numbers = {n: np.asarray(getattr(found, n), np.float64) for n in Seen.__dataclass_fields__}
        return {**numbers, "base": explained.base, "contributions": explained.contributions}

    @property
    def recorded_answers(self) -> Mapping[str, Floats]:
        """The golden rows and their answers."""
        assert self.golden is not None, "a written bundle has golden rows"
        return self.golden

    @property
    def sample(self) -> tuple[Floats, Floats]:
        """The golden rows and their margins: who it was learned for."""
        return self.recorded_answers["X"], self.recorded_answers["margin"]

    def replay(self) -> float:
        """Largest difference between the golden answers and today's, over all their numbers."""
        golden = self.recorded_answers
        now = self.answers(golden["X"])
        return max(float(np.abs(now[n] - golden[n]).max(initial=0.0)) for n in now)

    def recorded(self) -> Iterator[Recorded]:
        """All golden rows to be answered, the first ones to be explained."""
        rows = categories.rows(self.answer.columns, self.recorded_answers["X"])
        for start in range(0, len(rows), BATCH_ROWS):
            asked = {"rows": rows[start : start + BATCH_ROWS]}
            yield Recorded("/predict", asked, partial(self._differ, start, "predictions"))
        yield Recorded(
            "/explain", {"rows": rows[:EXPLAINED_ROWS]}, partial(self._differ, 0, "explanations")
        )

    def _differ(self, start: int, key: str, reply: dict[str, Any]) -> float:
        """Largest difference of a reply's numbers; infinite where a stage or state differs."""
        golden, differences = self.recorded_answers, [0.0]
        for i, said in enumerate(reply[key], start):
            states, stages = self.answer.states, self.answer.stages
            known = (stages[int(golden["stage"][i])].name, states[int(golden["state"][i])].id,
                     states[int(golden["runner_up"][i])].id)  # fmt: skip
            if (said["stage"], said["state"], said["runner_up"]) != known:
                return float("inf")
            then = [golden[n][i] for n in ("time", "probability", "margin", "buying")]
            now = [said[n] for n in ("periods_in_stage", "probability", "margin", "buying")]
            then, now = [*then, *golden["next"][i]], [*now, *said["next"].values()]
            if "contributions" in said:
                moved = {k["feature"]: k["contribution"] for k in said["contributions"]}
                then = [*then, golden["base"][i], *golden["contributions"][i]]
                now = [*now, said["base"], *(moved[name] for name in self.columns)]
            differences.append(float(np.abs(np.subtract(now, then)).max()))
        return float(np.max(differences))

    def shown(self) -> Shown:
        """The golden row whose state is least sure, explained."""
        golden = self.recorded_answers
        unsure = int(np.argmin(golden["margin"]))
        rows = categories.rows(self.answer.columns, golden["X"][unsure : unsure + 1])
        return Shown("/explain", {"rows": rows}, _say)


def _say(reply: dict[str, Any]) -> list[str]:
    answer = reply["explanations"][0]
    return [
        f"a golden customer in stage {answer['stage']}, state {answer['state']} "
        f"({answer['state_name']}) with probability {answer['probability']:.2f}, "
        f"buys in the next period with {answer['buying']:.2f}:",
        *(f"  - {said}" for said in answer["reasons"]),
    ]


def columns_in_order(
    by_observable: Mapping[str, tuple[FeatureColumn, ...]], observables: tuple[str, ...]
) -> tuple[FeatureColumn, ...]:
    """The columns of a row: observable after observable, each from the oldest period on."""
    return tuple(column for name in observables for column in by_observable[name])


def write(
    bundle: LifecycleBundle, golden_rows: Floats, folder: Path, private: Ed25519PrivateKey
) -> str:
    """Write and sign the bundle with the answers to ``golden_rows``; return its digest."""
    files = {
        ANSWER: json.dumps(bundle.answer.model_dump(mode="json"), indent=1).encode(),
        CHAIN: packed(bundle.chain.arrays()),
        GOLDEN: packed({"X": golden_rows, **bundle.answers(golden_rows)}),
    }
    return write_files(files, folder, private)


def parse(files: Mapping[str, bytes], digest: str) -> LifecycleBundle:
    """The loaded lifecycle, from verified bytes."""
    answer = LifecycleAnswer(**json.loads(files[ANSWER]))
    return LifecycleBundle(
        answer, Chain.of(unpacked(files[CHAIN])), digest, unpacked(files[GOLDEN])
    )
