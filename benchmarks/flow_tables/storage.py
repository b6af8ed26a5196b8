"""How to store quantised flow: bytes, error added, and the cost of writing it and of reading samples at random.

Real clips (up to 97 frames each of a UCF101, an HMDB51 and two Kinetics-400 ones) and clips rendered by
``kineflow.synth``; their flow is our TV-L1's. Every form gets the same fields and is written to files as a data set
would be; every sample opens its files anew. Error is the end-point error between the flow as computed and as read
back, in px, over all pixels and over those that move by less than 1 px.

A sample of TSN is 3 snippets of 5 consecutive fields, a sample of S3D 64 consecutive ones, both at random places; all
forms are asked for the same places. Times are CPU time of one thread, medians; files are in the page cache.

Forms: JPEG planes (OpenCV, as dense_flow writes them). H.264 4:4:4 of 8 bit as encode.py writes it, tuned for pictures
or for even error ("psnr") and cheap reading ("fastdecode"), with a key frame every 12 fields or every field ("intra").
Finer codes: ``asinh``, 8 bit with steps from 0.017 px near 0 to 0.7 px at 20; ``10 bit``, steps of a quarter of a
level; ``own bound``, 8 bit over each clip's greatest motion. Only a network that is given more than 8 linear bits could
see what they save; "seen as 8 bit" is what the others would see.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from flow_tables.layout import markdown
from flow_tables.pairs import film_pairs, shared_data

from kineflow.flow.tvl1 import choose_solver, tvl1_flow
from kineflow.sets.jpeg_planes import read_jpeg_flow, write_jpeg_flow
from kineflow.spec.quantise import dequantise, quantise
from kineflow.spec.tvl1 import tvl1_params
from kineflow.synth.motions import find_motion
from kineflow.synth.render import render_clip
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import draw_look, draw_poses
from kineflow.video.decode import _read_linearly, _read_seeking, read_frames
from kineflow.video.encode import write_video
from kineflow.video.opening import decoded, open_video

BOUND_PX = 20.0
REAL = {
    "UCF101 SoccerJuggling": "v_SoccerJuggling_g23_c01.avi",
    "HMDB51 wave": "RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    "Kinetics R6ll": "R6llTwEh07w.mp4",
    "Kinetics WUzg (fast)": "WUzgd7C1pWA.mp4",
}
RENDERED = ("translate_right", "rotate_clockwise")
QUICK = ("JPEG 95", "8 bit, gop 12, crf 10", "8 bit, intra, psnr,fastdecode, crf 14")
SAMPLES = 9
LEAST_LONG_FIELDS = 64

Flow = np.ndarray  # float32 [T, H, W, 2], px
Codes = np.ndarray  # what a file holds, [T, H, W, 2]


@dataclass(frozen=True)
class Clip:
    """Flow as computed, and the exact one where it is known."""

    flow: Flow
    exact: Flow | None = None


@dataclass(frozen=True)
class Form:
    """A way to keep the flow of a clip: its code, and how files of it are written and read."""

    name: str
    to_codes: Callable[[Flow], Codes]
    to_flow: Callable[[Codes, Flow], Flow]  # the flow as computed tells a clip's own bound
    write: Callable[[Path, Codes], None]
    read: Callable[[Path, Sequence[int]], Codes]


@dataclass
class Measured:
    """Of one form, over all clips of a group."""

    bytes_a_field: list[float]
    error_px: list[float]
    small_error_px: list[float]
    write_ms: list[float]
    tsn_ms: list[float]
    s3d_ms: list[float]
    exact_error_px: list[float]


def forms() -> list[Form]:
    """All forms, the reference first."""
    linear: Any = (lambda flow: quantise(flow, BOUND_PX), lambda codes, _: dequantise(codes, BOUND_PX))
    own: Any = (lambda flow: quantise(flow, _reach(flow)), lambda codes, flow: dequantise(codes, _reach(flow)))
    chosen = "psnr,fastdecode"
    return [
        *(Form(f"JPEG {quality}", *linear, _jpeg_writer(quality), read_jpeg_flow) for quality in (95, 90)),
        *(Form(f"8 bit, gop 12, crf {crf}", *linear, *_video(crf, 12, None)) for crf in (0, 4, 10, 16)),
        Form("8 bit, gop 12, psnr, crf 14", *linear, *_video(14, 12, "psnr")),
        *(Form(f"8 bit, intra, psnr, crf {crf}", *linear, *_video(crf, 1, "psnr")) for crf in (0, 4, 10, 14, 16)),
        *(Form(f"8 bit, intra, {chosen}, crf {crf}", *linear, *_video(crf, 1, chosen)) for crf in (10, 14, 16)),
        *(Form(f"asinh, intra, psnr, crf {crf}", _compand, _expand, *_video(crf, 1, "psnr")) for crf in (16, 22)),
        *(Form(f"10 bit, intra, psnr, crf {crf}", _quarter, _unquarter, *_ten_bit(crf)) for crf in (10, 14, 18)),
        Form("10 bit, intra, psnr, crf 14, seen as 8 bit", _quarter, _unquarter_whole, *_ten_bit(14)),
        Form("own bound, intra, psnr, crf 14", *own, *_video(14, 1, "psnr")),
    ]


def table(quick: bool) -> str:
    """One row a form, for the real clips and for the rendered ones; means over the clips, and beside JPEG 95."""
    chosen = [form for form in forms() if form.name in QUICK or not quick]
    tables = []
    for title, clips in (("real clips", _real_clips(quick)), ("rendered clips", _rendered_clips(quick))):
        if not clips:
            continue
        with tempfile.TemporaryDirectory() as folder:
            measured = _measure(chosen, clips, Path(folder), 3 if quick else SAMPLES)
        sizes = (f"{name} ({len(c.flow)} fields of {c.flow.shape[2]}x{c.flow.shape[1]})" for name, c in clips.items())
        notes = [f"Clips: {', '.join(sizes)}. TV-L1 preset: {_preset_name()}.", _floor(clips)]
        tables.append(markdown(f"Storing flow: {title}", *_cells(measured), *notes))
    return "\n".join([*tables, *_film()])


def _cells(measured: dict[str, Measured]) -> tuple[list[str], list[list[str]]]:
    reference = next(iter(measured.values()))
    header = ["form", "bytes a field", "error, px", "error below 1 px", "write, ms a field", "TSN sample, ms"]
    header += ["S3D sample, ms", *(["to exact flow, px"] if reference.exact_error_px else [])]

    def beside(values: list[float], reference: list[float], digits: int) -> str:
        mean, other = statistics.mean(values), statistics.mean(reference)
        return f"{mean:.{digits}f} (×{mean / other:.2f})"

    rows = []
    for name, m in measured.items():
        row = [
            name,
            beside(m.bytes_a_field, reference.bytes_a_field, 0),
            f"{statistics.mean(m.error_px):.4f}",
            f"{statistics.mean(m.small_error_px):.4f}",
            beside(m.write_ms, reference.write_ms, 2),
            beside(m.tsn_ms, reference.tsn_ms, 1),
            beside(m.s3d_ms, reference.s3d_ms, 1),
        ]
        rows.append(row + ([f"{statistics.mean(m.exact_error_px):.4f}"] if m.exact_error_px else []))
    return header, rows


def _film() -> list[str]:
    """What a code adds to the error that the flow has already."""
    rows = []
    for pairs in film_pairs(0.5):
        exact = pairs.exact.permute(0, 2, 3, 1).numpy()
        flow = _solve(pairs.first, pairs.second)
        seen = (flow, dequantise(quantise(flow, BOUND_PX), BOUND_PX), _unquarter(_quarter(flow), flow))
        bounded = np.abs(exact).max(axis=-1) < BOUND_PX  # faster motion no code holds
        rows.append([pairs.name, *(f"{np.hypot(*np.moveaxis(s - exact, -1, 0))[bounded].mean():.4f}" for s in seen)])
    header = ["film at half size, error to exact flow in px", "as computed", "8 bit", "10 bit"]
    return (
        [markdown("What quantisation adds on film", header, rows, "Motion beyond the bound left out.")] if rows else []
    )


def _floor(clips: dict[str, Clip]) -> str:
    flows = [clip.flow for clip in clips.values()]
    errors = [_error(dequantise(quantise(flow, BOUND_PX), BOUND_PX), flow) for flow in flows]
    told = "8-bit quantisation alone errs by {:.4f} px, by {:.4f} px below 1 px".format(*np.mean(errors, axis=0))
    own = [_error(clip.flow, clip.exact)[0] for clip in clips.values() if clip.exact is not None]
    return told + (f"; the flow as computed errs by {statistics.mean(own):.4f} px." if own else ".")


def _measure(chosen: list[Form], clips: dict[str, Clip], folder: Path, samples: int) -> dict[str, Measured]:
    measured = {form.name: Measured([], [], [], [], [], [], []) for form in chosen}
    for name, clip in clips.items():
        print(f"storage: {name}", file=sys.stderr)
        fields = len(clip.flow)
        paths = {form.name: folder / f"{name} {form.name}.mp4" for form in chosen}
        for form in chosen:
            codes, path, m = form.to_codes(clip.flow), paths[form.name], measured[form.name]
            m.write_ms.append(_cpu_ms(functools.partial(form.write, path, codes)) / fields)
            m.bytes_a_field.append(_bytes(path) / fields)
            read = form.to_flow(form.read(path, range(fields)), clip.flow)
            error, small = _error(read, clip.flow)
            m.error_px.append(error)
            m.small_error_px.append(small)
            if clip.exact is not None:
                m.exact_error_px.append(_error(read, clip.exact)[0])
        for take, places in (("tsn_ms", _tsn_places), ("s3d_ms", _s3d_places)):
            rng = np.random.default_rng(0)
            times: dict[str, list[float]] = {form.name: [] for form in chosen}
            for _ in range(samples):  # form after form at each place, so that a busy machine is busy for all
                wanted = places(fields, rng)
                for form in chosen:
                    times[form.name].append(_cpu_ms(functools.partial(form.read, paths[form.name], wanted)))
            for form in chosen:
                getattr(measured[form.name], take).append(statistics.median(times[form.name]))
    return measured


def _tsn_places(fields: int, rng: np.random.Generator) -> list[int]:
    third = fields // 3
    starts = [n * third + int(rng.integers(third - 5 + 1)) for n in range(3)]
    return [start + n for start in starts for n in range(5)]


def _s3d_places(fields: int, rng: np.random.Generator) -> list[int]:
    length = min(LEAST_LONG_FIELDS, fields)
    start = int(rng.integers(fields - length + 1))
    return list(range(start, start + length))


def _error(read: Flow, flow: Flow) -> tuple[float, float]:
    """Mean end-point error, over all pixels and over those that move by less than 1 px."""
    error = np.hypot(*np.moveaxis(read - flow, -1, 0))
    slow = np.hypot(*np.moveaxis(flow, -1, 0)) < 1
    return float(error.mean()), float(error[slow].mean())


def _cpu_ms(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def _bytes(path: Path) -> int:
    return sum(part.stat().st_size for part in path.iterdir()) if path.is_dir() else path.stat().st_size


# Writers and readers


def _jpeg_writer(quality: int) -> Callable[[Path, Codes], None]:
    return lambda path, codes: write_jpeg_flow(path, codes, quality=quality)


def _video(crf: int, gop: int, tune: str | None) -> tuple[Callable[[Path, Codes], None], Callable[..., Codes]]:
    def write(path: Path, codes: Codes) -> None:
        unused = np.full((*codes.shape[1:3], 1), 128, np.uint8)
        planes = (np.concatenate((field, unused), axis=-1) for field in codes)
        write_video(path, planes, fps=25, crf=crf, gop=gop, pixel_format="yuv444p", source_format="yuv444p", tune=tune)

    return write, lambda path, indices: read_frames(path, indices, pixel_format="yu")


def _ten_bit(crf: int) -> tuple[Callable[[Path, Codes], None], Callable[..., Codes]]:
    def write(path: Path, codes: Codes) -> None:
        height, width = codes.shape[1:3]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(25))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p10le"
            stream.options = {"preset": "veryfast", "crf": str(crf), "g": "1", "tune": "psnr", "rc-lookahead": "0"}
            stream.codec_context.thread_count = 1
            for number, field in enumerate(codes):
                frame = av.VideoFrame(width, height, "yuv444p10le")
                for plane, values in zip(frame.planes, (field[..., 0], field[..., 1], 512), strict=True):
                    padded = np.zeros((height, plane.line_size // 2), np.uint16)
                    padded[:, :width] = values
                    plane.update(padded)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    return write, _read_ten_bit


def _read_ten_bit(path: Path, indices: Sequence[int]) -> Codes:
    def convert(frame: Any) -> Codes:
        planes = [np.frombuffer(plane, np.uint16).reshape(plane.height, -1) for plane in frame.planes[:2]]
        return cv2.merge([plane[:, : frame.width].copy() for plane in planes])

    unique, positions = np.unique(np.asarray(indices), return_inverse=True)
    with open_video(path) as (container, stream):
        found = list(_read_seeking(container, stream, unique.tolist(), convert))
    if len(found) < len(unique):
        with open_video(path) as (container, stream):
            found = list(_read_linearly(decoded(container, stream), unique.tolist(), convert))
    return np.stack(found)[positions]


# Codes

_ASINH_PX = 0.5  # steps are even below this, and grow with the motion above it
_ASINH_SCALE = 127 / np.arcsinh(BOUND_PX / _ASINH_PX)


def _compand(flow: Flow) -> Codes:
    levels = np.rint(np.arcsinh(flow / _ASINH_PX) * _ASINH_SCALE)
    return (np.clip(levels, -127, 127) + 128).astype(np.uint8)


def _expand(codes: Codes, _: Flow) -> Flow:
    return np.sinh((codes.astype(np.float32) - 128) / _ASINH_SCALE) * _ASINH_PX


def _quarter(flow: Flow) -> Codes:
    return np.clip(np.rint((flow + BOUND_PX) * (4 * 255 / (2 * BOUND_PX))), 0, 4 * 255).astype(np.uint16)


def _unquarter(codes: Codes, _: Flow) -> Flow:
    return codes.astype(np.float32) * (2 * BOUND_PX / (4 * 255)) - BOUND_PX


def _unquarter_whole(codes: Codes, _: Flow) -> Flow:
    return dequantise((codes + 2) // 4, BOUND_PX)


def _reach(flow: Flow) -> float:
    return float(min(BOUND_PX, np.abs(flow).max()))


# Clips


def _real_clips(quick: bool) -> dict[str, Clip]:
    data = shared_data()
    if data is None:
        return {}
    names = list(REAL.items())[: 1 if quick else None]
    grey = {title: read_frames(data / "clips" / name, pixel_format="gray") for title, name in names}
    return {title: Clip(_flow(frames[: _frames(quick)])) for title, frames in grey.items()}


def _rendered_clips(quick: bool) -> dict[str, Clip]:
    spec = SynthSpec(frames=_frames(quick), size_px=240, radius_px=40, growth=(0.001, 0.002))
    clips = {}
    for name in RENDERED[: 1 if quick else None]:
        rng = np.random.default_rng(0)
        look, (actor, scene) = draw_look(spec, rng), draw_poses(find_motion(name), spec, rng)
        frames, truth = render_clip(look, actor, scene, size_px=spec.size_px, noise_levels=spec.noise_levels, rng=rng)
        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
        clips[name] = Clip(_flow(grey), truth.flow)
    return clips


def _frames(quick: bool) -> int:
    return 25 if quick else 97


def _flow(grey: np.ndarray) -> Flow:
    frames = torch.from_numpy(np.ascontiguousarray(grey))
    return _solve(frames[:-1], frames[1:])


def _solve(first: torch.Tensor, second: torch.Tensor) -> Flow:
    flow = tvl1_flow(first, second, tvl1_params(_preset_name()))
    return np.ascontiguousarray(flow.permute(0, 2, 3, 1).numpy())


def _preset_name() -> str:
    """The preset of whole data sets where it is affordable."""
    capped = tvl1_params("capped")
    return "capped" if choose_solver(capped, torch.device("cpu")) == "fused" else "fast"


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(table(quick="--quick" in sys.argv))
