"""Parameters of the pretrain_learnt_flow step."""

from kineflow.training.variant_settings import LearntFlowSettings as LearntFlowParams

__all__ = ["LearntFlowParams"]
