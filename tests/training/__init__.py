"""Tests of the training package."""

import os

# As at the doors: idle OpenMP threads sleep, where spinning ones would take the cores from others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
