"""What decisions by each answer are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from training.plots import COLOURS, axes_of
from training.report import Section
from training.supervised.case import SupervisedCase
from training.supervised.decide import curve, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sections(case: SupervisedCase) -> list[Section]:
    """Profit by answer and by the share contacted; nothing where no costs are given."""
    costs, currency = case.plan.config.decide, case.plan.source.currency
    if costs is None:
        return []
    a, b = costs.accept.alpha, costs.accept.beta
    text = [
        f"A contact costs {costs.contact_cost:g} {currency}, an offer that is taken "
        f"{costs.offer_cost:g}, a customer who stays is worth {costs.value:g}; of those about to "
        f"leave a share takes the offer that is Beta({a:g}, {b:g}), {costs.accept.mean:.2f} on "
        "average. Those who would have stayed all take it.",
        f"At that average a contact pays from probability {costs.threshold:.4f} on: the threshold "
        "that is served. Profits are per customer.",
    ]
    if costs.capacity is not None:
        text.append(f"At most {costs.capacity:,} contacts can be made.")
    found = table(costs, case.rows.y, case.reported.given)
    curves = {name: curve(costs, case.rows.y, p) for name, p in case.judged.answers.items()}
    told = pd.concat([points.assign(answer=name) for name, points in curves.items()])
    return [
        Section(
            "What decisions are worth", text, found.round(4),
            figures={"profit": (told, figure(curves, currency))}, files={"decisions": found},
        )
    ]  # fmt: skip


def figure(curves: Mapping[str, pd.DataFrame], currency: str) -> "Figure":
    """Profit per customer by the share contacted, one line per answer."""
    drawn, axes = axes_of("Profit", "share of customers contacted", f"{currency} per customer")
    for k, (name, found) in enumerate(curves.items()):
        axes.plot(found["contacted"], found["profit"], color=COLOURS[k % len(COLOURS)], label=name)
    axes.axhline(0.0, color="0.6", linewidth=1)
    axes.legend()
    return drawn
