"""Supervised questions: yes or no, or an amount, learned from rows with labels."""
