"""The check that a text does not tell what its author could not know."""
