"""The container image that every task runs in."""

from ur4rec import __version__

IMAGE = f"ur4rec/python:{__version__}"
"""Named by version, never a moving tag: the image's name is part of every cache key."""
