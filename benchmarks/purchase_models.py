"""Fits and predictions of the purchase models, beside pymc-marketing's MAP where it is installed.

BG/NBD customers are simulated with known parameters and observed for 100 to 730 days, times in
whole days. Each side runs in a fresh process on one thread; its first fit is "cold", its second
"warm". pymc-marketing's cold fit compiles what its cache on disk does not hold yet. Seconds are by
the clock and by the processor (children included), since the clock also measures what else runs
here. Memory is the peak of the cold fit above the peak before it. pymc-marketing fits BG/NBD by
``find_MAP`` under its default priors; parameters are compared in our standard errors of
log-parameters, likelihoods by our formula.

    [PYMC_PYTHON=<a Python that has it>] python benchmarks/purchase_models.py [100000 1000000]
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

SIZES = (100_000, 1_000_000)
TRUTH = {"r": 0.6, "alpha": 40.0, "a": 0.8, "b": 2.5}
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def simulated(n: int) -> Columns:
    """x, t_x, T of ``n`` customers, purchase by purchase."""
    rng = np.random.default_rng(n)
    T = rng.integers(100, 730, n).astype(np.float64)
    rate = rng.gamma(TRUTH["r"], 1.0 / TRUTH["alpha"], n)
    p = rng.beta(TRUTH["a"], TRUTH["b"], n)
    x, t_x, now = np.zeros(n), np.zeros(n), np.zeros(n)
    at = np.arange(n)
    while len(at):
        now[at] += rng.exponential(1.0 / rate[at])
        at = at[now[at] <= T[at]]
        x[at] += 1.0
        t_x[at] = now[at]
        at = at[rng.random(len(at)) >= p[at]]
    return x, np.minimum(np.maximum(np.round(t_x), x > 0), T), T


def memory() -> float:
    """Peak of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def timed(way: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, seconds by the clock, and seconds of the processor, children included."""
    begun = time.perf_counter(), sum(os.times()[:4])
    result = way()
    return result, time.perf_counter() - begun[0], sum(os.times()[:4]) - begun[1]


def ours(n: int) -> dict[str, Any]:
    """Our fits of one size, and predictions for it."""
    from training.models.purchases import BgNbd, Histories, ParetoNbd, fit

    rows = Histories(*simulated(n))
    held, found = memory(), {}
    for turn in ("cold", "warm"):
        fitted, *found[turn] = timed(lambda: fit(BgNbd, rows))
        if turn == "cold":
            found["memory"] = memory() - held
    found |= {
        "parameters": fitted.parameters,
        "errors": np.sqrt(np.diag(fitted.covariance)).tolist(),
        "log_likelihood": fitted.log_likelihood,
        "distinct": len(rows.compressed()),
    }
    model = fitted.model
    _, *compiling = timed(lambda: model.expected(rows.take(np.arange(2)), 365.0))
    asked = {"compile the expectation, once a process": compiling}
    for name, answer in {
        "P(alive)": lambda: model.p_alive(rows),
        "no purchase in 90 days": lambda: model.no_purchase(rows, 90.0),
        "purchases in 365 days": lambda: model.expected(rows, 365.0),
        "discounted purchases in 365 days": lambda: model.discounted(rows, 365.0, 0.0003),
    }.items():
        _, *asked[name] = timed(answer)
    _, *pareto = timed(lambda: fit(ParetoNbd, rows))
    return {**found, "predictions": asked, "pareto": pareto}


def theirs(n: int) -> dict[str, Any]:
    """pymc-marketing's fits of one size."""
    import pandas as pd
    from pymc_marketing import __version__
    from pymc_marketing.clv import BetaGeoModel

    x, t_x, T = simulated(n)
    frame = pd.DataFrame({"customer_id": np.arange(n), "frequency": x, "recency": t_x, "T": T})

    def mapped() -> Any:
        model = BetaGeoModel(data=frame)
        model.fit(method="map", progressbar=False)
        return model

    held, found = memory(), {"version": __version__}
    for turn in ("cold", "warm"):
        model, *found[turn] = timed(mapped)
        if turn == "cold":
            found["memory"] = memory() - held
    summary = model.fit_result
    found["parameters"] = {name: float(np.asarray(summary[name]).mean()) for name in TRUTH}
    return found


def measured(side: str, n: int, python: str = sys.executable) -> dict[str, Any]:
    """One side's figures from a process of its own."""
    words = [python, __file__, "--child", side, str(n)]
    printed = subprocess.check_output(words, text=True, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def line(name: str, pair: list[float]) -> str:
    """A name with its seconds by the clock and by the processor."""
    return f"    {name:40s} {pair[0]:8.2f} s {pair[1]:8.2f} s"


def likelihood(parameters: dict[str, float], n: int) -> float:
    """Log-likelihood of simulated customers by our formula."""
    from training.models.purchases import BgNbd, Histories

    rows = Histories(*simulated(n))
    return float(BgNbd(**parameters).log_likelihood(rows).sum())


def report(n: int, other: str | None) -> None:
    """Print both sides of one size."""
    load = os.getloadavg()[0]
    mine = measured("ours", n)
    print(f"{n:,} customers, {mine['distinct']:,} distinct histories; load before {load:.1f}")
    print("  by the clock and by the processor:")
    for name, pair in {
        "ours, BG/NBD cold": mine["cold"],
        "ours, BG/NBD warm": mine["warm"],
        "ours, Pareto/NBD": mine["pareto"],
        **mine["predictions"],
    }.items():
        print(line(name, pair))
    print(f"    memory of our cold fit {mine['memory']:+.0f} MB")
    if other is None:
        print("  pymc-marketing is not installed: no comparison (PYMC_PYTHON may name a Python)")
        return
    their = measured("theirs", n, other)
    for turn in ("cold", "warm"):
        ratios = [t / m for t, m in zip(their[turn], mine[turn], strict=True)]
        print(
            line(f"pymc-marketing {their['version']} MAP {turn}", their[turn]),
            f"  {ratios[0]:.1f}x and {ratios[1]:.1f}x ours",
        )
    print(f"    memory of their cold fit {their['memory']:+.0f} MB")
    logs = [np.log([found["parameters"][k] for k in TRUTH]) for found in (mine, their)]
    away = (logs[1] - logs[0]) / mine["errors"]
    for name, a, b, d in zip(TRUTH, *(np.exp(p) for p in logs), away, strict=True):
        print(f"    {name:6s} ours {a:9.4f}, theirs {b:9.4f}, {d:+.3f} of our standard errors")
    gain = mine["log_likelihood"] - likelihood(their["parameters"], n)
    print(f"    log-likelihood: ours higher by {gain:.4f}", flush=True)


def main() -> None:
    """Measure the named sizes, or all."""
    words = sys.argv[1:]
    if words[:1] == ["--child"]:
        print(json.dumps({"ours": ours, "theirs": theirs}[words[1]](int(words[2]))))
        return
    other = os.environ.get("PYMC_PYTHON")
    if other is None and find_spec("pymc_marketing"):
        other = sys.executable
    for n in [int(word) for word in words] or SIZES:
        report(n, other)


if __name__ == "__main__":
    main()
