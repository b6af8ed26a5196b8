"""Training clips a second by NVDEC and by CPU cores, as ``python -m on_gpu.decoding FILE [--dry]``; see ../on_gpu.sh.

Samples are S3D's (64 frames in a row) and TSN's (3 single frames), 224x224 of rendered clips of 340x256, random windows
and crops, 16 a batch. NVDEC is what ``decoding: cuda`` does, CPU as many loading processes as there are cores. Also how
far colours of NVDEC are from those of the CPU's reader, in levels of 0 to 255. Without a GPU, torchcodec decodes on the
CPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from on_gpu.record import Record, in_one_line
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.collate import collate
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.device_decoding import decode_on, why_no_decoder
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.training.decoded_batches import DecodedBatches
from kineflow.video.encode import write_video

FRAMES, HEIGHT, WIDTH, BATCH = 250, 256, 340, 16
SAMPLES = {"S3D": Geometry(ClipSpec(64), 256, 224), "TSN": Geometry(ClipSpec(1), 256, 224, segments=3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dry", action="store_true", help="few clips, and a moment each")
    given = parser.parse_args()
    record = Record(given.file)
    if reason := why_no_decoder():
        record.put("not_measured", f"torchcodec: {reason}")
        return
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        clips = rendered(Path(folder), 2 if given.dry else 4)
        record.put("levels", levels_apart(clips, device))
        for sample, geometry in SAMPLES.items():
            for form, batches in forms(clips, geometry, device).items():
                print(f"{sample}, {form}", flush=True)
                row: dict[str, Any] = {"sample": sample, "form": form}
                try:
                    row |= rate(batches(), device, seconds=0.5 if given.dry else 5)
                except Exception as error:
                    row["failed"] = in_one_line(error)
                record.append("rates", row)


def rendered(folder: Path, number: int) -> ClipSet:
    """Clips of a texture that moves, as ingest would store them."""

    def write(seed: int) -> Clip:
        rng, name = np.random.default_rng(seed), f"clip{seed}"
        path = f"{name}.mp4"
        coarse = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        still = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        moving = (np.roll(still, 2 * frame, axis=frame % 2) for frame in range(FRAMES))
        write_video(folder / path, moving, fps=25, crf=20, preset="medium", tune="fastdecode")
        return Clip(name, path, "moving", name, Split.TRAIN, FRAMES, 25.0, WIDTH, HEIGHT, 0, name, Status.OK, "", name)

    with ThreadPoolExecutor() as pool:
        return ClipSet(("moving",), tuple(pool.map(write, range(number))), str(folder))


def levels_apart(clips: ClipSet, device: torch.device) -> dict[str, Any]:
    """Of S3D's frames, decoded on the device less by the reader; or why the device does not decode them."""
    samples = ClipDataset(clips, clips.clips, modalities=("rgb",), geometry=SAMPLES["S3D"], decodes_rgb=False)
    apart = []
    for number in range(len(samples)):
        view = samples[number]["rgb_view"]
        try:
            apart.append(decode_on(device, view).cpu().numpy().astype(int) - view.read())
        except Exception as error:
            return {"failed": in_one_line(error)}
    return {"mean": float(np.mean(apart)), "greatest": int(np.abs(apart).max())}


def forms(clips: ClipSet, geometry: Geometry, device: torch.device) -> dict[str, Callable[[], Iterable[Any]]]:
    cores = len(os.sched_getaffinity(0))

    def loaded(*, decodes_rgb: bool, workers: int) -> DataLoader[Any]:
        samples = ClipDataset(
            clips, clips.clips, modalities=("rgb",), geometry=geometry, may_flip=True, decodes_rgb=decodes_rgb
        )
        drawn = ([SampleRef(n % len(clips.clips), (batch, n)) for n in range(BATCH)] for batch in count())
        return DataLoader(samples, batch_sampler=drawn, num_workers=workers, collate_fn=collate)  # type: ignore[arg-type]

    return {
        "NVDEC" if device.type == "cuda" else "torchcodec on the CPU": lambda: DecodedBatches(
            loaded(decodes_rgb=False, workers=0), device
        ),
        f"CPU, {cores} processes": lambda: loaded(decodes_rgb=True, workers=cores),
    }


def rate(batches: Iterable[Any], device: torch.device, *, seconds: float) -> dict[str, float]:
    """Clips a second until so many have gone, and this process's own CPU seconds a clip."""
    coming = iter(batches)
    for _ in range(2 * len(os.sched_getaffinity(0))):  # as many as loading processes may have ready
        next(coming)
    begun, spent, clips = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        clips += len(next(coming)["label"])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return {
        "clips_per_s": clips / (time.perf_counter() - begun),
        "own_cpu_ms_a_clip": 1000 * (time.process_time() - spent) / clips,
    }


if __name__ == "__main__":
    main()
