"""Measurements beside each other: of time, and of what the methods do."""
