"""Tests through real processes and HTTP."""
