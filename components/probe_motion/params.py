"""Parameters of the probe_motion step."""

from kineflow.evaluation.probe_settings import ProbeSettings as ProbeParams

__all__ = ["ProbeParams"]
