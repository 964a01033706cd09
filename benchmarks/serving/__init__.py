"""Servers side by side under vLLM's own load generator: `make bench`."""
