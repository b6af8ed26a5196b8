"""Versions of what is made once, at a cost, and kept: part of the names that it is kept under.

A name holds the parameters that decide the content and one of these versions; the code is not part of it. So raise a
version with every change of the code after which the same input and parameters give other content (another constant
in TV-L1, another scaler, another setting of x264), and with no other change: what was made before is made again, by
everybody. ``tests/kineflow/sets/test_known_results.py`` tells when.
"""

from __future__ import annotations

KEY_DIGITS = 32
"""Of a name, hexadecimal: 128 bits, so that of any number of files no two are named alike."""

CLIP_FORMAT = 2
"""Of stored clips: the same source, part and stored form give the same video."""

FLOW_FORMAT = 3
"""Of flow: the same stored clip and settings give the same flow."""

FEATURE_FORMAT = 1
"""Of features: the same clip, flow, backbone and preprocessing give the same features."""

DESCRIPTION_FORMAT = 1
"""Of descriptions: the same window gives the same statistics of motion and flow, which no weights tell."""

INDEX_FORMAT = 2
"""Of what is kept of a source video that was decoded once (:class:`kineflow.video.index.VideoIndex`)."""
