"""UR4Rec: a sequential recommender that joins behaviour and language-model text."""

from importlib.metadata import version

__version__ = version("ur4rec")
