"""Real clips as they come and as ingest stores them, and forms of one work in turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flow_tables.pairs import shared_data

from kineflow.video.index import VideoIndex, index_video
from kineflow.video.store import Part, StoredForm, store_video

REAL = {
    "UCF101 SoccerJuggling g23": "v_SoccerJuggling_g23_c01.avi",
    "UCF101 SoccerJuggling g24": "v_SoccerJuggling_g24_c01.avi",
    "Kinetics SOX5yA1l24A": "SOX5yA1l24A.mp4",
    "Kinetics R6llTwEh07w": "R6llTwEh07w.mp4",
    "Kinetics WUzgd7C1pWA (fast)": "WUzgd7C1pWA.mp4",
}


@dataclass(frozen=True)
class RealClip:
    """A clip as it comes."""

    name: str
    path: Path
    index: VideoIndex

    def stored(self, folder: Path, form: StoredForm | None = None) -> Path:
        """The clip as ingest would store it."""
        target = folder / f"{self.path.stem}.mp4"
        part = Part(0, self.index.frames)
        store_video(self.path, target, index=self.index, part=part, form=form or StoredForm())
        return target


def real_clips(quick: bool) -> list[RealClip]:
    """All of them; of the quick ones, one of a kind."""
    data = shared_data()
    if data is None:
        sys.exit("real clips are needed in ../shared/data/clips: figures of rendered ones would say nothing")
    chosen = [(name, data / "clips" / file) for name, file in REAL.items()]
    return [RealClip(name, path, index_video(path)) for name, path in (chosen[::2][:2] if quick else chosen)]


def median_ms(forms: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of each form; they take turns, and a first turn is for warming up (but of 0 repeats)."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats + 1):
        for name, work in forms.items():
            begun = time.process_time()
            work()
            taken[name].append(1000 * (time.process_time() - begun))
    return {name: statistics.median(times[1:] or times) for name, times in taken.items()}
