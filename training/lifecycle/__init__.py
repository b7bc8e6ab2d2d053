"""Lifecycle stages: by rules with hysteresis, and learned from the sequence of each customer.

::

    feature rows --sequences--> counts by customer, period and observable, oldest first
                 --stages--> a stage by rules for every period  --journeys--> funnel, ways, time
                 --chain--> a hidden Markov model: state, its probability, what comes next, why
"""
