"""The container images that tasks run in: the one place that names them.

Named by version, never by a moving tag: the name is part of every cache key. `python -m pipelines compile` puts other
names or digests in their place.
"""

from ur4rec import __version__

REPOSITORY = "ur4rec/python"
SLIM = f"{REPOSITORY}:{__version__}-slim"
"""Preprocessing and texts."""
TRAIN = f"{REPOSITORY}:{__version__}-train-cpu"
"""Everything that needs torch."""
IMAGE_USER = 10001
"""Who all of them run as."""
