"""The leakage kit: does a feature set see what it must not? For your own sets, on your own data.

A sample of customers is computed as it is (:mod:`.kit`), and again in worlds that differ in nothing
that may be known at the cutoffs (:mod:`.worlds`); the values must agree to the last bit
(:mod:`.checks`). A set made of leaks goes along (:mod:`.canary`): a check that does not catch it
counts for nothing (:mod:`.report`).
"""
