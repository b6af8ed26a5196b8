"""How much is read of a video that nobody has vouched for."""

from __future__ import annotations

MAX_PIXELS = 8192 * 8192
"""Most pixels in one picture."""

MAX_FRAMES = 100_000
"""Most frames of a clip, and of a file that is read whole: an hour at 25 a second has 90,000."""

MAX_FILE_FRAMES = 5_000_000
"""Most frames of a file of which a part is read: 46 hours at 30 a second, 40 MB of time stamps."""

MAX_READ_PIXELS = 2**30
"""Most pixels, of all frames together, that are given back at a time: 3.2 GB of RGB."""
