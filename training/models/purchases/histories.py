"""Purchase histories: how often again, when last, observed how long."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.contract import Floats
from training.models.purchases.rows import Counted, Rows

CENTURY_DAYS = 36_525.0


@dataclass(frozen=True)
class Histories(Counted, Rows):
    """Histories (x, t_x, T) that start with the first purchase, one a row; all of shape (n_rows,).

    Raises
    ------
    DataError
        If a history is impossible, or its times are in no unit that days or weeks could be.
    """

    kind = "purchase histories"
    columns = ("x", "t_x", "T")

    x: Floats
    """Repeat purchases: all but the first; whole numbers."""
    t_x: Floats
    """Time from the first purchase to the last, 0 where x is 0; days or weeks."""
    T: Floats
    """Time from the first purchase to the end of observation, in the same unit."""
    count: Floats | None = None
    """Customers with this history; 1 unless given, and weights need not be whole."""
    z: Floats | None = None
    """Covariates that do not change in time, shape (n_rows, n_covariates)."""

    def problems(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """What no history can be."""
        x, t_x, T = self.x, self.t_x, self.T
        return [
            ("x is no whole number of repeat purchases", (x < 0) | (x != np.floor(x))),
            ("t_x is negative", t_x < 0),
            ("t_x > T: the last purchase lies after the end of observation", t_x > T),
            (
                "t_x > 0 without a repeat purchase: t_x runs from the first purchase to the last, "
                "not from the last to the end",
                (x == 0) & (t_x > 0),
            ),
            (
                "T is above a century of days: these look like seconds; divide by 86,400",
                T > CENTURY_DAYS,
            ),
        ]

    def teaches(self) -> None:
        """Nothing, if somebody came back and somebody was watched for a while."""
        counted = self.counts > 0
        if not (self.x[counted] > 0).any():
            raise DataError(
                f"{self.kind}: nobody of {self.counts.sum():g} customers bought again; rates "
                "cannot be told from lifetimes. Observe longer, or count repeat purchases in x"
            )
        if not self.T[counted].max() > 1.0:
            raise DataError(
                f"{self.kind}: nobody is observed for more than {self.T[counted].max():g} units of "
                "time; these look like years. Use days or weeks"
            )
        if not self.t_x[counted].max() > 0:
            raise DataError(
                f"{self.kind}: every repeat purchase falls together with the first (t_x is 0); "
                "t_x is the time from the first purchase to the last"
            )

    @property
    def scale(self) -> float:
        """Mean time observed."""
        return self.average(self.T)
