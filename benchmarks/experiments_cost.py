"""What tracking and review cost: seconds by stage, `--help`, and four finished pipelines run again.

On the simulated retailer with 300 customers and six cutoffs, in its own folders. `tracking and
review` is the stages judge (review pack) and register (MLflow, record); the rest is what learning
takes anyway. Seconds are of the processor, which do not depend on what else the machine does; wall
seconds stand in brackets.

    python benchmarks/experiments_cost.py [customers [folder to keep]]
"""

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

NAMES = ("churn", "clv", "segments", "recommend")
OVERHEAD = ("judge", "register")
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    settings = (
        f"source.simulate.customers={customers}", "bootstrap=200", "cutoffs.count=6",
        "cutoffs.folds=2", "cutoffs.fold_steps=1",
    )  # fmt: skip
    starts = [_door("--help") for _ in range(5)]
    median = [statistics.median(found) for found in zip(*starts, strict=True)]
    print(f"--help: median {median[0]:.2f} s [{median[1]:.2f} s wall]")
    kept = nullcontext(sys.argv[2]) if len(sys.argv) > 2 else tempfile.TemporaryDirectory()
    with kept as folder:
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
        spent, wall = _door("run", *(f"configs/{name}.yaml" for name in NAMES), *words)
        print(f"all four run again, finished: {spent:.1f} s [{wall:.1f} s wall]")


def _stages(name: str, settings: tuple[str, ...]) -> dict[str, float]:
    """Processor seconds of each stage of a first run."""
    from features.settings import Workspace
    from training.pipeline import load_plan
    from training.runs import run

    begun: list[tuple[str, float]] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            """Note when a stage begins."""
            said = record.getMessage()
            if said.startswith("["):
                begun.append((said.split()[1], _spent()))

    log, watch = logging.getLogger("perennial"), Watch()
    log.setLevel(logging.INFO)
    log.addHandler(watch)
    place = Workspace.locate(configs=ROOT / "configs")
    run(place, load_plan(place, ROOT / "configs" / f"{name}.yaml", settings))
    log.removeHandler(watch)
    ends = [at for _, at in begun[1:]] + [_spent()]
    return {stage: end - at for (stage, at), end in zip(begun, ends, strict=True)}


def _spent() -> float:
    """Processor seconds of this process and of its children that ended."""
    return sum(os.times()[:4])


def _door(*words: str) -> tuple[float, float]:
    """Processor and wall seconds of a command, with its start."""
    before, begun = _spent(), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "training", *words], cwd=ROOT, check=True, capture_output=True
    )
    return _spent() - before, time.monotonic() - begun


if __name__ == "__main__":
    main()
