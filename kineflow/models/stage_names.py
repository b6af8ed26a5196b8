"""Names of stages and of flow decoders, apart from the networks: parameters are checked without torch."""

from __future__ import annotations

from typing import Literal

S3D_NETWORKS = ("s3d", "s3d_g", "s3d_g_tensorflow")
"""Names of the networks that have these stages."""

# Of S3D, by the names of its paper, in the order in which a clip passes them.
StageName = Literal[
    "Conv1a", "MaxPool2a", "Conv2b", "Conv2c", "MaxPool3a",
    "Mixed3b", "Mixed3c", "MaxPool4a",
    "Mixed4b", "Mixed4c", "Mixed4d", "Mixed4e", "Mixed4f", "MaxPool5a",
    "Mixed5b", "Mixed5c",
]  # fmt: skip

# See kineflow.models.flow_decoder.
DecoderName = Literal["simple", "spatial", "pwc"]
