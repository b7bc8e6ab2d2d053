"""Maximum likelihood for any of the models, on the logarithms of their parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from scipy.optimize import minimize

from features.errors import ConfigError, DataError
from training.contract import Floats
from training.models.purchases.rows import Rows

SAMPLE = 20_000
"""Distinct rows that the way to the maximum is first found on."""
REACH = 12.0
"""How far a log-parameter may go from where it is centred; beyond, it runs off to 0 or infinity."""
PRIOR_SD = 2.0
"""Spread of a log-parameter under a prior of strength 1: a factor of 7 either way."""
MOST_Z = 50.0
"""Largest covariate: one standard deviation is 1, and none is so far out."""
STEP = 1e-5
"""Step of log-parameters for differences of gradients and of predictions."""
NEAR = 1e-3
"""How far from where it was taken a Hessian still gives the covariance."""


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


M = TypeVar("M")


@dataclass(frozen=True)
class Fitted(Generic[M]):
    """Parameters at the maximum, and how well they are known."""

    family: type[M]
    names: tuple[str, ...]
    """Parameters, then coefficients such as ``alpha:0`` (of covariate 0 on alpha)."""
    estimates: Floats
    """Logarithms of the parameters, then coefficients."""
    covariance: Floats
    """Of ``estimates``: the inverse of the observed information (with a prior: the posterior's)."""
    log_likelihood: float
    n_customers: float

    @property
    def model(self) -> M:
        """The model, at covariates of 0 if there are any."""
        return self._at(self.estimates)

    def at(self, z: Floats) -> M:
        """The model for customers with covariates ``z`` of shape (n_rows, n_covariates)."""
        return self._at(self.estimates, np.asarray(z, dtype=np.float64))

    def _at(self, estimates: Floats, z: Floats | None = None) -> M:
        return self.family(*_parameters(self.family, estimates, z))

    @property
    def parameters(self) -> dict[str, float]:
        """Name -> value; coefficients as they are."""
        n = len(_family(self.family).names)
        values = np.append(np.exp(self.estimates[:n]), self.estimates[n:])
        return dict(zip(self.names, values.tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Name -> standard error, by the delta method for parameters: theta * se(log theta)."""
        errors = np.sqrt(np.diag(self.covariance))
        n = len(_family(self.family).names)
        errors[:n] *= np.exp(self.estimates[:n])
        return dict(zip(self.names, errors.tolist(), strict=True))

    def error_of(self, quantity: Callable[[M], Floats], z: Floats | None = None) -> Floats:
        """Standard error of any quantity of the model, by the delta method.

        Parameters
        ----------
        quantity
            Such as ``lambda m: m.expected(histories, 365)``; gives a number or an array.
        """
        changes = []
        for j in range(len(self.estimates)):
            step = np.zeros(len(self.estimates))
            step[j] = STEP
            up, down = (quantity(self._at(self.estimates + s, z)) for s in (step, -step))
            changes.append((np.asarray(up) - np.asarray(down)) / (2 * STEP))
        J = np.stack(changes, axis=-1)
        found: Floats = np.sqrt(np.einsum("...j,jk,...k->...", J, self.covariance, J))
        return found


def fit(family: type[M], rows: Rows, *, prior: float = 0.0) -> Fitted[M]:
    """The parameters under which ``rows`` are likeliest.

    Equal rows are counted once. L-BFGS finds the way, on a sample of rows first where there are
    many; Newton's method ends it, with the Hessian by differences of exact gradients.

    Parameters
    ----------
    prior
        Strength of weak priors, 0 = none (maximum likelihood). Log-parameters are normal around 0
        (those with a unit: around the logarithm of the rows' scale) and coefficients around 0,
        with standard deviation ``2 / sqrt(prior)``: at 1 it weighs little beyond a few hundred
        customers, and holds what fewer leave open.

    Raises
    ------
    ConfigError
        If the prior is no strength, or the family takes no covariates.
    DataError
        If the rows cannot teach it: no repeat purchase, covariates that cannot be told apart, or no
        maximum at finite parameters.
    """
    if not (np.isfinite(prior) and prior >= 0):
        raise ConfigError(f"prior: {prior}: expected a strength of 0 (none) or more")
    z = rows.given
    kind = _family(family)
    if z is not None and not kind.covariates:
        raise ConfigError(f"{family.__name__} takes no covariates; leave z out")
    rows.teaches()
    rows = rows.compressed()
    if z is not None:
        _told_apart(rows)
    target = _Target(family, rows, prior)
    centre = target.centre
    n_more = len(centre) - len(kind.names)
    starts = [np.append(np.log(s), np.zeros(n_more)) for s in kind.starts(rows)]
    draw = np.random.default_rng(0)
    few = target
    if len(rows) > 2 * SAMPLE:
        few = _Target(family, rows.take(np.sort(draw.choice(len(rows), SAMPLE, False))), prior)
    ways = sorted(starts, key=lambda s: few(s)[0])
    for way in ways:
        found, covariance = _newton(target, _descend(few, way))
        if covariance is None and few is not target:
            found, covariance = _newton(target, _descend(target, found))
        if covariance is not None and (np.abs(found - centre) < REACH).all():
            break
    else:
        raise DataError(_runs_off(family.__name__, target, found))
    return Fitted(family, target.names, found, covariance, target.log_likelihood(found), target.n)


def _told_apart(rows: Rows) -> None:
    z = rows.given
    assert z is not None
    if np.linalg.matrix_rank(z - z.mean(axis=0)) < z.shape[1]:
        raise DataError(
            f"{rows.kind}: covariates of shape {z.shape} are constant, or one is a sum of others; "
            "leave those out (a category needs one column less than it has values)"
        )
    if np.abs(z).max() > MOST_Z:
        raise DataError(
            f"{rows.kind}: a covariate reaches {np.abs(z).max():.3g}; it enters by its "
            "exponential, so bring it to mean 0 and standard deviation 1"
        )


class _Target:
    """Mean negative log-posterior per customer, with its gradient."""

    def __init__(self, family: Any, rows: Rows, prior: float) -> None:
        self.family, self.rows, self.prior = family, rows, prior
        self.z = rows.given
        self.n = float(rows.counts.sum())
        signs = family.covariates if self.z is not None else {}
        width = self.z.shape[1] if self.z is not None else 0
        self.names = (*family.names, *(f"{name}:{k}" for name in signs for k in range(width)))
        scale = np.log(rows.scale)
        self.centre = np.zeros(len(self.names))
        self.centre[: len(family.names)] = [scale * (n in family.scales) for n in family.names]

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        values, slopes = self.family(*_parameters(self.family, theta, self.z)).terms(self.rows)
        count = self.rows.counts / self.n
        weighted = slopes * count
        gradient = weighted.sum(axis=1)
        if self.z is not None:
            parts = dict(zip(self.family.names, weighted, strict=True))
            more = [sign * (parts[n] @ self.z) for n, sign in self.family.covariates.items()]
            gradient = np.concatenate([gradient, *more])
        strength = self.prior / (PRIOR_SD**2 * self.n)
        away = theta - self.centre
        value = -values @ count + strength * (away @ away) / 2
        return float(value), -gradient + strength * away

    def log_likelihood(self, theta: Floats) -> float:
        values, _ = self.family(*_parameters(self.family, theta, self.z)).terms(self.rows)
        return float(values @ self.rows.counts)


def _family(family: Any) -> type[Family]:
    found: type[Family] = family
    return found


def _parameters(family: Any, theta: Floats, z: Floats | None) -> list[Any]:
    """Parameters of a family; an array of shape (n_rows,) where covariates move it."""
    logs: list[Any] = theta[: len(family.names)].tolist()
    if z is not None:
        rest = theta[len(family.names) :].reshape(len(family.covariates), -1)
        for (name, sign), gamma in zip(family.covariates.items(), rest, strict=True):
            at = family.names.index(name)
            logs[at] = logs[at] + sign * (z @ gamma)
    return [np.exp(log) if np.ndim(log) else float(np.exp(log)) for log in logs]


def _descend(target: _Target, theta: Floats) -> Floats:
    limits = [(c - REACH, c + REACH) for c in target.centre]
    found = minimize(
        target, theta, jac=True, method="L-BFGS-B", bounds=limits,
        options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    return np.asarray(found.x)


def _newton(target: _Target, theta: Floats) -> tuple[Floats, Floats | None]:
    """The maximum and the covariance there; None where there is none.

    It is reached when Newton's step would gain less than 1e-6 in log-likelihood, a thousandth of a
    standard error.
    """
    for _ in range(12):
        begun = theta
        _, gradient = target(theta)
        hessian = _hessian(target, theta, gradient)
        try:
            factor = np.linalg.cholesky(hessian)
        except np.linalg.LinAlgError:
            return theta, None
        inverse = np.linalg.inv(factor)
        covariance = inverse.T @ inverse
        for _ in range(6):  # one Hessian serves the short steps that are left
            step = covariance @ gradient
            if target.n * (gradient @ step) < 2e-6:
                if np.abs(theta - begun).max() < NEAR:
                    return theta, covariance / target.n
                break
            theta = theta - step / max(1.0, float(np.abs(step).max()))
            if not (np.abs(theta - target.centre) < REACH).all():
                return theta, None
            _, gradient = target(theta)
    return theta, None


def _hessian(target: _Target, theta: Floats, gradient: Floats) -> Floats:
    """By forward differences; their error, a few ``STEP`` of it, is nothing to a covariance."""
    rows = []
    for j in range(len(theta)):
        step = np.zeros(len(theta))
        step[j] = STEP
        rows.append((target(theta + step)[1] - gradient) / STEP)
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def _runs_off(name: str, target: _Target, theta: Floats) -> str:
    away = theta - target.centre
    far = [
        f"{n} = {np.exp(t):.3g}" for n, t, d in zip(target.names, theta, away, strict=True)
        if abs(d) > REACH / 2
    ]  # fmt: skip
    where = f"; {', '.join(far)} still run off" if far else ""
    return (
        f"{name}: the likelihood of {target.n:g} customers has no maximum at finite parameters"
        f"{where}. Customers may differ too little, or be too few, to tell its parameters apart: "
        "observe longer, give a weak prior (prior=1), or take a simpler model"
    )
