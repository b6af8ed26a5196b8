"""Parameters of the evaluate step."""

from kineflow.evaluation.settings import EvaluateSettings as EvaluateParams

__all__ = ["EvaluateParams"]
