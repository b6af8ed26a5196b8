"""The environment variables that tell a step which run of which recipe it is part of."""

RUN_ID = "KINEFLOW_RUN_ID"
RECIPE = "KINEFLOW_RECIPE"
GROUP = "KINEFLOW_GROUP"
"""MLflow's id of the run above the parent run, where recipes run by seeds or splits."""
PARAMS = "KINEFLOW_PARAMS"
"""On a cluster: the parameters that a run was submitted with, as JSON, for the step that closes its record."""
