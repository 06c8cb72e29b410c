"""Ranks, the metrics of ranks and their intervals."""
