"""From raw exports to feature tables that cannot leak.

::

    raw files --sources--> valid tables + quarantine --tables--> the past as known at t
              --sets--> feature columns --snapshot--> feature table (customer, cutoff)

``python -m features --help`` lists the commands.
"""
