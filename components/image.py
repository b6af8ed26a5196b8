"""The container image that steps run in on a cluster."""

from __future__ import annotations

import os

# KFP's local runner warns about images whose name lacks "python".
IMAGE = os.environ.get("KINEFLOW_IMAGE", "kineflow-python:dev")
