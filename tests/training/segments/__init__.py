"""Tests of segmentations."""
