"""Feature sets against values worked out by hand, and by second, slower ways."""
