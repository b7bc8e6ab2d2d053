"""Whether one more request may wait: of bodies that are at work, and by how long others wait."""

import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class Entered:
    """A request that was let in and is not answered yet."""

    size: int
    """Bytes of its body, as declared."""
    whole: float | None = None
    """Since when its body is there; None = it is still on its way, and keeps nobody waiting."""

    def arrived(self) -> None:
        """Note that the body is there."""
        self.whole = time.perf_counter()


@dataclass
class Backlog:
    """The requests of one path that wait for the same thread, or are at work in it.

    What a request costs cannot be told from its body, which may bring rows or name customers. How
    long the oldest has been waiting says how long the next one would, on any machine and model; and
    as nobody waits longer, those let in are answered soon while the others are refused at once.
    """

    most: int | None
    """Bytes of bodies that may be inside together, which bounds a burst; None = any."""
    wait: float | None
    """Seconds that the oldest may have waited when another is let in; None = any."""
    inside: set[Entered] = field(default_factory=set)

    def full(self, size: int) -> bool:
        """Whether a request with a body of ``size`` bytes is refused; the first one never is."""
        if not self.inside:
            return False
        if self.most is not None and size + sum(one.size for one in self.inside) > self.most:
            return True
        if self.wait is None:
            return False
        now = time.perf_counter()
        return now - min(one.whole or now for one in self.inside) > self.wait

    def enter(self, size: int) -> Entered:
        """Let a request in."""
        entered = Entered(size)
        self.inside.add(entered)
        return entered
