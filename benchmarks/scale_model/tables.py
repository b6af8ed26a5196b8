"""The tables of docs/scale.md: (c) is computed from what was measured, (e) rests on an assumption too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scale_model import requests
from scale_model.assumptions import Assumptions
from scale_model.compute import FlowHours, TrainingHours, d3d_hours, flow_hours, ingest_core_hours, tsn_hours
from scale_model.figures import Figures
from scale_model.limits import strains
from scale_model.shards import Plan, plan
from scale_model.shown import count, duration, hours, rounded, size
from scale_model.stored import Stored, stored
from scale_model.tracking import database_bytes, database_rows
from scale_model.versions import DvcHours, dvc_hours
from scale_model.video_sets import ALL, KINETICS400, THOUSANDFOLD, UCF101, VideoSet

GPUS = {UCF101.name: 4, KINETICS400.name: 8, THOUSANDFOLD.name: 512}
_RUNS = 1_000
_TRIED_SHARDS = (1, 2, 4, 8, 12, 16)


@dataclass(frozen=True)
class Column:
    """One data set, worked out."""

    data: VideoSet
    given: Assumptions
    shards: Plan
    sizes: Stored
    flow: FlowHours
    d3d: TrainingHours
    tsn: TrainingHours
    dvc: DvcHours

    @classmethod
    def of(cls, data: VideoSet, figures: Figures) -> Column:
        """With the GPUs that such a set calls for."""
        given = replace(Assumptions(), pods_at_once=GPUS[data.name])
        shards = plan(data, figures, given)
        sizes = stored(data, figures, shards.kept)
        return cls(
            data, given, shards, sizes,
            flow_hours(data, figures, given), d3d_hours(data, figures, given), tsn_hours(data, figures, given),
            dvc_hours(data.clips, sizes.raw, figures),
        )  # fmt: skip


def tables(figures: Figures) -> str:
    """All of them, as Markdown."""
    columns = [Column.of(data, figures) for data in ALL]
    parts = [_measured(figures), _main(columns, figures), _fan_out(columns), *(_breaks(c, figures) for c in columns)]
    return "\n\n".join([*parts, f"Measured on: {figures.machine}."])


def _main(columns: Sequence[Column], figures: Figures) -> str:
    def row(what: str, mark: str, value: Callable[[Column], str]) -> list[str]:
        return [what, *(value(column) for column in columns), mark]

    index = figures.index

    def load_s(c: Column) -> float:
        return c.data.clips * index.manifest_load_cpu_us / 1e6

    def traffic(made: Callable[[Column], requests.Traffic]) -> Callable[[Column], str]:
        return lambda c: f"{count(made(c).requests)}, {size(made(c).egress_bytes)}"

    rows = [
        ["**Size**", "", "", "", ""],
        row("clips", "", lambda c: count(c.data.clips)),
        row("frames", "c", lambda c: count(c.data.frames)),
        ["**Bytes**", "", "", "", ""],
        row("videos", "c", lambda c: size(c.sizes.raw)),
        row("clip set", "c", lambda c: size(c.sizes.clips)),
        row("flow set", "c", lambda c: size(c.sizes.flow)),
        row("warped flow (TSN)", "c", lambda c: size(c.sizes.warped)),
        row("ALSTM's frozen maps", "c", lambda c: size(c.sizes.features)),
        row("D3D's six models", "c", lambda c: size(c.sizes.models)),
        row("manifest; flow index", "c", lambda c: f"{size(c.sizes.manifest)}; {size(c.sizes.flow_index)}"),
        row("KFP artifacts downloaded in a run", "c", lambda c: size(c.sizes.artifacts_moved)),
        ["**Manifest in a step**", "", "", "", ""],
        row("load, CPU", "c", lambda c: duration(load_s(c))),
        row("memory", "c", lambda c: size(c.data.clips * index.manifest_memory_bytes)),
        ["**Hours**", "", "", "", ""],
        row("ingestion, core-hours", "c", lambda c: hours(ingest_core_hours(c.data, figures))),
        row("flow, core-hours on CPUs", "c", lambda c: hours(c.flow.cpu)),
        row("flow, GPU-hours", "e", lambda c: hours(c.flow.gpu)),
        row("cores to code for that GPU", "e", lambda c: rounded(c.flow.cores_a_gpu)),
        row("D3D, samples a network", "", lambda c: count(c.d3d.samples / 4)),
        row("D3D, EFLOP", "c", lambda c: f"{c.d3d.exaflop:,.0f}"),
        row("D3D, GPU-hours, always fed", "e", lambda c: hours(c.d3d.gpu)),
        row("D3D, core-hours of decoding", "c", lambda c: hours(c.d3d.decode_cpu)),
        row(f"D3D, GPU-hours at {Assumptions().cores_a_gpu} cores a GPU", "e", lambda c: hours(c.d3d.gpu_as_fed)),
        row("TSN, GPU-hours, always fed", "e", lambda c: hours(c.tsn.gpu)),
        row(f"TSN, GPU-hours at {Assumptions().cores_a_gpu} cores a GPU", "e", lambda c: hours(c.tsn.gpu_as_fed)),
        ["**Fan-out of flow**", "", "", "", ""],
        row("GPUs at hand", "", lambda c: str(c.given.pods_at_once)),
        row("start of a shard", "e", lambda c: duration(c.shards.fleet.start_s)),
        row("`flow_shards`, clips kept on the volume", "c", lambda c: str(c.shards.kept)),
        row("… their start-up share; wall time", "e", lambda c: _share_and_wall(c.shards, c.shards.kept, kept=True)),
        row("… chance that a run of it fails", "e", lambda c: _chance(c.shards.fails(c.shards.kept, kept=True))),
        row("`flow_shards`, begun anew after failure", "c", lambda c: str(c.shards.anew)),
        row("… their start-up share; wall time", "e", lambda c: _share_and_wall(c.shards, c.shards.anew, kept=False)),
        row("KFP tasks of D3D (flow in the first)", "c", lambda c: f"{_tasks(c, figures):,.0f}"),
        ["**S3: requests, egress**", "", "", "", ""],
        row("ingestion", "c", traffic(lambda c: requests.ingest(c.data, figures, c.sizes, c.given))),
        row("flow extraction", "c", traffic(lambda c: requests.flow_extraction(c.data, figures, c.sizes))),
        row("an epoch, S3D on RGB", "c", traffic(lambda c: requests.epoch(c.data, figures, c.sizes, "s3d_rgb"))),
        row("an epoch, S3D on flow", "c", traffic(lambda c: requests.epoch(c.data, figures, c.sizes, "s3d_flow"))),
        row("an epoch, TSN on RGB", "c", traffic(lambda c: requests.epoch(c.data, figures, c.sizes, "tsn_rgb"))),
        row("`dvc push` of the videos", "c", lambda c: count(requests.dvc_push(c.data.clips, figures).requests)),
        row("`dvc pull` of them", "c", traffic(lambda c: requests.dvc_pull(c.data.clips, c.sizes.raw, figures))),
        row("at least, at 3,500 PUTs a second", "c", lambda c: duration(c.data.clips / c.given.s3_puts_a_s)),
        ["**DVC on the videos, CPU**", "", "", "", ""],
        row("`add`", "c", lambda c: duration(c.dvc.add * 3600)),
        row("`status`", "c", lambda c: duration(c.dvc.status * 3600)),
        row("`push`", "c", lambda c: duration(c.dvc.push * 3600)),
        row("`checkout`", "c", lambda c: duration(c.dvc.checkout * 3600)),
        row("list of files (`.dir`)", "c", lambda c: size(c.dvc.dir_bytes)),
        [f"**MLflow, {_RUNS:,} runs of D3D**", "", "", "", ""],
        row("rows", "c", lambda c: count(database_rows(_RUNS, c.shards.kept, figures))),
        row("SQLite file", "c", lambda c: size(database_bytes(_RUNS, c.shards.kept, figures))),
    ]
    return _markdown("Three sizes", ["", *(column.data.name for column in columns), "how"], rows)


def _share_and_wall(shards: Plan, number: int, *, kept: bool) -> str:
    return f"{shards.share(number):.0%}; {duration(shards.wall_s(number, kept=kept))}"


def _tasks(c: Column, figures: Figures) -> float:
    """The recipe's, with flow's one replaced by shards and a gatherer, and the exit handler."""
    gathered = 1 if c.shards.kept > 1 else 0
    return figures.package.tasks - 1 + c.shards.kept + gathered + 1


def _fan_out(columns: Sequence[Column]) -> str:
    """Start-up against work by the count of shards."""
    header = ["shards", *(f"{c.data.name}, {c.given.pods_at_once} GPUs" for c in columns)]
    rows = [[str(number), *(_shards_cell(c.shards, number) for c in columns)] for number in _TRIED_SHARDS]
    return _markdown("Work a shard; start-up's share; wall time; chance that the run fails (e)", header, rows)


def _shards_cell(shards: Plan, number: int) -> str:
    work, spent = duration(shards.work_s / number), _share_and_wall(shards, number, kept=True)
    return f"{work}; {spent}; {_chance(shards.fails(number, kept=True))}"


def _chance(value: float) -> str:
    """``3%``; of what is rarer, ``1 in 3,000``."""
    if value < 1e-6:
        return "< 1 in a million"
    return f"1 in {float(f'{1 / value:.2g}'):,.0f}" if value < 0.01 else f"{value:.0%}"


def _breaks(c: Column, figures: Figures) -> str:
    listed = strains(c.data, figures, c.sizes, c.shards.kept, c.given)
    show = {"bytes": size, "hours": lambda value: f"{hours(value)} h", "": count}
    rows = [
        [s.what, show[s.unit](s.need), f"{show[s.unit](s.there_is)} ({s.of_limit})", f"{rounded(s.ratio)}×"]
        for s in listed
        if s.ratio >= 0.1
    ]
    title = f"{c.data.name}, {c.given.pods_at_once} GPUs: need against what there is"
    return _markdown(title, ["", "needs", "there is", "ratio"], rows)


def _measured(figures: Figures) -> str:
    media, index, starts, dvc = (figures.ucf101, figures.kinetics), figures.index, figures.starts, figures.dvc
    ranges, net, track = (figures.ranges_ucf101, figures.ranges_kinetics), figures.networks, figures.tracking

    def pair(name: str, unit: str, of: Sequence[object] = media, show: Callable[[float], str] = rounded) -> list[str]:
        first, second = (show(getattr(kind, name)) for kind in of)
        return [f"{first} / {second} {unit}".strip()]

    rows = [
        ["video, a frame", *pair("raw_bytes_a_frame", "B")],
        ["clip set, a frame", *pair("stored_bytes_a_frame", "B")],
        ["flow set, a field", *pair("flow_bytes_a_field", "B")],
        ["ingest a frame (decode twice, scale, encode)", *pair("ingest_cpu_ms_a_frame", "ms CPU")],
        ["decode luma, a frame", *pair("luma_cpu_ms_a_frame", "ms CPU")],
        ["TV-L1 `opencv`, a pair", *pair("opencv_cpu_ms_a_pair", "ms CPU")],
        ["TV-L1 `capped`, a pair", *pair("capped_cpu_ms_a_pair", "ms CPU")],
        ["TV-L1 `fast`, a pair", *pair("fast_cpu_ms_a_pair", "ms CPU")],
        ["encode flow, a field", *pair("flow_write_cpu_ms_a_field", "ms CPU")],
        ["S3D sample, 64 frames: RGB", *pair("s3d_rgb_cpu_ms_a_sample", "ms CPU")],
        ["S3D sample, 64 fields: flow", *pair("s3d_flow_cpu_ms_a_sample", "ms CPU")],
        ["TSN sample, 3 frames: RGB", *pair("tsn_rgb_cpu_ms_a_sample", "ms CPU")],
        ["TSN sample, 3 × 5 fields: flow", *pair("tsn_flow_cpu_ms_a_sample", "ms CPU")],
        ["S3: flow extraction, requests a clip", *pair("extract_requests_a_clip", "", ranges)],
        ["S3: a sample of RGB, S3D or TSN, requests", *pair("s3d_rgb_requests_a_sample", "", ranges)],
        ["S3: … of flow", *pair("s3d_flow_requests_a_sample", "", ranges)],
        ["S3: S3D sample RGB, share of the clip read", *pair("s3d_rgb_share_read", "", ranges, "{:.0%}".format)],
        ["S3: TSN sample RGB", *pair("tsn_rgb_share_read", "", ranges, "{:.0%}".format)],
        ["S3: TSN sample RGB in blocks of 64 KiB", *pair("tsn_rgb_small_share_read", "", ranges, "{:.0%}".format)],
        ["S3: … requests", *pair("tsn_rgb_small_requests_a_sample", "", ranges)],
        ["S3: ingest; `dvc push`; `dvc pull`, requests a file",
         f"{figures.s3.ingest_a_clip:.2f}; {figures.s3.dvc_push_a_file:.2f}; {figures.s3.dvc_pull_a_file:.2f}"],
        ["manifest, a clip", f"{index.manifest_bytes:.0f} B; load {index.manifest_load_cpu_us:.1f} µs CPU, "
         f"{index.manifest_memory_bytes:,.0f} B of memory; write {index.manifest_write_cpu_us:.0f} µs"],
        ["flow index, a clip", f"{index.flow_index_bytes:.0f} B; load {index.flow_index_load_cpu_us:.1f} µs CPU, "
         f"{index.flow_index_memory_bytes:,.0f} B of memory"],
        ["dealing out a shard, a clip", f"{index.shard_cpu_us:.1f} µs CPU"],
        ["order of a training pass, a clip",
         f"{index.draws_cpu_us:.2f} µs CPU, {index.draws_memory_bytes:.0f} B of memory"],
        ["`extract_flow --help`", f"{starts.help_cpu_s:.2f} s CPU"],
        ["`extract_flow` on one tiny clip", f"{starts.flow_step_cpu_s:.1f} s CPU"],
        ["imports of `train`", f"{starts.train_imports_cpu_s:.1f} s CPU"],
        ["a `dvc` command", f"{dvc.start_cpu_s:.2f} s CPU"],
        ["`dvc add`, `status`, `push`, `checkout`, a file", f"{dvc.add_cpu_ms:.2f}, {dvc.status_cpu_ms:.2f}, "
         f"{dvc.push_cpu_ms:.2f}, {dvc.checkout_cpu_ms:.2f} ms CPU"],
        ["`.dir`, a file", f"{dvc.dir_file_bytes:.0f} B"],
        ["md5; sha256", f"{size(dvc.md5_bytes_a_cpu_s)}/s; {size(dvc.sha256_bytes_a_cpu_s)}/s"],
        ["S3D-G, 64 × 224², forward; training step",
         f"{net.s3d_rgb_forward / 1e9:.0f}; {net.s3d_rgb_step / 1e9:.0f} GFLOP"],
        ["BN-Inception, a snippet of flow, forward; training step",
         f"{net.tsn_flow_forward / 1e9:.1f}; {net.tsn_flow_step / 1e9:.1f} GFLOP"],
        ["weights of S3D-G; BN-Inception", f"{size(net.s3d_bytes)}; {size(net.tsn_bytes)}"],
        ["a run of D3D in MLflow", f"{track.runs:.0f} runs, {track.params:.0f} params, {track.metrics:.0f} metrics "
         f"({track.latest_metrics:.0f} latest), {track.tags:.0f} tags; {size(track.database_bytes)}"],
        ["a shard in MLflow", f"{track.shard_rows:.0f} rows, {size(track.shard_database_bytes)}"],
        ["compiled package of D3D", f"{size(figures.package.bytes_with(1))}; {size(figures.package.bytes_with(2))} "
         f"in two shards, {size(figures.package.bytes_a_shard)} each further one"],
    ]  # fmt: skip
    return _markdown("Measured (UCF101's clips / Kinetics')", ["", "figure"], rows)


def _markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    rule = " | ".join("-" * max(3, width) for width in widths)
    return "\n".join([f"### {title}", "", *(f"| {line} |" for line in (lines[0], rule, *lines[1:]))])
