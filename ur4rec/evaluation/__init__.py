"""Metrics, ranking, baselines, results and the report."""
