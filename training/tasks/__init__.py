"""Questions: one file, one business question."""
