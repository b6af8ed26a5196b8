"""The environment variables that tell a step which run of which recipe it is part of."""

RUN_ID = "KINEFLOW_RUN_ID"
RECIPE = "KINEFLOW_RECIPE"
