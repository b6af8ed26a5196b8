"""The version of everything Kineflow keeps on disk for other steps to read; images are labelled with it."""

# Raised when a clip set, flow set, feature set or model bundle changes such that an older Kineflow cannot read it.
# Sets of clips of several classes have a column more, by which an older one refuses these alone.
DATA_SCHEMA_VERSION = 3  # a clip set says which frames of which source file its clips are
