"""Small good inputs of every format, made here, and tables that are larger than they look."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.fuzz.harness import Files


def read_all(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def good_sets(folder: Path) -> list[Files]:
    """A clip, a flow and a feature set."""
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource
    from kineflow.sets.flow_set import FlowEntry, FlowSet
    from kineflow.spec.preprocessing import Preprocessing
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status

    clips = tuple(
        Clip(
            f"a/{n}",
            f"clips/{n}.mp4",
            "xy"[n % 2],
            f"g{n}",
            Split.TRAIN,
            9,
            25.0,
            8,
            6,
            0,
            "0" * 64,
            Status.OK,
            "",
            "s",
        )
        for n in range(20)
    )
    ClipSet(("x", "y"), clips, str(folder / "media")).save(folder / "clips")
    flow = {clip.clip_id: FlowEntry(clip.clip_id, "f.mp4", 8, 8, 6, Status.OK, "") for clip in clips}
    FlowSet(20.0, flow, str(folder / "media"), {"algorithm": "tvl1"}).save(folder / "flow")
    preprocessing = Preprocessing("rgb", 1, 1, 8, 8, mean=(1.0,) * 3, std=(1.0,) * 3)
    features = {clip.clip_id: FeatureEntry(clip.clip_id, "f.safetensors", 8, Status.OK, "") for clip in clips}
    FeatureSet(FeatureSource("0", "b", "map", preprocessing), (3, 2, 2), features, str(folder / "media")).save(
        folder / "features"
    )
    return [read_all(folder / name) for name in ("clips", "flow", "features")]


def good_scores(folder: Path) -> Files:
    from kineflow.evaluation.scores import Scores

    rng = np.random.default_rng(0)
    ids = tuple(f"a/{number}" for number in range(30))
    logits = rng.normal(size=(30, 4)).astype(np.float32)
    Scores("m", ids, np.arange(30) % 4, tuple("wxyz"), logits, "test").save(folder / "scores.parquet")
    return read_all(folder)


def good_bundle(folder: Path) -> Files:
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.registry import create_model
    from kineflow.spec.flow_source import FlowSource
    from kineflow.spec.preprocessing import Preprocessing

    torch.manual_seed(0)
    hyper = {"width": 0.02, "stem_temporal_stride": 1, "dropout": 0.5}
    preprocessing = Preprocessing("rgb", 8, 1, 40, 32, mean=(1.0,) * 3, std=(2.0,) * 3)
    card = ModelCard("m", "s3d", hyper, ("x", "y"), preprocessing, {"c": "d"}, {"val/top1": 0.5}, FlowSource())
    save_bundle(folder / "m", create_model("s3d", num_classes=2, in_channels=3, **hyper), card)
    return read_all(folder / "m")


def good_checkpoints() -> list[Files]:
    import torch
    from safetensors.torch import save

    state = {
        "module.conv.weight": torch.randn(2, 3, 3),
        "bias": torch.zeros(4),
        "count": torch.ones((), dtype=torch.int64),
    }
    files = [{"w.safetensors": save(state)}]
    for archive in (True, False):
        for content in (state, {"state_dict": state, "epoch": 3, "lr": [0.1, None, True, "x"]}):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=archive)
            files.append({"w.pth": stream.getvalue()})
    return files


def good_foreign(folder: Path) -> list[Files]:
    """A file of Caffe, of MatConvNet (plain and compressed) and of Theano."""
    from tests.kineflow.models.weight_files import caffemodel, dag, matlab

    kernel, bias = np.ones((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)
    folder.mkdir()
    for name, is_compressed in (("plain.mat", False), ("packed.mat", True)):
        net = dag({"conv1_filter": kernel.T, "conv1_bias": bias[:, None]}, np.ones((1, 1, 3)))
        matlab(folder / name, {"net": net}, compressed=is_compressed)
    for save, name in ((np.savez, "plain.npz"), (np.savez_compressed, "packed.npz")):
        save(folder / name, decoder_W=kernel, history_errs=np.arange(5))
    layers = {"conv1": [kernel, bias]}
    models: list[Files] = [{"a.caffemodel": caffemodel(layers, form=form)} for form in (0, 1, 2)]
    return models + [{name: content} for name, content in read_all(folder).items()]


def good_videos() -> list[Files]:
    kinds = [("mp4", "libx264", "yuv420p"), ("avi", "mpeg4", "yuv420p"), ("mpegts", "mpeg2video", "yuv420p"),
             ("matroska", "libx264", "yuv444p"), ("flv", "flv", "yuv420p"), ("avi", "mjpeg", "yuvj420p")]  # fmt: skip
    return [{"video": _video(*kind)} for kind in kinds]


def _video(container: str, codec: str, pixel_format: str) -> bytes:
    rng, stream = np.random.default_rng(0), io.BytesIO()
    with av.open(stream, "w", format=container) as file:
        video: Any = file.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, pixel_format
        for number in range(14):
            image = np.full((32, 48, 3), 40, np.uint8)
            image[8:16, number : number + 8] = rng.integers(0, 255, 3)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode())
    return stream.getvalue()


def good_lists() -> list[Files]:
    columns = "clip,frame,left,top,right,bottom,label,width,height,actor"
    boxes = f"{columns}\na/1,0,1,2,5,6,x,32,24,1\na/1,1,1.5,2,5,6,x,32,24,1\n"
    metrics = {"m": {"top1": 0.5}, "data": {"version": "0", "clips": 2, "split": "test"}}
    return [
        {"scores.csv": b"clip,x,y\na/1,0.5,-1e3\n2,3,4\n"},
        {"boxes.csv": boxes.encode()},
        {"curves.csv": b"step,name,value\n1,loss,0.5\n2,loss,0.25\n"},
        {"per_class.csv": b"model,class,clips,accuracy\nm,x,1,1.0\n", "metrics.json": json.dumps(metrics).encode()},
        {"answers.csv": b"path;label;start;end\r\na.mp4;run;;\r\n\"b,c.mp4\";walk;1,5;2\r\n",
         "clips.csv": b"path,label,split,start,end\n\"a.mp4\",,unlabelled,,\n\"b,c.mp4\",run,train,1.5,2\n"},
    ]  # fmt: skip


def good_layouts() -> list[Files]:
    """Lists of each layout, with two files that they may mean."""
    there = {"02.avi": b"", "v_Run_g01_c01.avi": b""}
    lists: list[Files] = [
        {"clips.csv": b"path,label,split,group,start,end\nwalk/02.avi,run,train,g,,\n\"b,c.mp4\",,train,,1.5,2\n"},
        {"classInd.txt": b"1 run\n2 walk\n", "trainlist01.txt": b"run/v_Run_g01_c01.avi 1\nwalk/02.avi 2\n",
         "testlist01.txt": b"run/02.avi\n"},
        {"run_test_split1.txt": b"a_run_f_cm_np1_fr_med_0.avi 1\n02.avi 2\nc.avi 0\n"},
        {"k.csv": b"label,youtube_id,time_start,time_end,split\nrun,02,10,20,train\nwalk,02,0,10,test\n"},
        {"train.json": b'[{"id": "02", "template": "Holding [it]"}]', "labels.json": b'{"Holding it": "0"}',
         "test.json": b'[{"id": "03"}]', "test-answers.csv": b"03;Holding it\n"},
        {"export.json": b'[{"data": {"video": "/data/upload/1/1a2b3c4d-02.avi", "fps": 25, "split": "train"}, '
         b'"annotations": [{"was_cancelled": false, "result": [{"type": "choices", "from_name": "a", "value": '
         b'{"choices": ["run"]}}, {"type": "timelinelabels", "value": {"ranges": [{"start": 1, "end": 9}], '
         b'"timelinelabels": ["walk"]}}]}]}]'},
        {"annotations.xml": b"<annotations><meta><task><id>1</id><source>02.avi</source><frame_filter>step=2"
         b'</frame_filter></task></meta><image id="0" name="frame_000000"><tag label="run"/></image><track label="b">'
         b'<box frame="4" outside="0"/><box frame="9" outside="1"/></track></annotations>'},
    ]  # fmt: skip
    return [{**each, **there} for each in lists]


_COUNTS = st.sampled_from([0, 1, 30, 1000, 200_000, 3_000_000])
_TEXTS = st.sampled_from(["", "ok", "train", "a/1", "x" * 1000, "x" * 100_000, "é", "../../x"])
_INTEGERS = st.sampled_from([-1, 0, 1, 2**31 - 1, 2**31, 2**62])


@st.composite
def hostile_tables(draw: st.DrawFn, good: bytes) -> bytes:
    """The columns of a good table, some with other contents, each coded so that it takes next to nothing."""
    table = pq.read_table(io.BytesIO(good))
    count = draw(_COUNTS)
    columns = {name: _repeated(table.column(name).combine_chunks().slice(0, 1), count) for name in table.column_names}
    for name in draw(st.lists(st.sampled_from(table.column_names), max_size=3)):
        match draw(st.sampled_from(("text", "integer", "float", "lists", "null", "none", "unique"))):
            case "text":
                columns[name] = _repeated(pa.array([draw(_TEXTS)]), count)
            case "integer":
                columns[name] = _repeated(pa.array([draw(_INTEGERS)]), count)
            case "float":
                columns[name] = _repeated(pa.array([draw(st.floats(width=32))], pa.float32()), count)
            case "lists":
                length = draw(st.sampled_from([0, 1, 4, 1000, 3_000_000])) if count < 2000 else 4
                ends = np.minimum(np.arange(count + 1, dtype=np.int64) * length, 3_000_000).astype(np.int32)
                columns[name] = pa.ListArray.from_arrays(pa.array(ends), pa.array(np.zeros(ends[-1], np.float32)))
            case "null":
                columns[name] = pa.nulls(count, table.schema.field(name).type)
            case "none":
                del columns[name]
                if not columns:
                    return good
            case "unique" if count <= 200_000:
                columns[name] = pa.array([f"{number}" for number in range(count)])
        if name not in columns:
            break
    options: dict[str, Any] = {
        "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip", "brotli"])),
        "use_dictionary": draw(st.booleans()) or count > 1000,
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        "row_group_size": draw(st.sampled_from([10, 5000, 10**6])) if count <= 30 else 10**6,
        "data_page_size": draw(st.sampled_from([2**20, 2**28])),
    }
    stream = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), stream, **options)
    return stream.getvalue()


def _repeated(first: Any, count: int) -> Any:
    if not len(first):
        return pa.nulls(count, first.type)
    if pa.types.is_string(first.type):  # written out it would take any amount of memory here
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), first)
    return first.take(pa.array(np.zeros(count, np.int64)))


def card_of(bundle: Files) -> Any:
    return json.loads(bundle["model.json"])


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
