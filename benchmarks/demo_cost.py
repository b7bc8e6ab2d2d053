"""Time and memory of the whole demo: `make demo` after installation, first and second run.

Memory is the largest sum of resident memory over the process tree, sampled every 0.2 seconds;
shared pages count once for each process, so it is an upper bound. The second run is timed up to the
moment at which every service has answered.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/demo_cost.py [source [pipeline ...]]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PIPELINES = ("churn", "clv", "segments", "recommend")


def watched(
    command: list[str], environment: dict[str, str], services: int
) -> tuple[float, float, float]:
    """Seconds in all, seconds up to the last ready service, peak MB of the process tree."""
    begun = time.monotonic()
    peak = ready = 0.0
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=output, text=True
        )
        while child.poll() is None:
            peak = max(peak, tree_memory(child.pid))
            if not ready and _read(output).count(" is ready at ") == services:
                ready = time.monotonic() - begun
            time.sleep(0.2)
        if child.returncode != 0:
            sys.exit(_read(output))
    return time.monotonic() - begun, ready, peak / 1e6


def tree_memory(pid: int) -> float:
    """Bytes of resident memory of a process and all its children."""
    total = 0.0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended between listing and asking
    return total


def _read(stream: object) -> str:
    with open(f"/proc/self/fd/{stream.fileno()}") as again:  # type: ignore[attr-defined]
        return again.read()


def main() -> None:
    """Run the demo twice in empty folders and print what it cost."""
    source = sys.argv[1] if len(sys.argv) > 1 else "online_retail_II"
    pipelines = sys.argv[2:] or PIPELINES
    if source != "simulated" and not os.environ.get("PERENNIAL_DATA_DIR"):
        sys.exit("set PERENNIAL_DATA_DIR to the data folder")
    with tempfile.TemporaryDirectory() as work:
        places = {
            name: str(Path(work) / name.lower()) for name in ("STORE", "REGISTRY", "KEYS_DIR")
        }
        environment = os.environ | {f"PERENNIAL_{name}": path for name, path in places.items()}
        command = [sys.executable, "-m", "serving", "demo", *pipelines, "--source", source]
        print(f"{' '.join(pipelines)}, source {source}, {os.cpu_count()} cores")
        for run in ("first", "second"):
            before = sum(os.times()[2:4])
            seconds, ready, peak = watched(command, environment, len(pipelines))
            print(
                f"{run} run: {seconds:.0f} s, {sum(os.times()[2:4]) - before:.0f} s of processor "
                f"time, {ready:.0f} s up to the last service, peak {peak:.0f} MB"
            )


if __name__ == "__main__":
    main()
