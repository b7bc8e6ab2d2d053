"""A seeded retailer whose truth is known: its raw export, and beside it what really happened.

::

    SimulateConfig --world--> World: customers, orders, lines, products (the truth)
                   --exports--> order_lines.csv.gz as a shop system writes it, and truth/

Nobody in it exists. Models are measured against the processes that made the data
(:func:`true_churn_probability`), and the reading of raw files against the number of injected
defects (``truth/facts.json``). ``configs/data/simulated.yaml`` declares the export.
"""

from features.simulate.config import DirtConfig, SimulateConfig, season
from features.simulate.exports import read_world, simulate
from features.simulate.truth import true_churn_probability
from features.simulate.world import World, draw_world

__all__ = [
    "DirtConfig",
    "SimulateConfig",
    "World",
    "draw_world",
    "read_world",
    "season",
    "simulate",
    "true_churn_probability",
]
