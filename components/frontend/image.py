"""The container image that steps run in on a cluster; for whoever builds it too, so nothing else is imported here."""

import os

# KFP's local runner warns about images whose name lacks "python".
IMAGE = os.environ.get("KINEFLOW_IMAGE", "kineflow-python:dev")
