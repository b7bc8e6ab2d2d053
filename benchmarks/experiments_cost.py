"""What tracking and review cost: seconds by stage, `--help`, and four finished pipelines run again.

On the simulated retailer with 500 customers, in folders of its own. `tracking and review` is the
stages judge (review pack) and register (MLflow and record); the rest is what learning takes anyway.

    python benchmarks/experiments_cost.py [customers]
"""

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("churn", "clv", "segments", "recommend")
OVERHEAD = ("judge", "register")
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    settings = (f"source.simulate.customers={customers}", "bootstrap=200")
    starts = [_seconds("--help") for _ in range(5)]
    print(f"--help: median {statistics.median(starts):.2f} s, fastest {min(starts):.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("store", "registry", "keys"):
            variable = "PERENNIAL_KEYS_DIR" if name == "keys" else f"PERENNIAL_{name.upper()}"
            os.environ[variable] = str(Path(folder) / name)
        for name in NAMES:
            stages = _stages(name, settings)
            total, over = sum(stages.values()), sum(stages[stage] for stage in OVERHEAD)
            told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
            share = f"{over / total:.0%}"
            print(f"{name}: {total:.1f} s, tracking and review {over:.1f} s ({share}); {told}")
        words = [w for setting in settings for w in ("--set", setting)]
        again = _seconds("run", *(f"configs/{name}.yaml" for name in NAMES), *words)
        print(f"all four run again, finished: {again:.1f} s")


def _stages(name: str, settings: tuple[str, ...]) -> dict[str, float]:
    """Seconds of each stage of a first run."""
    from features.settings import Workspace
    from training.pipeline import load_plan
    from training.runs import run

    begun: list[tuple[str, float]] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            """Note when a stage begins."""
            said = record.getMessage()
            if said.startswith("["):
                begun.append((said.split()[1], time.monotonic()))

    log, watch = logging.getLogger("perennial"), Watch()
    log.setLevel(logging.INFO)
    log.addHandler(watch)
    place = Workspace.locate(configs=ROOT / "configs")
    run(place, load_plan(place, ROOT / "configs" / f"{name}.yaml", settings))
    log.removeHandler(watch)
    ends = [at for _, at in begun[1:]] + [time.monotonic()]
    return {stage: end - at for (stage, at), end in zip(begun, ends, strict=True)}


def _seconds(*words: str) -> float:
    """Wall seconds of a command of the door, with its start."""
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "training", *words], cwd=ROOT, check=True, capture_output=True
    )
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
