"""Progress that says what is done, what it took and how long the rest will be."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger("perennial")


class Progress:
    """Named stages with expected shares of the work; time left follows from the pace so far.

    Parameters
    ----------
    stages
        ``(name, weight)`` in order; a weight is the stage's usual seconds. Only ratios matter.
    """

    def __init__(self, title: str, stages: Sequence[tuple[str, float]]) -> None:
        self.title, self.stages = title, list(stages)
        self.durations: dict[str, float] = {}
        self._begun = time.monotonic()
        self._at = 0
        self._part = 0.0
        self._reused: set[int] = set()

    @contextmanager
    def stage(self, name: str) -> Iterator["Progress"]:
        """Announce a stage, time it, and say what is left afterwards."""
        self._at = next(i for i, (known, _) in enumerate(self.stages) if known == name)
        self._part = 0.0
        log.info("[%d/%d] %s ...", self._at + 1, len(self.stages), name)
        begun = time.monotonic()
        yield self
        self.durations[name] = time.monotonic() - begun
        self._part = 1.0
        self._say(f"{name} took {clock(self.durations[name])}")

    def reused(self, what: str) -> None:
        """Say that a stage was finished before, with the same inputs."""
        self._reused.add(self._at)
        log.info("      %s: already done with the same inputs", what)

    def recognised(self, names: Iterable[str]) -> None:
        """Pass stages that were finished before, with the same inputs."""
        for name in names:
            with self.stage(name):
                self.reused(name)

    def step(self, done: int, total: int, what: str) -> None:
        """Progress within the present stage."""
        self._part = done / total
        self._say(f"{what} {done}/{total}")

    def _say(self, what: str) -> None:
        weights = [weight for _, weight in self.stages]
        # Reused stages took no time and say nothing about the pace.
        done = sum(w for i, w in enumerate(weights[: self._at]) if i not in self._reused)
        done += 0 if self._at in self._reused else weights[self._at] * self._part
        left = sum(weights[self._at + 1 :]) + weights[self._at] * (1 - self._part)
        elapsed = time.monotonic() - self._begun
        # Until a tenth is behind us, the usual seconds are the better guess.
        pace = elapsed / done if done > 0.1 * sum(weights) else 1.0
        log.info(
            "      %s; %s since the start, about %s left", what, clock(elapsed), clock(left * pace)
        )


def clock(seconds: float) -> str:
    """``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
