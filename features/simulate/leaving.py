"""Why customers drop out: competing reasons, each with a hazard of its own.

The dropout of rate ``mu_i`` is the first of independent exponential times of rates ``mu_ik = mu_i
w_ik``, ``sum_k w_ik = 1``; so it is for reason ``k`` with probability ``w_ik``, whenever it comes
(competing risks: Kalbfleisch, J., Prentice, R. 2002, The Statistical Analysis of Failure Time Data,
section 8.2). Weights are a logit, ``w_ik ~ w_k exp(slope_k z_ik)``: prices drive out who likes
discounts, experience who is in a bad mood. Nothing but the truth depends on them.
"""

import numpy as np
import pandas as pd

from features.simulate.draws import stream, words
from features.simulate.feedback import mood_score
from features.simulate.people import People
from features.simulate.world import World

REASONS = ("price", "experience", "competitor", "need", "moved")


def draw_leaving(world: World, people: People) -> pd.DataFrame:
    """By row of the customers: ``hazard_<reason>`` per day, ``reason`` (missing while they stay).

    The hazards of a customer add up to the dropout rate.
    """
    config, leaving, selling = world.config, world.config.leaving, world.config.selling
    rng, mean = stream(config, "leaving"), selling.discounted_share
    spread = np.sqrt(mean * (1.0 - mean) / (selling.deal_concentration + 1.0))
    deals = (world.customers["deal_share"].to_numpy() - mean) / spread
    mood = mood_score(stream(config, "experience"), world, people)
    weight = np.tile([getattr(leaving, name) for name in REASONS], (config.customers, 1))
    weight[:, REASONS.index("price")] *= np.exp(leaving.price_slope * deals)
    weight[:, REASONS.index("experience")] *= np.exp(-leaving.experience_slope * mood)
    weight /= weight.sum(axis=1, keepdims=True)
    drawn = rng.random((config.customers, 1)) > weight.cumsum(axis=1)[:, :-1]
    stays = world.customers["alive_at_end"].to_numpy()
    rate = world.customers["dropout_rate_per_day"].to_numpy()
    return pd.DataFrame({
        **{f"hazard_{name}": rate * weight[:, k] for k, name in enumerate(REASONS)},
        "reason": words(np.where(stays, -1, drawn.sum(axis=1)), REASONS),
    })  # fmt: skip
