"""A study that outlives its process and that several processes and machines work on.

Trials have places, 0 to n - 1, and are proposed in batches. A proposal depends on its place and on
the finished trials of earlier batches, never on who works or how fast: any number of workers,
killed as often as may be, ends with the same trials. A worker claims a place by a trial in the
storage; of two that claim one place, the later steps back; what a dead one claimed is taken over.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from features.errors import ConfigError
from features.store import alive

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STUDIES = "PERENNIAL_STUDIES"
"""Where studies are that several machines work on, such as ``postgresql+psycopg://host/studies``."""
PLACE, WORKER, OF = "place", "worker", "of"
WAIT_SECONDS = 0.2
LEAST_PATIENCE = timedelta(minutes=10)
"""After this, or twice the longest trial, a worker that cannot be looked at is taken for dead."""

Propose = Callable[[int, Sequence["FrozenTrial"]], Mapping[str, Any]]
"""Place and finished trials of earlier batches -> parameters."""
Evaluate = Callable[["Trial", Sequence["FrozenTrial"]], float]
"""Trial and finished trials of earlier batches -> value; may raise ``optuna.TrialPruned``."""


def storage_url(file: Path) -> str:
    """``PERENNIAL_STUDIES``, or a SQLite file."""
    return os.environ.get(STUDIES) or f"sqlite:///{file}"


class SharedStudy:
    """A study in a storage.

    Parameters
    ----------
    url
        SQLAlchemy URL of the storage; None = in memory.
    of
        Fingerprint of what is searched: a study of something else is refused.
    join
        Whether somebody else has to have begun it.

    Raises
    ------
    ConfigError
        If the storage cannot be used, holds a study of something else, or there is none to join.
    """

    def __init__(
        self, url: str | None, name: str, of: str, *, minimize: bool, join: bool = False
    ) -> None:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._me = [platform.node(), os.getpid(), uuid4().hex]
        try:
            self._storage = None if url is None else _storage(url)
            if self._storage is not None and join:
                self.study = optuna.load_study(study_name=name, storage=self._storage)
            else:
                self.study = optuna.create_study(
                    study_name=name,
                    storage=self._storage,
                    load_if_exists=True,
                    direction="minimize" if minimize else "maximize",
                )
            found = self.study.user_attrs.get(OF)
        except KeyError:
            raise ConfigError(
                f"nobody searches this here (study {name[:16]}): begin with `python -m training "
                f"run`, on the same data, settings and code, with {STUDIES} set to the same storage"
            ) from None
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(
                f"{_shown(url)}: not a storage of studies ({str(error).splitlines()[0]}); remove "
                f"it if it is a file, or set {STUDIES}, and run again"
            ) from None
        if found is None:
            self.study.set_user_attr(OF, of)
        elif found != of:
            self.close()
            raise ConfigError(
                f"{_shown(url)}: study {name[:16]} is of other settings, data or code; its trials "
                "say nothing of these: give another storage or remove the study"
            )

    def complete(
        self,
        trials: int,
        together: int,
        space: Mapping[str, "BaseDistribution"],
        propose: Propose,
        evaluate: Evaluate,
        report: Callable[[int, int], None],
    ) -> list["FrozenTrial"]:
        """Work until all places are finished; their trials by place, complete or pruned.

        Parameters
        ----------
        together
            Places in a batch: so many workers have something to do at once.
        report
            Told whenever there are more finished places: how many, of how many.
        """
        with closing(self):
            told = None
            while True:
                done, running = self._places()
                finished = sum(place in done for place in range(trials))
                if told is not None and finished > told:
                    report(finished, trials)
                told = finished
                first = next((p for p in range(trials) if p not in done), trials)
                if first == trials:
                    return [done[place] for place in range(trials)]
                begin = first - first % together
                known = [done[place] for place in range(begin)]
                longest = max(
                    (t.duration or timedelta() for t in done.values()), default=timedelta()
                )
                held = {
                    p for p, them in running.items() if any(self._lives(t, longest) for t in them)
                }
                batch = range(begin, min(begin + together, trials))
                place = next((p for p in batch if p not in done and p not in held), None)
                if place is None:
                    time.sleep(WAIT_SECONDS)
                    continue
                trial = self._claimed(place, propose(place, known), space, longest)
                if trial is not None:
                    self._finish(trial, evaluate, known)

    def close(self) -> None:
        """Let go of the storage."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _places(self) -> tuple[dict[int, "FrozenTrial"], dict[int, list["FrozenTrial"]]]:
        """Of each place the first finished trial, and those at work."""
        from optuna.trial import TrialState

        done: dict[int, FrozenTrial] = {}
        running: dict[int, list[FrozenTrial]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            place: int = trial.user_attrs[PLACE]
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                done.setdefault(place, trial)
            elif trial.state == TrialState.RUNNING:
                running.setdefault(place, []).append(trial)
        return done, running

    def _claimed(
        self,
        place: int,
        parameters: Mapping[str, Any],
        space: Mapping[str, "BaseDistribution"],
        longest: timedelta,
    ) -> "Trial | None":
        """A trial of the place to work on; None if somebody else was first."""
        import optuna

        # Written as a whole: a trial that waits may be taken by two (SQLite locks no rows).
        state, told = optuna.trial.TrialState, {PLACE: place, WORKER: self._me}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state.RUNNING,
                params=dict(parameters),
                distributions=dict(space),
                user_attrs=told,
            )
        )
        done, running = self._places()
        mine = next(t for t in running[place] if t.user_attrs == told)
        before = (t for t in running[place] if t.number < mine.number)
        if place in done or any(self._lives(t, longest) for t in before):
            self.study.tell(mine.number, state=state.FAIL)
            return None
        return optuna.Trial(self.study, mine._trial_id)

    def _finish(self, trial: "Trial", evaluate: Evaluate, known: Sequence["FrozenTrial"]) -> None:
        import optuna

        try:
            value = evaluate(trial, known)
        except optuna.TrialPruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, value)

    def _lives(self, trial: "FrozenTrial", longest: timedelta) -> bool:
        """Whether somebody works on a trial still, as far as can be told."""
        host, process, call = trial.user_attrs[WORKER]
        here, this, me = self._me
        if host == here and (call != me if process == this else not alive(process)):
            return False
        begun = trial.datetime_start or datetime.now()
        return datetime.now() - begun < max(LEAST_PATIENCE, 2 * longest)


def _storage(url: str) -> Any:
    import optuna

    patient = {"connect_args": {"timeout": 60}} if url.startswith("sqlite:") else None
    return optuna.storages.RDBStorage(url, engine_kwargs=patient)


def _shown(url: str | None) -> str:
    """A URL without its password."""
    from sqlalchemy.engine import make_url

    return "memory" if url is None else make_url(url).render_as_string(hide_password=True)
