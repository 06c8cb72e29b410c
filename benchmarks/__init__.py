"""Speed as a ratio against a peer, both measured in one run."""
