"""What is read of an image network."""

from typing import Literal

Tap = Literal["map", "vector"]
"""Its last feature map [F,h,w], or the vector [D] that its classifier sees."""
