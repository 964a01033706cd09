"""The demonstration: data that is generated from a seed, for a model trained from scratch."""
