"""Public datasets, and our own JSON lines, read as records by one loader."""
