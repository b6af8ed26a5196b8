"""Parameters of the train_auxiliary step: those of training, and what is decoded beside."""

from kineflow.training.settings import TrainSettings as TrainParams
from kineflow.training.variant_settings import AuxiliarySettings as AuxiliaryParams

__all__ = ["AuxiliaryParams", "TrainParams"]
