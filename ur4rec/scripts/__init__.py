"""Entry points with the names of the original training scripts."""
