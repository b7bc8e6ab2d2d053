"""Mean purchases of a beta-geometric customer, as a sum in which nothing cancels."""

import math

import numba

TINY = -600.0
"""Below this logarithm the first weight of the sum is carried apart, so that it does not vanish."""
LARGE = 1e200


@numba.vectorize(nopython=True)  # type: ignore[untyped-decorator, no-untyped-call]
def mean_purchases(A: float, z: float, a: float, b: float) -> float:
    """Mean purchases over a horizon t of a customer alive at T, by numpy's broadcasting.

    His rate is Gamma(A, alpha + T), his chance p to be gone after a purchase Beta(a, b), and
    ``z = t / (alpha + T + t)``. Were he to stay, he would buy M ~ NegativeBinomial(A, z) times; the
    j-th of these purchases takes place if the j - 1 before it did not end him. So

        E = sum_m P(M = m) S_m,    S_m = sum_{j < m} E[(1 - p)^j] = sum_{j < m} (b)_j / (a + b)_j.

    With A = r + x and b + x for b this is the second factor of equation 10 of Fader, Hardie, Lee
    (2005), "'Counting your customers' the easy way": their ``(a + b + x - 1) / (a - 1) * [1 - ...
    2F1(...)]`` with the power series of 2F1 multiplied out. All terms here are positive: it holds
    at a = 1, where theirs is 0 / 0, and for hundreds of purchases, where 2F1 overflows. It takes
    about A z / (1 - z) + 35 / (1 - z) terms.
    """
    if not z > 0.0:
        return 0.0 * z  # NaN stays NaN
    log_first = A * math.log1p(-z)
    offset = log_first if log_first < TINY else 0.0
    weight = math.exp(log_first - offset)
    stays, so_far, total = 1.0, 0.0, 0.0
    m = 0
    while True:
        weight *= z * (A + m) / (m + 1.0)
        so_far += stays
        stays *= (b + m) / (a + b + m)
        total += weight * so_far
        m += 1
        if weight > LARGE:
            weight /= LARGE
            total /= LARGE
            offset += math.log(LARGE)
        # What is left is below weight * (so_far + k) * falls^k over k: a geometric series.
        falls = z * max(1.0, (A + m) / (m + 1.0))
        if falls < 1.0 and weight * falls * (so_far + 1.0 / (1.0 - falls)) < 1e-15 * total * (
            1.0 - falls
        ):
            break
    return total * math.exp(offset)
