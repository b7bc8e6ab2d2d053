"""A seeded retailer whose truth is known: its raw exports, and beside them what really happened.

::

    SimulateConfig --world--> World: customers, orders, lines, products (the truth of purchases)
                   --people, engagement, campaigns, feedback, loyalty, subscriptions--> all else
                   --fraud, abuse--> misuse, in the exports and in truth of its own
                   --exports--> <table>.csv.gz as the systems of a retailer write it, and truth/

Nobody in it exists. Purchases come first and depend on nothing else, so what is implied by them
(:func:`true_churn_probability`, :func:`true_expected_spend`) is exact whatever the other processes
are. Models are measured against the processes that made the data, and the reading of raw files
against the number of injected defects (``truth/facts.json``). ``configs/data/simulated.yaml``
declares the exports.
"""

from features.simulate.config import TABLES, DirtConfig, SimulateConfig, season
from features.simulate.exports import read_world, simulate
from features.simulate.stages import STAGES, stage_paths, stages_at
from features.simulate.truth import true_churn_probability, true_expected_spend
from features.simulate.world import World, draw_world

__all__ = [
    "STAGES",
    "TABLES",
    "DirtConfig",
    "SimulateConfig",
    "World",
    "draw_world",
    "read_world",
    "season",
    "simulate",
    "stage_paths",
    "stages_at",
    "true_churn_probability",
    "true_expected_spend",
]
