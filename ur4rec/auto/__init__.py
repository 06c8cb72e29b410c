"""Settings that come from the data: what is counted, what follows from it, and where it is put in."""
