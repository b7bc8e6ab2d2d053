"""Answers: one file, one model family."""
