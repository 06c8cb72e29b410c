"""The recommender, under the name by which models know it that were registered before it moved.

MLflow runs the `pyfunc_model.py` of such a model on this package where this package was imported first.
"""

from ur4rec.recommender.recommender import Recommender
from ur4rec.recommender.requests import RecommendError

__all__ = ["RecommendError", "Recommender"]
