"""Recommendations: candidates by makers, order by rankers, each item explained exactly."""
