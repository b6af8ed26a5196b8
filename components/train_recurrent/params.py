"""Parameters of the train_recurrent step."""

from kineflow.training.recurrent_settings import RecurrentSettings as RecurrentParams

__all__ = ["RecurrentParams"]
