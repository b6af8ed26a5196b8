"""Hours of flow and of training: counted work over a rate, and the cores that must keep up with it."""

from __future__ import annotations

from dataclasses import dataclass

from scale_model.assumptions import Assumptions
from scale_model.figures import Figures
from scale_model.video_sets import KINETICS400, UCF101, VideoSet

_HOUR = 3600.0

# params/d3d_ucf101.yaml and params/tsn_ucf101.yaml
_D3D_SAMPLES_UCF = 40_000 * 16
_TSN_SAMPLES_UCF = {"spatial": 4_500 * 256, "difference": 4_500 * 256, "temporal": 20_000 * 256}
_D3D_VIEWS, _TSN_VIEWS, _SNIPPETS = 10, 250, 3
_VAL_SHARE = 0.1


@dataclass(frozen=True)
class FlowHours:
    """Hours to compute the flow of a set with preset ``capped``.

    Attributes:
        cpu: Core-hours: decode, solve, encode.
        gpu: GPU-hours, an estimate.
        cores_a_gpu: That decode and encode for one GPU at that rate.
        hash_cpu: Core-hours of the hash that names each clip's flow: a run that goes on reads every clip for it.
    """

    cpu: float
    gpu: float
    cores_a_gpu: float
    hash_cpu: float


def flow_hours(data: VideoSet, figures: Figures, given: Assumptions) -> FlowHours:
    """Hours of a whole set."""
    media = figures.media(data.kind)
    coding_ms = media.luma_cpu_ms_a_frame + media.flow_write_cpu_ms_a_field
    return FlowHours(
        cpu=data.pairs * (media.capped_cpu_ms_a_pair + coding_ms) / 1000 / _HOUR,
        gpu=data.pairs / given.gpu_flow_pairs_a_s / _HOUR,
        cores_a_gpu=given.gpu_flow_pairs_a_s * coding_ms / 1000,
        hash_cpu=data.frames * media.stored_bytes_a_frame / figures.dvc.sha256_bytes_a_cpu_s / _HOUR,
    )


def ingest_core_hours(data: VideoSet, figures: Figures) -> float:
    """Core-hours to index, scale and encode every video."""
    return data.frames * figures.media(data.kind).ingest_cpu_ms_a_frame / 1000 / _HOUR


@dataclass(frozen=True)
class TrainingHours:
    """A recipe's trainings and its evaluation.

    Attributes:
        samples: Clips or videos trained on, over all networks.
        exaflop: Counted operations, 1e18.
        gpu: GPU-hours where the GPU is always fed: operations over peak times utilisation.
        decode_cpu: Core-hours to read the samples.
        gpu_as_fed: GPU-hours with the given cores a GPU: the larger of both.
    """

    samples: float
    exaflop: float
    gpu: float
    decode_cpu: float
    gpu_as_fed: float


def d3d_samples(data: VideoSet, given: Assumptions) -> float:
    """Clips that each of the four networks is trained on: the parameter file's, the paper's, and one pass."""
    if data.clips == UCF101.clips:
        return _D3D_SAMPLES_UCF
    paper = given.s3d_steps * given.s3d_batch
    return paper if data.clips <= KINETICS400.clips else data.train_clips


def tsn_samples(data: VideoSet, stream: str, given: Assumptions) -> float:
    """Videos that a stream is trained on: the parameter file's, the published recipe's, and one pass."""
    if data.clips == UCF101.clips:
        return _TSN_SAMPLES_UCF[stream]
    return data.train_clips * (given.k400_epochs_tsn if data.clips <= KINETICS400.clips else 1)


def d3d_hours(data: VideoSet, figures: Figures, given: Assumptions) -> TrainingHours:
    """Teacher, plain network and two students (each with the teacher looking on), validated and evaluated."""
    net, media, each = figures.networks, figures.media(data.kind), d3d_samples(data, given)
    rounds = given.validation_rounds if data.clips <= KINETICS400.clips else 1
    looked_at = data.test_clips * _D3D_VIEWS + rounds * _validation_clips(data)
    operations = each * (net.s3d_flow_step + 3 * net.s3d_rgb_step + 2 * net.s3d_flow_forward)
    operations += looked_at * (net.s3d_flow_forward + 3 * net.s3d_rgb_forward)
    flow_reads, rgb_reads = 3 * each + looked_at, 3 * each + 3 * looked_at
    cpu_ms = flow_reads * media.s3d_flow_cpu_ms_a_sample + rgb_reads * media.s3d_rgb_cpu_ms_a_sample
    return _hours(4 * each, operations, cpu_ms, given)


def tsn_hours(data: VideoSet, figures: Figures, given: Assumptions) -> TrainingHours:
    """RGB, RGB difference, flow and warped flow: three snippets a video; 250 views in evaluation."""
    net, media = figures.networks, figures.media(data.kind)
    spatial, difference, temporal = (tsn_samples(data, s, given) for s in ("spatial", "difference", "temporal"))
    steps = spatial * net.tsn_rgb_step + difference * net.tsn_difference_step + 2 * temporal * net.tsn_flow_step
    views = data.test_clips * _TSN_VIEWS * 2 * (net.tsn_rgb_forward + net.tsn_flow_forward)
    cpu_ms = (spatial + difference) * media.tsn_rgb_cpu_ms_a_sample + 2 * temporal * media.tsn_flow_cpu_ms_a_sample
    return _hours(spatial + difference + 2 * temporal, _SNIPPETS * steps + views, cpu_ms, given)


def samples_a_second(operations_a_sample: float, given: Assumptions) -> float:
    """What a fed GPU does."""
    return given.gpu_peak_flops * given.gpu_utilisation / operations_a_sample


def _validation_clips(data: VideoSet) -> float:
    return _VAL_SHARE * data.train_clips if data.clips == UCF101.clips else data.test_clips


def _hours(samples: float, operations: float, cpu_ms: float, given: Assumptions) -> TrainingHours:
    gpu = operations / (given.gpu_peak_flops * given.gpu_utilisation) / _HOUR
    decode_cpu = cpu_ms / 1000 / _HOUR
    return TrainingHours(samples, operations / 1e18, gpu, decode_cpu, max(gpu, decode_cpu / given.cores_a_gpu))
