"""What a simulated retailer is made of, and the season that all its customers share."""

from datetime import date, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from features.simulate.parts import (
    AbuseConfig,
    CampaignConfig,
    CatalogueConfig,
    ConsentConfig,
    EngagementConfig,
    FeedbackConfig,
    FraudConfig,
    LeavingConfig,
    LoyaltyConfig,
    PeopleConfig,
    SellingConfig,
    SubscriptionConfig,
)

YEAR_DAYS = 365.25
CHRISTMAS = (12, 10)
"""Month and day on which the Christmas peak is centred."""
CHRISTMAS_SD_DAYS = 14.0
AUTUMN = (11, 15)
"""Month and day on which the yearly wave is highest."""
Table = Literal[
    "order_lines", "products", "customers", "events", "contacts", "responses", "feedback",
    "loyalty", "devices", "locations", "relations", "subscriptions", "outcomes", "consents",
    "identifiers",
]  # fmt: skip
EVERY: tuple[Table, ...] = get_args(Table)
"""Every raw export; new ones at the end, so that the draws of the others stay as they are."""
TABLES: tuple[Table, ...] = tuple(name for name in EVERY if name != "identifiers")
"""What is written unless said: identifiers serve nothing but finding out who is who."""


class DirtConfig(Strict):
    """What goes wrong between the shop and its export."""

    damaged_share: float = Field(default=0.003, ge=0, le=0.2)
    """Share of the records of goods sold that are damaged, equally many by each kind of damage."""
    repeated_first_day: date = date(2025, 3, 10)
    """First day, inclusive, of the period that is delivered twice."""
    repeated_days: int = Field(default=3, ge=0, le=30)
    """Days of that period; 0 = nothing is delivered twice."""
    late_share: float = Field(default=0.02, ge=0, le=1)
    """Share of orders and returns recorded 1 to 5 days late; all others take minutes."""
    minutes_to_record: float = Field(default=3.0, gt=0, le=60)
    """Mean time from an order to its record where nothing is late, in minutes."""
    gift_share: float = Field(default=0.05, ge=0, le=1)
    """Share of orders with one line more at price 0."""
    shipping_share: float = Field(default=0.4, ge=0, le=1)
    """Share of orders with one line more for shipping, which is no product."""
    lower_case_share: float = Field(default=0.02, ge=0, le=1)
    """Share of records whose product code is in lower case."""


class SimulateConfig(Strict):
    """A retailer: how many customers, for how long, and the parameters of every process."""

    customers: int = Field(default=3_000, ge=1, le=1_000_000)
    """Customers with an account; each places a first order within the period."""
    days: int = Field(default=900, ge=30, le=10_000)
    """Length of the period, in days."""
    last_day: date = date(2025, 6, 30)
    """Last day of the period, inclusive; fixed, so that the same bytes come out on any day."""
    seed: int = Field(default=7, ge=0)
    """Seed of every random draw."""

    purchase_r: float = Field(default=1.2, ge=0.1)
    """Shape of the gamma distribution of purchase rates; smaller = customers differ more."""
    purchase_alpha_days: float = Field(default=70.0, gt=0)
    """Rate parameter of that distribution, in days; the mean rate is r / alpha orders per day."""
    dropout_s: float = Field(default=0.8, ge=0.1)
    """Shape of the gamma distribution of dropout rates."""
    dropout_beta_days: float = Field(default=400.0, gt=0)
    """Rate parameter of that distribution, in days; the mean rate is s / beta per day."""
    season_amplitude: float = Field(default=0.15, ge=0, le=0.9)
    """Amplitude of the yearly wave, relative to the mean rate; highest in mid-November."""
    christmas_peak: float = Field(default=1.2, ge=0, le=10)
    """Height of the Christmas peak above the wave, relative to the mean rate."""

    spend_p: float = Field(default=6.25, gt=0)
    """Gamma shape of the value of a customer's orders; larger = they are more alike."""
    spend_q: float = Field(default=3.74, gt=1)
    """Gamma shape of the customers' scale parameters; smaller = customers differ more."""
    spend_gamma: float = Field(default=20.0, gt=0)
    """Rate parameter of that distribution, in currency; mean order value p * gamma / (q - 1)."""

    guest_share: float = Field(default=0.06, ge=0, lt=1)
    """Share of orders placed by strangers without an account: their records have no shopper."""
    categories: int = Field(default=10, ge=2, le=26)
    """Product categories."""
    products_per_category: int = Field(default=30, ge=1, le=9_999)
    """Products in each category."""
    taste_concentration: float = Field(default=2.0, gt=0)
    """Sum of the Dirichlet parameters of a customer's taste; smaller = narrower tastes."""
    popularity_exponent: float = Field(default=1.0, ge=0)
    """Zipf exponent: the k-th product of a category sells in proportion to ``k ** -exponent``."""
    lines_per_order: float = Field(default=3.0, ge=1, le=100)
    """Mean number of products in an order; one and a Poisson number more."""
    returned_share: float = Field(default=0.08, ge=0, le=1)
    """Share of orders of which something is sent back."""
    returned_whole_share: float = Field(default=0.4, ge=0, le=1)
    """Share of those that are sent back entirely."""
    days_to_return: float = Field(default=9.0, ge=1)
    """Mean time from an order to its return, in days; never less than one day."""

    selling: SellingConfig = SellingConfig()
    people: PeopleConfig = PeopleConfig()
    catalogue: CatalogueConfig = CatalogueConfig()
    engagement: EngagementConfig = EngagementConfig()
    consents: ConsentConfig = ConsentConfig()
    campaigns: CampaignConfig = CampaignConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    loyalty: LoyaltyConfig = LoyaltyConfig()
    subscriptions: SubscriptionConfig = SubscriptionConfig()
    leaving: LeavingConfig = LeavingConfig()
    fraud: FraudConfig = FraudConfig()
    abuse: AbuseConfig = AbuseConfig()
    tables: tuple[Table, ...] = TABLES
    """Raw exports to write; those left out change nothing in the others."""
    dirt: DirtConfig = DirtConfig()
    """What goes wrong between the shop and its export; the truth does not depend on it."""

    @property
    def first_day(self) -> date:
        """First day of the period, inclusive: times are counted in days from its midnight."""
        return self.last_day - timedelta(days=self.days - 1)


def season(config: SimulateConfig, days: int) -> NDArray[np.float64]:
    """Multiplier of every purchase rate on each of ``days`` days from the first day.

    ``S(d) = (1 + a cos(2 pi (d - autumn) / 365.25) + c exp(-(d - christmas)^2 / (2 w^2))) / m``

    with ``a`` the amplitude, ``c`` the height and ``w`` = 14 days the standard deviation of the
    Christmas peak, distances taken to the nearest such day of any year, and ``m`` the mean over a
    year: a customer's rate is the mean rate over a year.

    Returns
    -------
    ndarray of shape (days,)
        Constant within a day, above 0, with mean 1 over a year.
    """
    day_of_year = config.first_day.timetuple().tm_yday - 1 + np.arange(days, dtype=np.float64)
    year = _wave(config, np.arange(0.0, YEAR_DAYS, 0.25))
    return np.asarray(_wave(config, day_of_year) / year.mean(), dtype=np.float64)


def _wave(config: SimulateConfig, day_of_year: NDArray[np.float64]) -> NDArray[np.float64]:
    autumn, christmas = (date(2001, *day).timetuple().tm_yday - 1 for day in (AUTUMN, CHRISTMAS))
    distance = (day_of_year - christmas + YEAR_DAYS / 2) % YEAR_DAYS - YEAR_DAYS / 2
    slow = config.season_amplitude * np.cos(2 * np.pi * (day_of_year - autumn) / YEAR_DAYS)
    peak = config.christmas_peak * np.exp(-0.5 * (distance / CHRISTMAS_SD_DAYS) ** 2)
    return np.asarray(1.0 + slow + peak, dtype=np.float64)
