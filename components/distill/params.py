"""Parameters of the distill step: those of training, and what is learnt from the teacher."""

from kineflow.training.settings import DistillSettings as DistillParams
from kineflow.training.settings import TrainSettings as TrainParams

__all__ = ["DistillParams", "TrainParams"]
