"""Names of files in a step's output that other modules read."""

METRICS_FILE = "metrics.json"
"""Final figures of a step."""
PER_CLASS_FILE = "per_class.csv"
"""Of an evaluation: model, class, clips, accuracy, change_from_baseline."""
ONE_VIEW_TOP1 = "top1_one_view"
"""In an evaluation's ``metrics.json``: top-1 of a model that sees one window of each clip, the centre."""
CURVES_FILE = "curves.csv"
"""Of a training, also kept in its model bundle: step, name, value."""
RESERVED_METRICS = ("fusion", "data", "baselines", "label_efficiency")
"""Keys of an evaluation's ``metrics.json`` that are no models."""
