"""Parts of a long video, and what ingesting costs beside decoding and encoding once.

The long video is a real clip there and back again, in Matroska, whose key frames are not sought. Its parts, ten seconds
each, are read one after the other: each by a reader of its own, from the beginning on, and all by one. A whole clip is
indexed and stored, beside one pass of the decoder over it and the encoder alone, on frames at hand.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import av
from flow_tables.layout import markdown
from video_tables.clips import RealClip, median_ms, real_clips

from kineflow.video.decode import PartReader, iter_frames
from kineflow.video.encode import write_video
from kineflow.video.index import index_video
from kineflow.video.opening import decoded, open_video
from kineflow.video.store import Part, StoredForm, prepared_frames, store_video

PART = 300
TURNS = 18


def table(quick: bool) -> str:
    clips = real_clips(quick)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("parts: a long video", file=sys.stderr)
        long, parts = _long_video(clips[-1].path, folder, turns=6 if quick else TURNS)
        ms = median_ms(
            {"pass": lambda: _decode(long), "each": lambda: _each(long, parts), "one": lambda: _one(long, parts)}, 1
        )
        of_pass = [f"{ms[form] / 1000:.1f} s ({ms[form] / ms['pass']:.2f})" for form in ("each", "one")]
        rows.append([f"{parts[-1].stop} frames, {len(parts)} parts", f"{ms['pass'] / 1000:.1f} s", *of_pass])
        by_parts = markdown("Parts of a Matroska file", ["video", "decode once", "a reader each", "one reader"], rows)

        wholes = [_ingested(clip, folder) for clip in clips]
    header = ["clip", "decode, ms", "encode", "index", "store", "index and store by decode and encode"]
    return by_parts + "\n" + markdown("Ingesting a whole clip", header, wholes)


def _ingested(clip: RealClip, folder: Path) -> list[object]:
    print(f"parts: {clip.name}", file=sys.stderr)
    index, whole, form, target = clip.index, Part(0, clip.index.frames), StoredForm(), folder / "clip.mp4"
    with PartReader(clip.path) as reader:
        frames = list(prepared_frames(reader, index, whole, form))
    coding = {"crf": form.crf, "gop": form.gop, "preset": "medium", "tune": "fastdecode"}
    forms = {
        "decode": lambda: _decode(clip.path),
        "encode": lambda: write_video(target, frames, fps=index.fps, **coding),
        "index": lambda: index_video(clip.path),
        "store": lambda: store_video(clip.path, target, index=index, part=whole, form=form),
    }
    ms = median_ms(forms, 3)
    ratio = (ms["index"] + ms["store"]) / (ms["decode"] + ms["encode"])
    name = f"{clip.name}, {index.width}x{index.height}"
    return [name, *(f"{ms[each]:.0f}" for each in forms), f"{ratio:.2f}"]


def _long_video(source: Path, folder: Path, *, turns: int) -> tuple[Path, list[Part]]:
    frames = list(iter_frames(source, size=(340, 256)))
    there_and_back = itertools.chain.from_iterable(frames if turn % 2 else frames[::-1] for turn in range(turns))
    coded, target = folder / "long.mp4", folder / "long.mkv"
    write_video(coded, there_and_back, fps=30, crf=23, gop=250)
    with av.open(str(coded)) as given, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    count = len(frames) * turns // PART
    return target, [Part(PART * number, PART * (number + 1)) for number in range(count)]


def _decode(path: Path) -> None:
    with open_video(path) as (container, stream):
        for _ in decoded(container, stream):
            pass


def _each(path: Path, parts: list[Part]) -> None:
    for part in parts:
        for _ in iter_frames(path, start=part.first, stop=part.stop):
            pass


def _one(path: Path, parts: list[Part]) -> None:
    with PartReader(path) as reader:
        for part in parts:
            for _ in reader.frames(part.first, part.stop):
                pass
