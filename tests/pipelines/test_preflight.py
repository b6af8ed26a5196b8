"""What is known before a run is said before it, all at once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from components.pretrain import hyperparameters_of
from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.named_weights import MIRROR
from kineflow.models.network import VideoNetwork
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.registry import create_model
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.client import s3_client
from kineflow.storage.errors import KineflowError
from pipelines.check_trainings import look_at_trainings
from pipelines.dag.sources import ROOT
from pipelines.preflight import check_run
from tests.pipelines.conftest import TINY_PARAMS
from tests.pipelines.test_needs import plan_of

TENSORFLOW = {
    "architecture": "s3d_g_tensorflow",
    "checkpoint": "empty.ckpt.index",
    "rgb_mean": [0, 0, 0],
    "rgb_std": [255, 255, 255],
}
CLIPS = [("a", "train"), ("b", "train"), ("a", "val"), ("b", "val"), ("a", "test"), ("b", "test"), ("", "unlabelled")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with lists and empty videos, at which nobody looks, seen from another folder."""
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("KINEFLOW_PROJECT", str(project))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (project / "empty.pth").touch()
    (project / "empty.ckpt.index").touch()
    rows = [f"{n}.mp4,{label},{split}" for n, (label, split) in enumerate(CLIPS)]
    (project / "data" / "clips.csv").write_text("\n".join(["path,label,split", *rows]))
    for number in range(len(CLIPS)):
        (project / "data" / f"{number}.mp4").touch()
    return project


@pytest.fixture
def check(project: Path) -> Callable[..., Any]:
    def check(change: Callable[[dict[str, Any]], Any] = lambda _: None, **how: Any) -> Any:
        values = yaml.safe_load(yaml.safe_dump(TINY_PARAMS))
        change(values)
        (project / "params.yaml").write_text(yaml.safe_dump(values))
        return check_run("d3d", project / "params.yaml", project, **how)

    return check


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an S3 server in this process."""
    pytest.importorskip("moto", reason="the S3 tests need moto[server]")
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_project_that_can_run_passes(check: Any) -> None:
    checked = check()
    assert checked.values["seed"] == TINY_PARAMS["seed"]
    assert checked.notices == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["ingestion"].update(source="films"), "ingestion names 'films', which is not there"),
        (lambda v: v["ingestion"].update(layout="clip_sets"), "no folder in it is a clip set"),
        (lambda v: v["ingestion"].update(annotations="lists"), "ingestion names 'lists', which is not there"),
        (lambda v: v["evaluation"].update(imported=[{"name": "idt", "path": "idt.csv"}]), "evaluation names 'idt.csv'"),
        (
            lambda v: v["registration"].update(primary_metric="top9", test="none"),
            "registration.primary_metric: no evaluation gives",
        ),
        (lambda v: v["registration"].update(floors={"recall": 0.5}), "registration.floors: no evaluation gives"),
        (lambda v: v["network"].update(checkpoint="empty.pth", sha256="1234" * 16), "sha256 is e3b0c4"),
        (lambda v: v["network"].update(checkpoint="/volume/a.pth", sha256="0" * 64), "a placeholder, 00000000…"),
        (lambda v: v["network"].update(checkpoint="a.pth", sha256="1234" * 16), "network names 'a.pth'"),
        (
            lambda v: v["network"].update(flow_checkpoint="empty.pth", flow_sha256="1234" * 16, flow_mean=1),
            "sha256 is e3b0c4",
        ),
        (
            lambda v: v["network"].update(flow_checkpoint="empty.pth", flow_sha256="1" * 64),
            "network.flow_checkpoint: nothing is known of the input that empty.pth takes",
        ),
        (lambda v: v["network"].update(flow_checkpoint="model/", flow_sha256="1" * 64), "`sha256sum model/model.saf"),
        (
            lambda v: v["network"].update(TENSORFLOW, sha256="0" * 64),
            "which `kineflow weights inspect empty.ckpt.index` prints",
        ),
        (lambda v: v["network"].update(TENSORFLOW, sha256="1234" * 16), "the last bytes are not those"),
        (lambda v: v.update(own_teacher={"bundle": "data"}), "own_teacher names 'data': not a model's folder"),
        (lambda v: v.update(own_teacher={"bundle": "models:/none/1"}), "own_teacher names 'models:/none/1': "),
        (lambda v: v["distillation"].update(terms=[{"teacher": "own"}]), "no teacher is called 'own'"),
        (
            lambda v: (
                v["distillation"].update(unlabelled_batch_size=3) or v["student"].update(batch_size=4, accumulate=2)
            ),
            "distillation.unlabelled_batch_size: 3 unlabelled clips a step cannot be shared evenly by 2",
        ),
        (lambda v: v["teacher"].update(colour_jitter=0.4), "teacher.colour_jitter: teacher sees flow"),
        (
            lambda v: v.update(mean_teacher={}) or v["student"].update(ema=0.9),
            "student.ema: ema averages weights, and the mean teacher, which is kept, is an average already",
        ),
        (lambda v: v.update(fixmatch={}) or v["student"].update(cutmix=0.2), "fixmatch cannot learn from mixed clips"),
        (
            lambda v: (
                v.update(fixmatch={"unlabelled_batch_size": 3}) or v["student"].update(batch_size=4, accumulate=2)
            ),
            "fixmatch.unlabelled_batch_size: 3 unlabelled clips a step cannot be shared evenly by 2",
        ),
        (lambda v: v.update(flow_labels=v["distillation"]), "distillation and flow_labels say the same"),
        (
            lambda v: v["distillation"].update(layer="Mixed4f"),
            "distillation.layer: the network of student has no stage",
        ),
        (
            lambda v: v["distillation"].update(
                terms=[{"layer": "features", "teacher_layer": "Mixed5c", "pooled": True}]
            ),
            "distillation.terms: the network of teacher has no stage 'Mixed5c'",
        ),
    ],
)
def test_what_the_parameters_name_wrongly_is_said(check: Any, change: Any, message: str) -> None:
    with pytest.raises(KineflowError) as caught:
        check(change)
    assert message in str(caught.value)


def test_a_training_that_can_hardly_be_meant_is_said_once(check: Any) -> None:
    notices = check(lambda v: v["student"].update(batch_size=2, accumulate=2, patience_rounds=9, mixup=0.2)).notices
    assert [notice.partition(" (")[0] for notice in notices] == [
        "student: patience_rounds",
        "student: with accumulate",
        "student: mixup and cutmix mix a clip with itself where a process computes one at a time",
    ]


def test_what_a_refit_has_taught_val_is_not_to_be_chosen_by_it(project: Path) -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "params" / "st_resnet.yaml").read_text())
    values["ingestion"] = TINY_PARAMS["ingestion"]
    values["motion"]["refit"] = True
    params = project / "params.yaml"

    def faults() -> str:
        params.write_text(yaml.safe_dump(values))
        try:
            check_run("st_resnet", params, project)
        except KineflowError as error:
            return str(error)
        return ""

    for name, refused in (("st_resnet", True), ("st_resnet_star", False)):
        assert f"set {name}.keep to last, or motion.refit to false" in faults()
        values[name]["keep"] = "last"
        assert ("have learnt from it" in faults()) is refused


def test_clips_that_a_student_s_own_teacher_may_see_otherwise_are_a_doubt(check: Any) -> None:
    def mixed(values: dict[str, Any], teacher: str) -> None:
        values["student"]["mixup"] = 0.2
        values["own_teacher"] = {"bundle": "s3://a/b"}
        values["distillation"]["terms"] = [{"teacher": teacher}]

    assert any("if its teacher 'own' sees" in notice for notice in check(lambda v: mixed(v, "own")).notices)
    assert not any("'own'" in notice for notice in check(lambda v: mixed(v, "teacher")).notices)


@pytest.mark.parametrize(
    ("recipe", "section", "task"),
    [("st_resnet", "st_resnet_star", "st_resnet_star"), ("d3d_variants", "student", "auxiliary")],
)
def test_clips_are_not_mixed_for_networks_that_cannot_learn_from_them(
    recipe: str, section: str, task: str, tmp_path: Path
) -> None:
    values = yaml.safe_load((ROOT / "params" / f"{recipe}.yaml").read_text())
    values[section]["cutmix"] = 1.0
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    plan = plan_of(recipe, tmp_path / "params.yaml", tmp_path)
    assert [fault.problem for fault in look_at_trainings(plan)] == [f"{task} cannot learn from mixed clips"]


@pytest.mark.parametrize("split", ["train", "val", "test", "unlabelled"])
@pytest.mark.parametrize("how", ["unlisted", "missing"])
def test_a_split_that_a_step_will_ask_for_is_missed(check: Any, project: Path, split: str, how: str) -> None:
    lists = project / "data" / "clips.csv"
    if how == "unlisted":
        lists.write_text("".join(line for line in lists.read_text().splitlines(True) if f",{split}" not in line))
    else:
        for number, (_, of) in enumerate(CLIPS):
            if of == split:
                (project / "data" / f"{number}.mp4").unlink()
    with pytest.raises(KineflowError, match=f"no clip of split '{split}' is there, and .* will ask for some"):
        check(lambda v: v["ingestion"].update(val_share=0))


def test_without_val_the_last_round_is_kept_and_nothing_is_chosen(check: Any, project: Path) -> None:
    lists = project / "data" / "clips.csv"
    lists.write_text("".join(line for line in lists.read_text().splitlines(True) if ",val" not in line))

    def all_of_train(values: dict[str, Any], **evaluation: Any) -> None:
        values["ingestion"]["val_share"] = 0
        for section in ("teacher", "student"):
            values[section]["keep"] = "last"
        values["evaluation"] |= evaluation

    assert check(all_of_train).notices == ()
    with pytest.raises(KineflowError, match=r"split 'val' is there, and evaluation.choose_among will.*\n.*keep: last"):
        check(lambda values: all_of_train(values, choose_among=["plain", "student"]))


def test_a_class_that_folds_of_train_cannot_judge_is_missed(check: Any, project: Path) -> None:
    with pytest.raises(KineflowError, match="the clips of 'a' and of 1 more classes are of one group or none"):
        check(lambda v: v.update(descriptor={}))
    with (project / "data" / "clips.csv").open("a") as lists:
        lists.write("".join(f"\n{number}.mp4,{label},train" for number, label in ((7, "a"), (8, "b"))))
    for number in (7, 8):
        (project / "data" / f"{number}.mp4").touch()
    assert check(lambda v: v.update(descriptor={})).notices == ()


def test_listed_videos_that_are_not_there_are_a_notice(check: Any, project: Path) -> None:
    with (project / "data" / "clips.csv").open("a") as lists:
        lists.write("\ngone.mp4,a,train")
    assert check().notices == (f"1 listed videos are not in {project}/data: gone.mp4",)


def test_pictures_larger_than_those_that_are_stored_are_a_notice(check: Any) -> None:
    asked = TINY_PARAMS["teacher"]["short_side"]
    for stored in ({"short_side": asked - 2}, {"size": [asked + 20, asked - 2]}):
        notices = check(lambda v, stored=stored: v["ingestion"].update(stored)).notices
        assert any(f"teacher.short_side is {asked}, and clips are stored at {asked - 2}" in each for each in notices)


def test_all_faults_are_one_message(check: Any, project: Path) -> None:
    sqlite3.connect(project / "mlflow.db").execute("CREATE TABLE x (y)")
    (project / "data.dvc").write_text("outs: []")

    def change(values: Any) -> None:
        values["ingestion"]["source"] = "films"
        values["registration"]["floors"] = {"recall": 0.5}

    with pytest.raises(KineflowError, match="4 things stand in the way") as caught:
        check(change)
    for words in ("'films'", "'recall'", "not a whole MLflow database", "holds no output with an md5"):
        assert words in str(caught.value)


def test_data_that_dvc_can_fetch_need_be_here_for_a_run_only(check: Any, project: Path) -> None:
    (project / "films.dvc").write_text("outs: []")
    (notice,) = check(lambda v: v["ingestion"].update(source="films"), where="later").notices
    assert "dvc pull films.dvc" in notice
    with pytest.raises(KineflowError, match="not there") as caught:
        check(lambda v: v["ingestion"].update(source="films"))
    assert caught.value.remedy == "get it with: dvc pull films.dvc"


def test_what_lies_on_a_clusters_volume_need_not_be_here_for_a_submission_alone(check: Any) -> None:
    def change(values: Any) -> None:
        values["ingestion"]["source"] = "/volume/films"
        values["cluster"] = {"volume": {"claim": "c", "path": "/volume"}}

    assert "cluster's volume" in check(change, where="cluster").notices[0]
    for where in ("here", "later"):
        with pytest.raises(KineflowError, match="not there") as caught:
            check(change, where=where)
        assert "kineflow check --cluster" in str(caught.value)


@pytest.mark.parametrize("name", ["a\nb.yaml", "${HOME}.yaml"])
def test_a_name_that_dvc_cannot_be_told_is_refused(project: Path, name: str) -> None:
    (project / name).write_text(yaml.safe_dump(TINY_PARAMS))
    with pytest.raises(KineflowError, match="rename it"):
        check_run("d3d", project / name, project)


def test_named_weights_that_are_not_here_are_announced(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    (notice,) = check(lambda v: v["network"].update(checkpoint="s3d-kinetics400")).notices
    assert "s3d-kinetics400 (33.5 MB)" in notice
    (tmp_path / "s3d-d76dad2f.pth").write_bytes(b"other bytes")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(KineflowError, match="sha256 is"):
        check(lambda v: v["network"].update(checkpoint="s3d-kinetics400"))


def test_the_weights_of_a_descriptor_are_looked_at_too(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "efficientnet-lite0-57934424.pth").write_bytes(b"other bytes")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    values = {"seed": 1, "ingestion": {"source": "data"}, "registration": {"name": "a"}}
    values["descriptor"] = {"backbone": "efficientnet_lite0-imagenet"}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(KineflowError, match="sha256 is"):
        check_run("few_clips", project / "params.yaml", project)


def test_a_class_of_one_group_is_named_before_few_clips_runs(project: Path) -> None:
    rows = [f"{n}.mp4,{label},{split},{split if label == 'a' else n}" for n, (label, split) in enumerate(CLIPS)]
    (project / "data" / "clips.csv").write_text("\n".join(["path,label,split,group", *rows]))
    values = {"seed": 1, "ingestion": {"source": "data"}, "registration": {"name": "a"}}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    check_run("few_clips", project / "params.yaml", project)  # `train` and `val` are two groups
    text = (project / "data" / "clips.csv").read_text()
    (project / "data" / "clips.csv").write_text(text.replace("a,val,val", "a,val,train"))
    with pytest.raises(KineflowError, match="the clips of 'a' are of one group or none"):
        check_run("few_clips", project / "params.yaml", project)


def tiny_hyperparameters() -> dict[str, Any]:
    return dict(hyperparameters_of(PretrainSettings.model_validate(TINY_PARAMS["network"])))


def tiny_network(in_channels: int) -> VideoNetwork:
    """That of the tiny parameters."""
    return create_model("s3d_g", num_classes=0, in_channels=in_channels, **tiny_hyperparameters())


@pytest.mark.parametrize(
    ("key", "sha256", "made", "says"),
    [
        ("flow_checkpoint", "flow_sha256", lambda: tiny_network(3), "of another shape"),
        ("checkpoint", "sha256", lambda: create_model("s3d_g_tensorflow", num_classes=0), "are of s3d_g_tensorflow"),
    ],
)
def test_weights_of_another_network_are_refused(
    key: str, sha256: str, made: Any, says: str, check: Any, project: Path
) -> None:
    torch.save(made().state_dict(), project / "w.pth")
    digest = hashlib.sha256((project / "w.pth").read_bytes()).hexdigest()
    known = {"rgb_mean": [1, 2, 3], "rgb_std": [1, 2, 3], "flow_mean": 1, "flow_std": 1}
    with pytest.raises(KineflowError, match=f"network.{key}: weights do not fit the network") as raised:
        check(lambda v: v["network"].update({key: "w.pth", sha256: digest, **known}))
    assert says in str(raised.value)


@pytest.mark.parametrize("given", ["ckpt/", "./model"])
def test_a_checkpoint_of_tensorflow_is_given_by_its_index(given: str, check: Any, project: Path) -> None:
    (project / "ckpt").mkdir()
    for place in ("ckpt/model.index", "model.index"):
        (project / place).touch()
    given_by_name = {**TENSORFLOW, "checkpoint": given, "sha256": "0" * 64}
    with pytest.raises(KineflowError, match=r"give \S*model\.index"):
        check(lambda v: v["network"].update(given_by_name))


def test_a_checkpoint_of_the_right_bytes_passes(check: Any, project: Path) -> None:
    torch.save(tiny_network(3).state_dict(), project / "w.pth")
    digest = hashlib.sha256((project / "w.pth").read_bytes()).hexdigest()
    given = {"checkpoint": "w.pth", "sha256": digest, "rgb_mean": [1, 2, 3], "rgb_std": [1, 2, 3]}
    assert check(lambda v: v["network"].update(given)).notices == ()
    del given["rgb_mean"]
    with pytest.raises(KineflowError, match="give rgb_mean and rgb_std"):
        check(lambda v: v["network"].update(given))


@pytest.mark.parametrize("checkpoint", ["/volume/w.safetensors", "https://a.org/w.safetensors"])
def test_a_file_that_is_not_here_may_say_its_input_itself(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def change(values: Any) -> None:
        values["network"].update(checkpoint=checkpoint, sha256="1234" * 16)
        values["cluster"] = {"volume": {"claim": "c", "path": "/volume"}}

    notices = check(change, where="cluster").notices
    assert any(f"{checkpoint} is not here; the step sees" in notice for notice in notices)


def test_an_input_that_weights_do_not_take_is_a_notice(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    notices = check(lambda v: v["network"].update(checkpoint="s3d-kinetics400", rgb_mean=[1, 2, 3])).notices
    assert any("by mean 1, 2, 3, std 58.1476, " in notice for notice in notices)


def test_flow_that_weights_have_not_learnt_from_is_a_notice(check: Any, project: Path) -> None:
    seen = Preprocessing("flow", 8, 1, 32, 32, mean=(128.0, 128.0), std=(20.0, 20.0))
    card = ModelCard("teacher", "s3d_g", tiny_hyperparameters(), (), seen, flow=FlowSource(bound_px=20.0))
    save_bundle(project / "teacher", tiny_network(2), card)
    digest = hashlib.sha256((project / "teacher" / "model.safetensors").read_bytes()).hexdigest()
    given = {"flow_checkpoint": "teacher/", "flow_sha256": digest}
    said = ["flow.bound_px is 5, and network.flow_checkpoint has learnt from flow of ±20 px"]
    assert list(check(lambda v: v["network"].update(given)).notices) == said
    normalised = (
        "network: flow is normalised by mean 1, 1, std 20, 20, and these weights take mean 128, 128, std 20, 20"
    )
    assert list(check(lambda v: v["network"].update(given, flow_mean=1)).notices) == [normalised, *said]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({"tracher": {"gpus": 1}}, "cluster.steps.tracher: no step or task is called so"),
        ({"teacher": {"gpus": 1}}, "cluster.steps, teacher: 2 processes a node, but 1 of nvidia.com/gpu"),
        (
            {"train": {"gpu_type": "nvidia.com/mig-1g.10gb"}, "teacher": {"gpus": 2}},
            "steps.teacher: gpus: 2 of nvidia.com/mig-1g.10gb: a process can use one share of a GPU only",
        ),
        ({"teacher": {"gpus": 2}}, ""),
    ],
)
def test_what_a_cluster_is_asked_for_has_to_fit_the_recipe(check: Any, steps: Any, says: str) -> None:
    def change(values: dict[str, Any]) -> None:
        values["teacher"] |= {"devices": 2}
        values["cluster"] = {"volume": {"claim": "c", "path": "/volume"}, "steps": steps}

    if not says:
        check(change, where="cluster")
        return
    with pytest.raises(KineflowError) as caught:
        check(change, where="cluster")
    assert says in str(caught.value)


def test_a_place_on_s3_with_nothing_in_it_is_a_fault_here_and_unreachable_a_notice_for_a_cluster(
    check: Any, s3: str
) -> None:
    def change(values: Any) -> None:
        values["ingestion"].update(source="s3://looked-into/ucf", endpoint_url=s3)

    client = s3_client(s3)
    with pytest.raises(KineflowError, match="looked-into/ucf"):
        check(change)
    assert any("could not be looked into from here" in notice for notice in check(change, where="cluster").notices)
    client.create_bucket(Bucket="looked-into")
    with pytest.raises(KineflowError, match="a place with nothing in it"):
        check(change, where="cluster")
    client.put_object(Bucket="looked-into", Key="ucf/a.mp4", Body=b"a")
    assert check(change).notices == ()


@pytest.mark.parametrize("bundle", ["runs:/abc/model", "s3://bucket/model"])
def test_a_teacher_that_is_looked_for_by_its_step_is_a_notice(check: Any, bundle: str) -> None:
    (notice,) = check(lambda v: v.update(own_teacher={"bundle": bundle})).notices
    assert notice.startswith(f"own_teacher names '{bundle}', which is looked for when its step runs")


def test_a_hub_id_for_a_cluster_is_a_notice(check: Any) -> None:
    network = {"architecture": "transformers", "checkpoint": f"org/none@{'0' * 40}"}
    (notice,) = check(lambda v: v.update(network=network), where="cluster").notices
    assert "a cluster may have no way: give a folder" in notice


def test_a_network_of_transformers_is_held_against_the_trainings(check: Any, project: Path) -> None:
    def with_network(frames: int, sha256: str = "") -> Callable[[dict[str, Any]], Any]:
        def change(values: dict[str, Any]) -> None:
            config = {"model_type": "videomae", "image_size": values["teacher"]["crop"], "num_frames": frames}
            settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
            (project / "network").mkdir(exist_ok=True)
            (project / "network" / "config.json").write_text(json.dumps(config))
            (project / "network" / "preprocessor_config.json").write_text(json.dumps(settings))
            values["network"] = {"architecture": "transformers", "checkpoint": "./network", "sha256": sha256}

        return change

    frames = TINY_PARAMS["teacher"]["frames"]
    with pytest.raises(KineflowError, match="no weights: neither"):
        check(with_network(frames), where="later")
    (project / "network" / "model.safetensors").touch()
    assert check(with_network(frames), where="later").notices == ()
    for sha256, said in (("0" * 64, "a placeholder, 00000000…"), ("1234" * 16, "sha256 is e3b0c4")):
        with pytest.raises(KineflowError, match=said):
            check(with_network(frames, sha256), where="later")
    with pytest.raises(KineflowError, match=r"(?s)section student: .*not of.*section teacher: "):
        check(with_network(2 * frames), where="later")
