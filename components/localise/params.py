"""Parameters of the localise step."""

from kineflow.evaluation.attention.settings import LocaliseSettings as LocaliseParams

__all__ = ["LocaliseParams"]
