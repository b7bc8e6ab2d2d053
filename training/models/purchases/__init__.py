"""Published purchase models ("buy till you die"), by maximum likelihood.

A customer buys at a rate of his own until, unseen, he is gone; rates and lifetimes differ from
customer to customer by a mixing distribution. Its few parameters are all that is learned.

======================  =========================  ===================================
no contract, any time   :class:`BgNbd`             gone after a purchase, by chance
.                       :class:`MbgNbd`            so too, and after the first as well
.                       :class:`ParetoNbd`         gone at any moment
no contract, occasions  :class:`BgBb`              one chance to buy a period
contract, by periods    :class:`ShiftedBeta`       renews or leaves, and is seen to
what an order is worth  :class:`GammaGamma`        mean spend of customers with few orders
======================  =========================  ===================================

``fit(BgNbd, Histories(x, t_x, T))`` gives a :class:`Fitted`, whose ``model`` predicts. Words are
the field's own: x repeat purchases, t_x the time of the last, T the time observed, all counted from
the first purchase and in one unit of time, which every rate and horizon shares.
"""

from training.models.purchases.bgbb import BgBb, Occasions
from training.models.purchases.bgnbd import BgNbd, MbgNbd
from training.models.purchases.contracts import Contracts, ShiftedBeta
from training.models.purchases.fit import Fitted, fit, model_at
from training.models.purchases.histories import Histories
from training.models.purchases.pareto import ParetoNbd
from training.models.purchases.spend import GammaGamma, Spend

__all__ = [
    "BgBb",
    "BgNbd",
    "Contracts",
    "Fitted",
    "GammaGamma",
    "Histories",
    "MbgNbd",
    "Occasions",
    "ParetoNbd",
    "ShiftedBeta",
    "Spend",
    "fit",
    "model_at",
]
