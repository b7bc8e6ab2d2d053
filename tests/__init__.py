"""Tests of the three packages, by the room they test; ``worlds`` makes the data they share."""
