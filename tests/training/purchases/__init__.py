"""Tests of the published purchase models: other derivations, simulations, published tables."""
