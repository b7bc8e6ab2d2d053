"""Gates: what a version must reach, and every demand with what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from pydantic import model_validator

from features.errors import ConfigError
from features.settings import Strict
from training.contract import Floats
from training.metrics import LOWER_IS_BETTER, UNDIRECTED, interval
from training.sentences import figures

CANDIDATE, CHAMPION = "candidate", "champion"
MEASURED = ("worst_slice", "one_row_ms", "golden_rows_ms", "bundle_mb")
"""What gates may bound beside metrics, by min and max alone."""


class Gate(Strict):
    """What a version must reach on one metric before it may be approved."""

    min: float | None = None
    """The value must not be below."""
    max: float | None = None
    """The value must not be above."""
    beats_baseline: bool = False
    """The paired 95 % interval of the difference to the declared baseline must exclude zero."""
    others_margin: float | None = None
    """The interval must not show the best of the other baselines better by more than this."""
    champion_margin: float | None = None
    """The paired interval must not show the candidate worse than the champion by more than this."""
    mode: Literal["enabled", "dry_run"] = "enabled"
    """``dry_run``: shown and kept in the record, but stops nothing."""

    @model_validator(mode="after")
    def _something(self) -> "Gate":
        if self == type(self).model_construct(
            min=None, max=None, beats_baseline=False, others_margin=None, champion_margin=None,
            mode=self.mode,
        ):  # fmt: skip
            raise ValueError(
                "a gate demands something: min, max, beats_baseline, others_margin or "
                "champion_margin"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Answers compared by the same bootstrap draws over customers."""

    draws: Mapping[str, Mapping[str, Floats]]
    """Answer -> metric -> array (1 + repeats,): the value, then one per draw."""
    lower_is_better: frozenset[str] = LOWER_IS_BETTER
    undirected: frozenset[str] = UNDIRECTED
    """Metrics without better or worse."""

    def table(self) -> pd.DataFrame:
        """Tidy: answer, metric, value, ci_low, ci_high."""
        lines = []
        for name, metrics in self.draws.items():
            for metric, values in metrics.items():
                low, high = interval(values[1:])
                lines.append({
                    "answer": name, "metric": metric,
                    "value": values[0], "ci_low": low, "ci_high": high,
                })  # fmt: skip
        return pd.DataFrame(lines)

    def difference(self, metric: str, better: str, other: str) -> tuple[float, float, float]:
        """By how much ``better`` beats ``other``: value and paired interval, above 0 = it does."""
        sign = -1.0 if metric in self.lower_is_better else 1.0
        values = sign * (self.draws[better][metric] - self.draws[other][metric])
        return (float(values[0]), *interval(values[1:]))

    def differences(self) -> pd.DataFrame:
        """Tidy: candidate against every other answer on every metric with a direction."""
        lines = []
        for other in self.draws:
            if other == CANDIDATE:
                continue
            for metric in self.draws[CANDIDATE]:
                if metric in self.undirected or metric not in self.draws[other]:
                    continue
                value, low, high = self.difference(metric, CANDIDATE, other)
                lines.append(
                    {
                        "against": other,
                        "metric": metric,
                        "better_by": value,
                        "ci_low": low,
                        "ci_high": high,
                    }
                )
        return pd.DataFrame(lines)


def check_gates(
    gates: Mapping[str, Gate], known: Sequence[str], undirected: frozenset[str] = UNDIRECTED
) -> None:
    """Refuse gates on metrics that are not ``known`` for this kind of question.

    Raises
    ------
    ConfigError
        Naming every unknown metric.
    """
    unknown = [name for name in gates if name not in known]
    if unknown:
        raise ConfigError(f"gates: unknown metric(s) {unknown}; known: {sorted(known)}")
    aimless = [
        n
        for n, g in gates.items()
        if n in undirected.union(MEASURED)
        and (g.beats_baseline or g.others_margin or g.champion_margin)
    ]
    if aimless:
        raise ConfigError(
            f"gates: {aimless} have no better or worse, or no interval; give min and max alone"
        )


def gate_results(
    gates: Mapping[str, Gate],
    judged: Compared,
    baseline: str,
    champion_note: str,
    checks: Mapping[str, tuple[float, float]],
    measured: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Every demand with what was found; pure, and complete: nothing that is asked for is left out.

    Parameters
    ----------
    champion_note
        Why there is no champion to compare with; empty where there is one.
    checks
        Further checks: name -> (found, at most).
    measured
        What else gates may speak of, without an interval.
    """
    results = []
    counts = True

    def add(gate: str, found: str, passed: bool, demand: str) -> None:
        result = {"gate": gate, "demand": demand, "found": found, "passed": passed}
        results.append(result | {"counts": counts})

    for metric, gate in gates.items():
        counts = gate.mode == "enabled"
        known = measured or {}
        value = known[metric] if metric in known else float(judged.draws[CANDIDATE][metric][0])
        if gate.min is not None:
            add(f"{metric} floor", figures(value)[0], value >= gate.min, f"at least {gate.min:g}")
        if gate.max is not None:
            add(f"{metric} ceiling", figures(value)[0], value <= gate.max, f"at most {gate.max:g}")
        if gate.beats_baseline:
            by, low, high = judged.difference(metric, CANDIDATE, baseline)
            add(
                f"{metric} beats {baseline}",
                _range(by, low, high),
                low > 0,
                "paired 95 % interval above 0",
            )
        if gate.others_margin is not None:
            others = [
                judged.difference(metric, CANDIDATE, name)
                for name, found in judged.draws.items()
                if name not in (CANDIDATE, CHAMPION, baseline) and metric in found
            ]
            by, low, high = min(others, default=(float("inf"),) * 3)
            add(
                f"{metric} against the best other baseline",
                _range(by, low, high) if others else "there is no other",
                low >= -gate.others_margin,
                f"not worse by more than {gate.others_margin:g}",
            )
        if gate.champion_margin is not None:
            demand = f"not worse by more than {gate.champion_margin:g}"
            if champion_note:
                add(f"{metric} against champion", champion_note, True, demand)
            else:
                by, low, high = judged.difference(metric, CANDIDATE, CHAMPION)
                add(
                    f"{metric} against champion",
                    _range(by, low, high),
                    low >= -gate.champion_margin,
                    demand,
                )
    counts = True
    for name, (found, limit) in checks.items():
        add(name, f"{found:.3g}", bool(found <= limit), f"at most {limit:g}")
    return results


def failed(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results that stop an approval: failed, and not of a gate in dry run."""
    return [r for r in results if not r["passed"] and r.get("counts", True)]


def _range(by: float, low: float, high: float) -> str:
    return "better by {} [{}, {}]".format(*figures(by, low, high, sign="+"))
