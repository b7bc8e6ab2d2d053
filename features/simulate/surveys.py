"""Surveys: satisfaction with a solved ticket (CSAT), readiness to recommend (NPS)."""

import numpy as np
import pandas as pd

from features.simulate.draws import Floats, days_of, seconds, stream
from features.simulate.texts import COMPLAINT, CSAT, NPS, RESOLVED
from features.simulate.world import World

CSAT_CUTS = np.array([-1.8, -1.2, -0.5, 0.6])
SLOW_EFFECT = 0.3
"""Satisfaction lost per unit of log time to the solution, relative to a day."""


def draw_csat(world: World, tickets: pd.DataFrame, felt: Floats) -> pd.DataFrame:
    """One to five points for some solved tickets, an ordered probit as for stars.

    Of ``s / 2 - c log(days to the solution) + e``: slow help is poor help.
    """
    rng = stream(world.config, "surveys")
    opened = tickets.loc[tickets["kind"] <= COMPLAINT].set_index("thread")["happened"]
    solved = tickets.loc[tickets["kind"] == RESOLVED]
    answered = solved.loc[rng.random(len(solved)) < world.config.feedback.csat_share]
    took = answered["happened"].to_numpy() - opened[answered["thread"]].to_numpy()
    mind = felt[answered["order"]] / 2.0 - SLOW_EFFECT * np.log(np.maximum(took, 1) / 86_400.0)
    mind = mind + rng.normal(size=len(answered))
    later = (600 + rng.exponential(40_000.0, len(answered))).astype(np.int64)
    return answered.assign(
        kind=CSAT, happened=answered["happened"] + later,
        score=1 + (mind[:, None] > CSAT_CUTS).sum(axis=1),
    )  # fmt: skip


def draw_nps(world: World, mood: Floats, stays: Floats) -> pd.DataFrame:
    """Points from 0 to 10 at regular times: ``round(mu + k m_i + sd e)``, cut to the scale.

    The share with 9 or 10 less the share with 6 or less is the net promoter score (Reichheld, F.
    2003, The one number you need to grow, Harvard Business Review 81).
    """
    config, feedback = world.config, world.config.feedback
    rng = stream(config, "surveys", 1)
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    surveys = np.maximum(np.ceil((config.days - acquired) / feedback.nps_every_days) - 1, 0)
    customer = np.repeat(np.arange(len(acquired)), surveys.astype(np.int64))
    number = pd.Series(customer).groupby(customer).cumcount().to_numpy() + 1
    day = acquired[customer] + number * feedback.nps_every_days
    share = np.where(day < stays[customer], feedback.nps_share, feedback.nps_gone_share)
    answered = rng.random(len(customer)) < share
    customer, day = customer[answered], day[answered]
    mean = feedback.nps_mean + feedback.nps_mood * mood[customer]
    points = np.clip(np.rint(mean + feedback.nps_sd * rng.normal(size=len(customer))), 0, 10)
    return pd.DataFrame({
        "customer": customer, "kind": NPS, "channel": 1, "score": points.astype(np.int64),
        "happened": seconds(day + rng.exponential(1.0, len(customer))),
    })  # fmt: skip
