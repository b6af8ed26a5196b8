"""Parameters of the train step."""

from kineflow.training.settings import TrainSettings as TrainParams

__all__ = ["TrainParams"]
