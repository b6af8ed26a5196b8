"""Names of files in a step's output that other modules read."""

METRICS_FILE = "metrics.json"
"""Final figures of a step."""
PER_CLASS_FILE = "per_class.csv"
"""Of an evaluation: model, class, clips, accuracy, change_from_baseline."""
CURVES_FILE = "curves.csv"
"""Of a training, also kept in its model bundle: step, name, value."""
RESERVED_METRICS = ("fusion", "data", "baselines", "label_efficiency")
"""Keys of an evaluation's ``metrics.json`` that are no models."""
