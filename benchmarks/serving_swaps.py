"""Versions swapped and workers killed under load: how many requests fail.

``swaps``: another process takes over the socket again and again while requests arrive at a constant
rate; none may fail. ``kills``: the process is killed instead and started anew, which costs the
requests that were being answered, and none of those that wait.

    python benchmarks/serving_swaps.py [swaps kills] [--times 20] [--requests 20000] [--rate 100]
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import serving_load as load
from serving_load import Seen
from serving_world import learned, ours

from features.settings import Workspace
from serving.packaged import packaged
from serving.serve import LASTS_SECONDS, Server


def under_load(
    place: Workspace, X: np.ndarray, given: argparse.Namespace, change: Callable[[Server], None]
) -> tuple[Seen, float]:
    """What came back while ``change`` was done so many times, and the seconds of each."""
    with ours(place) as (own, server):
        took: list[float] = []

        def changed() -> None:
            for _ in range(given.times):
                begun = time.perf_counter()
                change(server)
                took.append(time.perf_counter() - begun)

        async def run() -> Seen:
            at, seconds = ("127.0.0.1", own.port), given.requests / given.rate
            asking = load.steady(at, own.sends(X, 1), given.rate, seconds, connections=32)
            seen, _ = await asyncio.gather(asking, asyncio.to_thread(changed))
            return seen

        return asyncio.run(run()), float(np.median(took))


def killed(server: Server) -> None:
    """The worker is killed; the parent starts another, as it does of one that has lasted."""
    time.sleep(LASTS_SECONDS)
    server.process.kill()
    server.keep(60)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["swaps", "kills"])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place, _, X = learned(Path(name))
        tag = packaged(place, "churn")
        ways: dict[str, Callable[[Server], None]] = {
            "swaps": lambda server: server.swap(tag), "kills": killed,
        }  # fmt: skip
        for what in given.what:
            seen, seconds = under_load(place, X, given, ways[what])
            bad = sum(n for status, n in seen.statuses().items() if status != 200) + seen.broken
            print(
                f"{what}: {given.times} under {given.rate:.0f} requests a second, {seconds:.1f} s "
                f"each; {len(seen.times)} answered, {bad} failed, p99 "
                f"{1e3 * seen.quantile(0.99):.0f} ms"
            )


if __name__ == "__main__":
    main()
