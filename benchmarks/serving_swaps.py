"""Versions swapped, workers restarted and killed under load: how many requests fail.

``swaps``: another process takes over the socket again and again while requests arrive at a constant
rate; none may fail. ``restarts``: the process is asked to end, and another started when it has;
requests wait meanwhile and none may fail. ``kills``: it is killed, which costs the requests that
were being answered, and none of those that wait.

    python benchmarks/serving_swaps.py [swaps restarts kills] [--times 20] [--requests 20000]
        [--rate 150]
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import serving_load as load
from serving_load import Seen
from serving_world import SERVER, learned, ours

from features.settings import Workspace
from serving import serve
from serving.packaged import packaged
from serving.serve import Server


def under_load(
    place: Workspace, X: np.ndarray, given: argparse.Namespace, change: Callable[[Server], None]
) -> tuple[Seen, list[float]]:
    """What came back, and the seconds of each ``change``: of all, or those begun under load."""
    with ours(place) as (own, server):
        took, seconds = list[float](), given.requests / given.rate

        def changed() -> None:
            os.sched_setaffinity(0, SERVER)  # what this thread starts stays on that core
            first = time.perf_counter()
            for k in range(given.times):
                begun = max(time.perf_counter(), first + (k + 0.5) * seconds / given.times)
                if begun > first + seconds:
                    break
                time.sleep(max(0.0, begun - time.perf_counter()))
                change(server)
                took.append(time.perf_counter() - begun)

        async def run() -> Seen:
            at = own.at
            asking = load.steady(at, own.sends(X, 1), given.rate, seconds, connections=32)
            seen, _ = await asyncio.gather(asking, asyncio.to_thread(changed))
            return seen

        return asyncio.run(run()), took


def ended(by: signal.Signals) -> Callable[[Server], None]:
    """The worker gets a signal; the parent starts another, as it does of one that has lasted."""

    def change(server: Server) -> None:
        with patch.object(serve, "LASTS_SECONDS", 0.0):
            server.process.send_signal(by)
            server.keep(60)

    return change


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["swaps", "restarts", "kills"])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=150.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place, _, X = learned(Path(name))
        tag = packaged(place, "churn")
        ways: dict[str, Callable[[Server], None]] = {
            "swaps": lambda server: server.swap(tag),
            "restarts": ended(signal.SIGTERM), "kills": ended(signal.SIGKILL),
        }  # fmt: skip
        for what in given.what:
            seen, took = under_load(place, X, given, ways[what])
            bad = sum(n for status, n in seen.statuses().items() if status != 200) + seen.broken
            print(
                f"{what}: {len(took)} under {given.rate:.0f} requests a second, "
                f"{np.median(took):.1f} s each; {len(seen.times)} answered, {bad} failed "
                f"({seen.broken} cut off), p99 {1e3 * seen.quantile(0.99):.0f} ms"
            )


if __name__ == "__main__":
    main()
