"""Raw interactions to leave-one-out or time-split sequences."""
