"""Maximum likelihood for any of the models, on the logarithms of their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import minimize

from features.errors import ConfigError, DataError
from training.contract import Floats
from training.models.purchases.likelihood import Target, family_of, parameters_at
from training.models.purchases.rows import Rows

SAMPLE = 20_000
"""Customers that the way to the maximum is first found on."""
REACH = 12.0
"""How far a log-parameter may go from where it is centred; beyond, it runs off to 0 or infinity."""
MOST_Z = 50.0
"""Largest covariate: one standard deviation is 1, and none is so far out."""
STEP = 1e-5
"""Step of log-parameters for differences of gradients and of predictions."""
LAST = 1e-3
"""Squared distance, in standard errors, from which one step with a fresh Hessian is enough."""
NEAR = 1e-3
"""How far from where it was taken a Hessian still gives the covariance."""

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
        return model_at(self.family, self.estimates)

    def at(self, z: Floats) -> M:
        """The model for customers with covariates ``z`` of shape (n_rows, n_covariates)."""
        return model_at(self.family, self.estimates, np.asarray(z, dtype=np.float64))

    @property
    def parameters(self) -> dict[str, float]:
        """Name -> value; coefficients as they are."""
        n = len(family_of(self.family).names)
        values = np.append(np.exp(self.estimates[:n]), self.estimates[n:])
        return dict(zip(self.names, values.tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Name -> standard error, by the delta method for parameters: theta * se(log theta)."""
        errors = np.sqrt(np.diag(self.covariance))
        n = len(family_of(self.family).names)
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
            ends = (self.estimates + step, self.estimates - step)
            up, down = (quantity(model_at(self.family, end, z)) for end in ends)
            changes.append((np.asarray(up) - np.asarray(down)) / (2 * STEP))
        J = np.stack(changes, axis=-1)
        found: Floats = np.sqrt(np.einsum("...j,jk,...k->...", J, self.covariance, J))
        return found


def model_at(family: type[M], estimates: Floats, z: Floats | None = None) -> M:
    """The model with ``estimates`` as in :class:`Fitted`, at covariates ``z`` or at 0."""
    return family(*parameters_at(family, estimates, z))


def fit(family: type[M], rows: Rows, *, prior: float = 0.0) -> Fitted[M]:
    """The parameters under which ``rows`` are likeliest.

    Equal rows are counted once. L-BFGS finds the way, on every k-th customer where there are many;
    Newton's method ends it, with the Hessian by differences of exact gradients.

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
    kind = family_of(family)
    if z is not None and not kind.covariates:
        raise ConfigError(f"{family.__name__} takes no covariates; leave z out")
    rows.teaches()
    rows = rows.compressed()
    if z is not None:
        _told_apart(rows)
    target = Target(family, rows, prior)
    centre = target.centre
    n_more = len(centre) - len(kind.names)
    starts = [np.append(np.log(s), np.zeros(n_more)) for s in kind.starts(rows)]
    few = Target(family, _thinned(rows), prior) if len(rows) > 2 * SAMPLE else target
    ways = sorted(starts, key=lambda s: few(s)[0])
    for way in ways:
        found = _descend(few, way)
        if few is not target:
            found = _onward(target, few, found)
        found, value, covariance = _newton(target, found)
        if covariance is None and few is not target:
            found, value, covariance = _newton(target, _descend(target, found))
        if covariance is not None and (np.abs(found - centre) < REACH).all():
            break
    else:
        raise DataError(_runs_off(family.__name__, target, found))
    log_likelihood = target.n * (target.penalty(found) - value)
    return Fitted(family, target.names, found, covariance, log_likelihood, target.n)


def _thinned(rows: Rows) -> Rows:
    """``SAMPLE`` customers, evenly among the rows in their order, who stand for all of them."""
    reached = np.cumsum(rows.counts)
    share = reached[-1] / SAMPLE
    index, found = np.unique(
        np.searchsorted(reached, (np.arange(SAMPLE) + 0.5) * share), return_counts=True
    )
    return rows.take(index, found * share)


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


def _descend(target: Target, theta: Floats) -> Floats:
    limits = [(c - REACH, c + REACH) for c in target.centre]
    found = minimize(
        target, theta, jac=True, method="L-BFGS-B", bounds=limits,
        options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    return np.asarray(found.x)


def _onward(target: Target, few: Target, theta: Floats) -> Floats:
    """From the maximum of few rows nearly to that of all: Newton's step with the Hessian of few."""
    try:
        step = np.linalg.solve(_hessian(few, theta, few(theta)[1]), target(theta)[1])
    except np.linalg.LinAlgError:
        return theta
    found: Floats = theta - step / max(1.0, float(np.abs(step).max()))
    return found


def _newton(target: Target, theta: Floats) -> tuple[Floats, float, Floats | None]:
    """The maximum, the target and the covariance there; None where there is none.

    It is reached when Newton's step would gain less than 1e-6 in log-likelihood, a thousandth of a
    standard error, or with the step after which that is so: what it leaves is the square of what
    was left, in standard errors.
    """
    for _ in range(12):
        begun = theta
        value, gradient = target(theta)
        hessian = _hessian(target, theta, gradient)
        try:
            factor = np.linalg.cholesky(hessian)
        except np.linalg.LinAlgError:
            return theta, value, None
        inverse = np.linalg.inv(factor)
        covariance = inverse.T @ inverse
        step = covariance @ gradient
        left = float(gradient @ step)
        if target.n * left < LAST and np.abs(step).max() < NEAR:
            return theta - step, value - left / 2.0, covariance / target.n
        for _ in range(6):  # one Hessian serves the short steps that are left
            step = covariance @ gradient
            if target.n * (gradient @ step) < 2e-6:
                if np.abs(theta - begun).max() < NEAR:
                    return theta, value, covariance / target.n
                break
            theta = theta - step / max(1.0, float(np.abs(step).max()))
            if not (np.abs(theta - target.centre) < REACH).all():
                return theta, value, None
            value, gradient = target(theta)
    return theta, value, None


def _hessian(target: Target, theta: Floats, gradient: Floats) -> Floats:
    """By forward differences; their error, a few ``STEP`` of it, is nothing to a covariance."""
    rows = []
    for j in range(len(theta)):
        step = np.zeros(len(theta))
        step[j] = STEP
        rows.append((target(theta + step)[1] - gradient) / STEP)
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def _runs_off(name: str, target: Target, theta: Floats) -> str:
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
