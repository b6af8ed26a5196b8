"""Tags by which a step that has judged models says what its figures are of."""

EVALUATED = "evaluation.data_version"
"""Digest of the clips and labels."""
EVALUATION_SPLIT = "evaluation.split"
EVALUATION_PROTOCOL = "evaluation.protocol"
"""How clips were scored, in words."""
EVALUATION_DIGEST = "evaluation.sha256"
"""Of its ``metrics.json``: a run whose evaluation was up to date finds by it the step that made it."""
