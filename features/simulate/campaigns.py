"""Campaigns with a randomised control group, and what comes of each message.

The effect of a message is on the campaign's goal (a voucher taken, a form filled in), which those
in the control group can reach as well. It is none on orders: the purchases stay exactly those that
:func:`~features.simulate.truth.true_churn_probability` states.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.consents import MEDIA, consent_rows, draw_consents
from features.simulate.draws import Floats, log_odds, logistic, seconds, stream, words
from features.simulate.people import People, stays_until
from features.simulate.world import World

MEDIUM_SHARES = (0.6, 0.15, 0.25)
"""How often each medium is chosen, by those who allow all."""
COST_CENTS = np.array([1, 7, 0])
HOURS_TO_OPEN, MINUTES_TO_ACT, DAYS_TO_GOAL = 6.0, 2.0, 2.0
"""Mean times to the opening, from there to a click or the end, and from the message to the goal."""
KINDS = ("delivered", "bounced", "opened", "clicked", "unsubscribed", "converted")


@dataclass(frozen=True)
class Campaigns:
    """Messages, what came of them, and what would have."""

    customers: pd.DataFrame
    """By customer: ``likes_<medium>`` (log-odds of opening), ``goal_log_odds`` (without a message),
    ``effect_<offer>`` (log-odds of the goal that a message adds)."""
    contacts: pd.DataFrame
    """Rows of the table with the truth beside them: ``fatigue``, ``p_open``, ``p_control`` and
    ``p_treated`` (of the goal, by arm), ``goal_control`` and ``goal_treated`` (what would be), and
    the day on which each of ``KINDS`` came, missing where it did not."""
    responses: pd.DataFrame
    """Rows of the table."""
    consents: pd.DataFrame
    """Rows of the table: unsubscribing takes a consent back."""


def draw_campaigns(world: World, people: People) -> Campaigns:
    """Draw one campaign after the other: what was sent before tires, and may have ended consent.

    - Fatigue is a stock that fades, ``F(t) = sum exp(-(t - t_j) / f)`` over the messages received
      (goodwill of Nerlove, M., Arrow, K. 1962, Economica 29, equation 1, with the sign turned).
    - ``P(open) = logistic(a_m + likes_im - w F - l 1[dropped out])``; a fixed share of what is
      opened is clicked; ``P(unsubscribe | open) = logistic(u + w F)``.
    - Potential outcomes (Rubin, D. 1974, Journal of Educational Psychology 66): the goal is reached
      without a message with ``p0 = logistic(b_i - l 1[dropped out])``, and if put into the arm with
      the message, delivered or not, with ``p1 = logistic(logit p0 + effect_io)``. One uniform
      number decides both.
    """
    config, campaign = world.config, world.config.campaigns
    rng, n = stream(config, "campaigns"), config.customers
    consents = draw_consents(world, people)
    mean = np.array(list(campaign.effects.values()))
    latent = pd.DataFrame({
        **dict(zip(
            [f"likes_{name}" for name in MEDIA],
            rng.normal(0.0, campaign.preference_sd, (len(MEDIA), n)), strict=True,
        )),
        "goal_log_odds": log_odds(campaign.goal) + rng.normal(0.0, campaign.goal_sd, n),
        **dict(zip(
            [f"effect_{name}" for name in campaign.effects],
            mean[:, None] + rng.normal(0.0, campaign.effect_sd, (len(mean), n)), strict=True,
        )),
    })  # fmt: skip
    signup = people.frame["signup_day"].to_numpy()
    allowed = np.where(consents.granted, consents.until, -np.inf)[:, : len(MEDIA)]
    tired, waves = np.zeros(n), []
    for number, day in enumerate(np.arange(0.0, config.days, campaign.every_days)):
        usable = (signup[:, None] < day) & (allowed > day)
        wave = _wave(world, latent, usable, tired, number, day)
        waves.append(wave)
        who, medium = wave["customer"].to_numpy(), wave["medium"].to_numpy()
        allowed[who, medium] = np.fmin(allowed[who, medium], wave["unsubscribed"].to_numpy())
        tired[who] += wave["delivered"].notna()
        tired *= np.exp(-campaign.every_days / campaign.fatigue_days)
    contacts = pd.concat(waves, ignore_index=True)
    contacts.insert(0, "contact", 1_000_001 + np.arange(len(contacts)))
    contacts["channel"] = words(contacts["medium"].to_numpy(), MEDIA)
    left = contacts.loc[contacts["unsubscribed"] < config.days]
    rows = consent_rows(
        world, people, consents, left["customer"].to_numpy(), left["medium"].to_numpy(),
        left["unsubscribed"].to_numpy(),
    )  # fmt: skip
    return Campaigns(latent, contacts, _responses(contacts), rows)


def _wave(
    world: World,
    latent: pd.DataFrame,
    usable: np.ndarray,
    tired: Floats,
    number: int,
    day: float,
) -> pd.DataFrame:
    """The contacts of one campaign; ``usable``: which media may be used for whom."""
    campaign, rng = world.config.campaigns, stream(world.config, "campaigns", 1 + number)
    who = np.flatnonzero(usable.any(axis=1))
    upper = np.where(usable[who], MEDIUM_SHARES, 0.0).cumsum(axis=1)
    # Not above its first and at least its last limit: a medium of no width is never chosen.
    medium = (rng.random((len(who), 1)) * upper[:, -1:] >= upper[:, :-1]).sum(axis=1)
    control = rng.random(len(who)) < campaign.control_share
    sent = day + 9.0 / 24.0 + rng.random(len(who)) / 12.0
    gone = campaign.gone_log_odds * (stays_until(world)[who] < sent)
    offers = list(campaign.effects)
    offer = number % len(offers)
    rested = log_odds(np.array([campaign.open_email, campaign.open_sms, campaign.open_push]))
    likes = latent[[f"likes_{name}" for name in MEDIA]].to_numpy()[who, medium]
    fatigue = campaign.fatigue * tired[who]
    p_open = logistic(rested[medium] + likes - fatigue - gone)
    goal = latent["goal_log_odds"].to_numpy()[who] - gone
    p_control = logistic(goal)
    p_treated = logistic(goal + latent[f"effect_{offers[offer]}"].to_numpy()[who])
    lot = rng.random((5, len(who)))
    delivered = ~control & (lot[0] < campaign.delivered_share)
    opened = delivered & (lot[1] < p_open)
    quits = opened & (lot[2] < logistic(log_odds(campaign.unsubscribe) + fatigue))
    goals = {"goal_control": lot[4] < p_control, "goal_treated": lot[4] < p_treated}
    reached = np.where(control, goals["goal_control"], goals["goal_treated"])
    wait = rng.exponential(size=(4, len(who)))
    open_day = sent + wait[0] * HOURS_TO_OPEN / 24.0 + 1e-3
    act_day = open_day + wait[1:3] * MINUTES_TO_ACT / 1_440.0
    happened = {
        "delivered": (delivered, sent + 2e-4), "bounced": (~control & ~delivered, sent + 2e-4),
        "opened": (opened, open_day),
        "clicked": (opened & (lot[3] < campaign.click_share), act_day[0]),
        "unsubscribed": (quits, act_day[1]),
        "converted": (reached, sent + 1e-3 + wait[3] * DAYS_TO_GOAL),
    }  # fmt: skip
    return pd.DataFrame({
        "customer": who, "happened": seconds(sent), "medium": medium,
        "campaign": f"K{number:03d}",
        "offer": words(np.where(control, -1, offer), offers),
        "arm": words(control.astype(np.int64), ("message", "control")),
        "assignment_probability": np.where(
            control, campaign.control_share, round(1.0 - campaign.control_share, 12)
        ),
        "cost_cents": np.where(control, 0, COST_CENTS[medium]),
        "fatigue": tired[who], "p_open": p_open, "p_control": p_control, "p_treated": p_treated,
        **goals,
        **{kind: np.where(came, when, np.nan) for kind, (came, when) in happened.items()},
    })  # fmt: skip


def _responses(contacts: pd.DataFrame) -> pd.DataFrame:
    """One row for each thing that came of a contact."""
    came = contacts[list(KINDS)].to_numpy()
    row, kind = np.nonzero(~np.isnan(came))
    return pd.DataFrame({
        "contact": contacts["contact"].to_numpy()[row],
        "customer": contacts["customer"].to_numpy()[row],
        "happened": seconds(came[row, kind]),
        "kind": words(kind, KINDS),
    })  # fmt: skip
