"""Services under load: ours beside FastAPI, BentoML's plain API and ``mlflow models serve``.

The services are those of ``serving_world``; the typed FastAPI service checks keys and writes audit
lines too. Rounds go in turns; figures are medians over rounds, ratios are ours by theirs. ``peak``:
32 connections that wait for their answers, 4 where 100 rows are explained. ``p99``: open loop at a
constant rate, 70 % of the weakest opponent's peak.

    python benchmarks/serving_http.py [compare mixed overload batch] [--seconds 2] [--rounds 5]
        [--overload-seconds 30] [--rows 100000]
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import serving_load as load
import serving_opponents as opponents
import xgboost
from serving_load import Seen
from serving_world import BODIES, KEY, Commands, Service, commands, learned, opponent, ours

from features.settings import Workspace
from training import bundle as bundles
from training.keys import verifying_key
from training.supervised.bundle import Bundle


def turns(
    rounds: int, cells: dict[str, Callable[[], Seen]], figure: Callable[[Seen], float]
) -> dict[str, float]:
    """The median over rounds of each cell's figure; cells take turns."""
    found: dict[str, list[float]] = {name: [] for name in cells}
    for _ in range(rounds):
        for name, run in cells.items():
            seen = run()
            if seen.broken or any(status != 200 for status in seen.statuses()):
                print(f"  {name}: {seen.statuses()}, {seen.broken} broken")
            found[name].append(figure(seen))
    return {name: statistics.median(values) for name, values in found.items()}


def peaks(
    services: list[Service],
    X: np.ndarray,
    rows: int,
    path: str,
    given: argparse.Namespace,
    connections: int = 32,
) -> dict[str, float]:
    """Requests a second of each service."""

    def cell(service: Service) -> Callable[[], Seen]:
        sends = service.sends(X, rows, path)
        return lambda: load.together(load.peak(service.at, sends, given.seconds, connections))[0]

    for service in services:  # a first request may compile
        load.together(load.peak(service.at, service.sends(X, rows, path), 0.5, 2))
    found = turns(given.rounds, {s.name: cell(s) for s in services}, Seen.rate)
    for name, rate in found.items():
        print(f"  {path or '/predict'} x {rows:3d} {name:8s} {rate:8.1f} requests/s")
    return found


def mark(said: str, value: float, least: float | None = None, most: float | None = None) -> None:
    """One line, and whether it is as it should be."""
    wanted = f">= {least:g}" if least is not None else f"<= {most:g}"
    met = value >= least if least is not None else most is not None and value <= most
    print(f"  {'met   ' if met else 'MISSED'} {said}: {value:.2f} ({wanted})")


def compare(place: Workspace, started: Commands, X: np.ndarray, given: argparse.Namespace) -> None:
    """Everything side by side."""
    with ours(place) as (own, _), ExitStack() as stack:
        others = [
            stack.enter_context(opponent(name, command, port, **asked))
            for name, (command, port, asked) in started.items()
        ]
        fast = others[0]
        print("ready and memory")
        for service in (own, *others):
            print(f"  {service.name:8s} {service.ready:5.1f} s {service.memory:6.0f} MB")
        mark("ready, seconds", own.ready, most=5)
        print("peak, 32 connections")
        one = peaks([own, *others], X, 1, "", given)
        many = peaks([own, fast], X, 100, "", given)
        why = peaks([own, fast], X, 1, "/explain", given)
        whys = peaks([own, fast], X, 100, "/explain", given, connections=4)
        for name, least in (("fastapi", 1.0), ("bentoml", 2.5), ("mlflow", 4.0)):
            mark(f"predict x 1, ours by {name}", one["ours"] / one[name], least)
        print(f"         predict x 1, ours by bare FastAPI: {one['ours'] / one['bare']:.2f}")
        mark("predict x 100, ours by fastapi", many["ours"] / many["fastapi"], 1.0)
        mark("explain x 1, ours by fastapi", why["ours"] / why["fastapi"], 3.0)
        mark("explain x 100, ours by fastapi", whys["ours"] / whys["fastapi"], 10.0)
        latency([own, *others], X, 0.7 * min(one.values()), given)


def latency(services: list[Service], X: np.ndarray, rate: float, given: argparse.Namespace) -> None:
    """p99 of one-row predictions at a constant rate."""

    def cell(service: Service) -> Callable[[], Seen]:
        sends = service.sends(X, 1)
        return lambda: load.together(load.steady(service.at, sends, rate, given.seconds))[0]

    print(f"p99 at {rate:.0f} requests/s, constant arrival")
    found = turns(given.rounds, {s.name: cell(s) for s in services}, lambda s: s.quantile(0.99))
    for name, seconds in found.items():
        print(f"  {name:8s} {1e3 * seconds:7.2f} ms")
    mark("p99, ours by the best opponent's",
         found["ours"] / min(v for n, v in found.items() if n != "ours"), most=1.0)  # fmt: skip


def mixed(place: Workspace, X: np.ndarray, given: argparse.Namespace) -> None:
    """Predictions at 30 % of their peak: by row, by customer id, and beside explanations."""
    with ours(place) as (own, _):
        rate = 0.3 * peaks([own], X, 1, "", given)["ours"]
        explained = 0.15 * peaks([own], X, 1, "/explain", given)["ours"]
        rows, why = own.sends(X, 1), own.sends(X, 1, "/explain")
        bodies = [json.dumps({"customers": [f"c{k}"]}).encode() for k in range(BODIES)]
        named = [load.request("/predict", body, [f"X-API-Key: {KEY}"]) for body in bodies]
        ids = itertools.cycle(named).__next__

        def predicting(sends: Callable[[], bytes]) -> Coroutine[Any, Any, Seen]:
            return load.steady(own.at, sends, rate, given.seconds)

        cells = {
            "row": lambda: load.together(predicting(rows))[0],
            "id": lambda: load.together(predicting(ids))[0],
        }
        print(f"predict by row and by customer id, {rate:.0f} a second")
        found = turns(given.rounds, cells, lambda seen: 1e3 * seen.quantile(0.5))
        print(f"  median by row {found['row']:.2f} ms, by id {found['id']:.2f} ms")
        mark("by id less by row, ms", found["id"] - found["row"], most=1.0)

        cells = {
            "alone": lambda: load.together(predicting(rows))[0],
            "mixed": lambda: load.together(
                predicting(rows), load.steady(own.at, why, explained, given.seconds)
            )[0],
        }
        print(f"predict at {rate:.0f} a second, alone and beside {explained:.0f} explanations")
        found = turns(given.rounds, cells, lambda seen: seen.quantile(0.99))
        print(f"  p99 alone {1e3 * found['alone']:.2f} ms, mixed {1e3 * found['mixed']:.2f} ms")
        mark("p99 mixed by alone", found["mixed"] / found["alone"], most=1.2)


@dataclass
class Flooded:
    """A service at its peak, and at twice as many requests a second, in turns."""

    peak: Seen
    over: Seen
    answered: float
    """Seconds of processor that an answer takes at the peak."""
    refused: float
    """Seconds of processor for each refusal, if answers cost as much as at the peak; NaN = none."""
    kept: float
    """Answers a second of the flooded service by those at its peak, the median over turns."""


def flooded(
    service: Service, X: np.ndarray, path: str, rows: int, seconds: float, turns: int
) -> Flooded:
    """Ask twice as much of a service as it answers to clients that wait.

    A shared machine is not as quick all the time, so the peak is measured before and after each
    turn.
    """
    at, sends, few = service.at, service.sends(X, rows, path), 4 if rows > 1 else 32
    spent = [service.busy]

    def seen(asking: Coroutine[Any, Any, Seen]) -> Seen:
        found = load.together(asking)[0]
        spent.append(service.busy)
        return found

    peaks, overs = [seen(load.peak(at, sends, 4, few))], list[Seen]()
    for _ in range(turns):
        overs.append(seen(load.steady(at, sends, 2 * peaks[-1].rate(), seconds / turns)))
        peaks.append(seen(load.peak(at, sends, 4, few)))
    peak, over, took = load.joined(peaks), load.joined(overs), np.diff(spent)
    told, refused = over.statuses(), sum(over.refusals().values())
    answered = took[::2].sum() / peak.statuses()[200]
    more = (took[1::2].sum() - told.get(200, 0) * answered) / refused if refused else float("nan")
    kept = [
        2 * turn.rate() / (before.rate() + after.rate())
        for before, turn, after in zip(peaks, overs, peaks[1:], strict=False)
    ]
    found = Flooded(peak, over, answered, more, statistics.median(kept))
    print(f"{service.name}: {path} x {rows}, {peak.rate():.1f} answers a second at its peak")
    print(f"  at twice that for {seconds:g} s {over.rate():.1f} a second, by status {told}, "
          f"{over.broken} broken connections")  # fmt: skip
    print(f"  processor ms of an answer {1e3 * answered:.2f}, of a refusal {1e3 * more:.2f}")
    print(f"  of the peaks before and after, by turn: {' '.join(f'{share:.2f}' for share in kept)}")
    return found


def overload(place: Workspace, started: Commands, X: np.ndarray, given: argparse.Namespace) -> None:
    """Twice as many explanations of 100 rows, and predictions, as can be answered."""
    command, port, asked = started["bare"]
    with ours(place) as (own, _), opponent("bare", command, port, **asked) as bare:
        whys = flooded(own, X, "/explain", 100, given.overload_seconds, given.rounds)
        mark("goodput by peak", whys.kept, 0.9)
        mark("accepted p99 by p99 at the peak",
             whys.over.quantile(0.99) / whys.peak.quantile(0.99), most=2.0)  # fmt: skip
        recovers(own, X, "/explain", 100)
        one, theirs = (flooded(s, X, "/predict", 1, 10, given.rounds) for s in (own, bare))
        mark("goodput, ours by bare FastAPI", one.over.rate() / theirs.over.rate(), 1.0)
        mark("goodput by peak, ours by bare FastAPI", one.kept / theirs.kept, 1.0)
        mark("processor time of an answer, ours by bare FastAPI",
             one.answered / theirs.answered, most=1.0)  # fmt: skip
        recovers(own, X, "/predict", 1)
        for over in (whys.over, one.over):
            if over.refusals():
                mark("refusal p99, ms", 1e3 * over.quantile(0.99, refused=True), most=20)
            other = sum(n for s, n in over.refusals().items() if s not in (429, 503))
            mark("other than 200, 429, 503", other, most=0)


def recovers(service: Service, X: np.ndarray, path: str, rows: int) -> None:
    """Seconds until all of a small load is answered again."""
    sends, begun = service.sends(X, rows, path), time.perf_counter()
    while load.together(load.steady(service.at, sends, 5, 1, 4))[0].statuses() != {200: 5}:
        pass
    mark("recovery, seconds", time.perf_counter() - begun, most=5)


def batch(
    place: Workspace, root: Path, model: Path, X: np.ndarray, given: argparse.Namespace
) -> None:
    """Rows a second, scored and explained, beside raw XGBoost on one thread."""
    loaded = bundles.load(root / "bundle", verifying_key(place.keys))
    assert isinstance(loaded, Bundle)
    booster = opponents.opened(str(model))
    big = np.tile(X, (given.rows // len(X) + 1, 1))[: given.rows]
    few, some = big[:2_000], big[: max(given.rows // 10, 2_000)]
    loaded.predict(few)
    loaded.explain(few)

    def rate(run: Callable[[], object], rows: int) -> float:
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
        return rows / statistics.median(times)

    scored = rate(lambda: loaded.predict(big), len(big))
    raw = rate(lambda: booster.inplace_predict(big), len(big))
    explained = rate(lambda: loaded.explain(some), len(some))
    contribs = rate(
        lambda: booster.predict(xgboost.DMatrix(few, nthread=1), pred_contribs=True), len(few)
    )
    print(f"batch, {len(big)} rows scored, {len(some)} explained (pred_contribs on {len(few)})")
    print(f"  scored    {scored:10.0f} rows/s, XGBoost {raw:10.0f}: {scored / raw:.2f}")
    print(f"  explained {explained:10.0f} rows/s, XGBoost {contribs:10.0f}")
    mark("explained, ours by XGBoost", explained / contribs, 15)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["compare", "mixed", "overload", "batch"])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overload-seconds", type=float, default=30.0)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place, model, X = learned(Path(name))
        started = commands(Path(name), model)
        if "compare" in given.what:
            compare(place, started, X, given)
        if "mixed" in given.what:
            mixed(place, X, given)
        if "overload" in given.what:
            overload(place, started, X, given)
        if "batch" in given.what:
            batch(place, Path(name), model, X, given)


if __name__ == "__main__":
    main()
