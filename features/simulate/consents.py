"""What customers allow: asked when the account is opened, taken back later."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.draws import Floats, Ints, seconds, stream, words
from features.simulate.people import People
from features.simulate.world import World

MEDIA = ("e-mail", "sms", "push")
EVERYWHERE = ("analytics", "profiling")
"""Purposes that are asked for once, for every channel."""
ASKED = (*((medium, "marketing") for medium in MEDIA), *((None, p) for p in EVERYWHERE))
"""Channel and purpose of each question."""


@dataclass(frozen=True)
class Consents:
    """Answers of shape (n_customers, n_questions)."""

    granted: np.ndarray
    """Whether it was allowed at signup."""
    until: Floats
    """Day on which it is taken back by itself; infinite where it is not within the period."""


def draw_consents(world: World, people: People) -> Consents:
    """Bernoulli answers; each yes is taken back with a constant hazard, after ``T ~ Exp(h)``.

    A revocation of profiling is an objection to it. Constant hazard: Kalbfleisch, J., Prentice, R.
    (2002), The Statistical Analysis of Failure Time Data, section 2.2.1.
    """
    config, shares = world.config, world.config.consents
    rng, n = stream(config, "consents"), config.customers
    asked = [shares.email, shares.sms, shares.push, shares.analytics, shares.profiling]
    granted = rng.random((n, len(ASKED))) < np.array(asked)
    wait = rng.exponential(365.25 / max(shares.revoked_per_year, 1e-12), granted.shape)
    until = people.frame["signup_day"].to_numpy()[:, None] + wait
    return Consents(granted, np.where(granted & (until < config.days), until, np.inf))


def consent_rows(
    world: World, people: People, consents: Consents, customer: Ints, medium: Ints, day: Floats
) -> pd.DataFrame:
    """Rows of the table: every answer, every revocation, and those that came by unsubscribing.

    ``customer``, ``medium`` and ``day`` are of the unsubscriptions; what has been taken back by
    itself before is not taken back again.
    """
    n, questions = consents.granted.shape
    who, what = np.divmod(np.arange(n * questions), questions)
    back_who, back_what = np.nonzero(np.isfinite(consents.until))
    back_day = consents.until[back_who, back_what]
    left = np.full((n, questions), np.inf)
    left[customer, medium] = day
    gone = left[back_who, back_what] < back_day
    back_who, back_what, back_day = back_who[~gone], back_what[~gone], back_day[~gone]
    asked = np.concatenate([what, back_what, medium])
    yes = np.concatenate([consents.granted.ravel(), np.zeros(len(back_who) + len(medium), bool)])
    return pd.DataFrame({
        "customer": np.concatenate([who, back_who, customer]),
        "happened": seconds(np.concatenate([
            people.frame["signup_day"].to_numpy()[who], back_day, day,
        ])),
        "channel": words(np.where(asked < len(MEDIA), asked, -1), MEDIA),
        "purpose": words(
            np.maximum(asked - len(MEDIA) + 1, 0), ("marketing", *EVERYWHERE)
        ),
        "granted": words(np.where(yes, 0, 1), ("yes", "no")),
    })  # fmt: skip
