"""The likelihood of rows under a family of models, as a function of log-parameters."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from training.contract import Floats
from training.models.purchases.rows import Rows

CHUNK = 16_384
"""Rows added up together; their arrays stay in the cache."""
PRIOR_SD = 2.0
"""Spread of a log-parameter under a prior of strength 1: a factor of 7 either way."""


class Family(Protocol):
    """A model as :func:`fit` sees it: a class built from its parameters, each a float or (n,)."""

    names: ClassVar[tuple[str, ...]]
    scales: ClassVar[tuple[str, ...]]
    """Parameters with a unit; they are centred at the rows' ``scale``, the others at 1."""
    covariates: ClassVar[Mapping[str, float]]
    """Parameter -> sign with which covariates enter its logarithm."""

    @classmethod
    def starts(cls, rows: Any) -> list[tuple[float, ...]]:
        """Parameters to begin from; the likeliest is taken."""
        ...

    def terms(self, rows: Any) -> tuple[Floats, Floats]:
        """Log-likelihoods (n,) and their derivatives by log-parameters (n_parameters, n)."""
        ...


class Target:
    """Mean negative log-posterior per customer, with its gradient."""

    def __init__(self, family: Any, rows: Rows, prior: float) -> None:
        self.family, self.rows = family, rows
        self.z = rows.given
        self.n = float(rows.counts.sum())
        self.strength = prior / (PRIOR_SD**2 * self.n)
        self.parts = [rows.take(slice(k, k + CHUNK)) for k in range(0, len(rows), CHUNK)]
        signs = family.covariates if self.z is not None else {}
        width = self.z.shape[1] if self.z is not None else 0
        self.names = (*family.names, *(f"{name}:{k}" for name in signs for k in range(width)))
        scale = np.log(rows.scale)
        self.centre = np.zeros(len(self.names))
        self.centre[: len(family.names)] = [scale * (n in family.scales) for n in family.names]

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Its value and gradient at log-parameters, then coefficients, ``theta``."""
        value, slopes = self._sums(theta)
        away = self.strength * (theta - self.centre)
        return self.penalty(theta) - value / self.n, away - slopes / self.n

    def penalty(self, theta: Floats) -> float:
        """What the prior adds."""
        away = theta - self.centre
        return self.strength * float(away @ away) / 2

    def _sums(self, theta: Floats) -> tuple[float, Floats]:
        """Log-likelihood of all customers, and its slopes."""
        value, slopes = 0.0, np.zeros(len(theta))
        for rows in self.parts:
            found, by_row = self.family(*parameters_at(self.family, theta, rows.given)).terms(rows)
            value += float(np.einsum("i,i->", found, rows.counts))  # the same for any threads
            own = np.einsum("ij,j->i", by_row, rows.counts)
            if rows.given is not None:
                weighed = dict(zip(self.family.names, by_row * rows.counts, strict=True))
                more = [
                    sign * np.einsum("i,ij->j", weighed[name], rows.given)
                    for name, sign in self.family.covariates.items()
                ]
                own = np.concatenate([own, *more])
            slopes += own
        return value, slopes


def family_of(family: Any) -> type[Family]:
    """The class as what it has to be to be fitted."""
    found: type[Family] = family
    return found


def parameters_at(family: Any, theta: Floats, z: Floats | None) -> list[Any]:
    """Parameters of a family, floats; an array of shape (n_rows,) where covariates move one."""
    logs: list[Any] = theta[: len(family.names)].tolist()
    if z is not None:
        rest = theta[len(family.names) :].reshape(len(family.covariates), -1)
        for (name, sign), gamma in zip(family.covariates.items(), rest, strict=True):
            at = family.names.index(name)
            logs[at] = logs[at] + sign * (z @ gamma)
    return [np.exp(log) if np.ndim(log) else float(np.exp(log)) for log in logs]
