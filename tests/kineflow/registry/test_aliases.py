import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.registry import turns
from kineflow.registry.history import history
from kineflow.registry.measured import Measured
from kineflow.registry.outcomes import Outcomes
from kineflow.registry.policy import Gate
from kineflow.registry.promotion import Promotion, promote, rollback
from kineflow.registry.registration import register_student
from kineflow.serving.served_model import load_video_model
from kineflow.serving.trial import example_video, try_bundle
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect
from kineflow.tracking.validation_tags import VALIDATED_SET, VALIDATION_OUTCOME

pytestmark = pytest.mark.slow

NAME = "demo"
A, B = "a" * 64, "b" * 64

SHOWN = (
    Measured({"top1": 0.5, "per_class/left": 0.1}, A, 200),
    Measured({"top1": 0.6, "per_class/left": 0.7}, A, 200),
    Measured({"top1": 0.65, "per_class/left": 0.7}, A, 200),
    Measured({"top1": 0.9}, B, 200),
)


def answers(shown: Measured) -> Outcomes:
    """The first clips right, as many as ``top1`` says."""
    right, count = round(shown.metrics["top1"] * shown.clips), shown.clips
    names = tuple(f"{shown.clips_digest[:1]}{number}" for number in range(count))
    return Outcomes(names, ("left",) * count, ("",) * count, np.repeat(np.int64([0, 1]), [right, count - right]))


@pytest.fixture(scope="module")
def bundles(make_bundle: Callable[[int], Path]) -> list[Path]:
    return [make_bundle(seed) for seed in range(len(SHOWN))]


@pytest.fixture(scope="module")
def template(template_store: Path, bundles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with versions 1, 2, 3 (evaluated on A) and 4 (on B)."""
    root = tmp_path_factory.mktemp("registered")
    shutil.copyfile(template_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for bundle, shown in zip(bundles, SHOWN, strict=True):
            register_student(
                bundle, name=NAME, evaluation=shown, outcomes=answers(shown), gate=Gate(min_gain=0.02), root=root
            )
    return root


@pytest.fixture
def registered(template: Path, project: Path) -> Path:
    shutil.copyfile(template / "mlflow.db", project / "mlflow.db")
    (project / "mlartifacts").symlink_to(template / "mlartifacts")
    return project


@pytest.fixture
def own_files(template: Path, registered: Path) -> Path:
    """The artifact store of ``registered``, which a test may change."""
    (registered / "mlartifacts").unlink()
    shutil.copytree(template / "mlartifacts", registered / "mlartifacts")
    return registered / "mlartifacts"


def file_of(number: str, name: str) -> Path:
    [path] = Path(connect().get_model_version_download_uri(NAME, number)).rglob(name)
    return path


def aliases() -> dict[str, str]:
    return {alias: str(version) for alias, version in connect().get_registered_model(NAME).aliases.items()}


def version(number: str) -> Any:
    return connect().get_model_version(NAME, number)


def set_champion(number: str, **options: Any) -> Promotion:
    return promote(NAME, number, dry_run=False, **options)


class TestRegister:
    def test_what_the_checks_of_its_data_came_to_goes_with_a_version(self, project: Path, bundle: Path) -> None:
        shown = dataclasses.replace(SHOWN[0], clip_set="f" * 64)
        for outcome, allowed in (("accepted", False), ("green", True)):
            with open_step_run("validate", params={}, experiment="d3d") as run:
                run.set_tags({VALIDATED_SET: "f" * 64, VALIDATION_OUTCOME: outcome})
            assert register_student(bundle, name=NAME, evaluation=shown).version == "1"
            assert version("1").tags["data.validation"] == outcome
            assert promote(NAME, gate=Gate(validation="green")).allowed == allowed

    def test_a_version_can_be_loaded_and_leads_back_to_everything(
        self, project: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
        monkeypatch.setenv("KINEFLOW_GIT_COMMIT", "c" * 40)
        with open_step_run("register", params={}, experiment="d3d", pipeline_run_id="p1") as run:
            made = register_student(
                bundle, name=NAME, evaluation=SHOWN[0], run_id=run.run_id, tags={"recipe": "d3d"}
            )  # fmt: skip
        assert (made.name, made.version, made.created, made.model_uri) == (NAME, "1", True, "models:/demo/1")
        assert made.weights_sha256 == weights_digest(bundle)
        assert made.metrics == {"top1": 0.5}
        assert aliases() == {"candidate": "1"}

        stored = version("1")
        assert stored.run_id == run.run_id
        expected = {
            "weights.sha256": weights_digest(bundle),
            "data.version": A,
            "data.clips": "200",
            "dvc.data.md5": "0123456789abcdef0123456789abcdef.dir",
            "git.commit": "c" * 40,
            "run_id": run.run_id,
            "pipeline.run_id": "p1",
            "lineage.teacher": "flow-teacher",
            "metric.top1": "0.5",
            "recipe": "d3d",
            "validation_status": "pending",
        }
        assert expected.items() <= stored.tags.items()
        assert float(stored.tags["latency.example_ms"]) > 0
        assert int(stored.tags["weights.bytes"]) == (bundle / "model.safetensors").stat().st_size

        logged = connect().get_logged_model(stored.tags["model_id"])
        assert (logged.status, logged.source_run_id) == ("READY", run.run_id)
        assert [(metric.key, metric.value) for metric in logged.metrics] == [("top1", 0.5)]
        assert list((project / "mlartifacts").rglob("*.pkl")) == []

        from kineflow.models.card import load_card

        elsewhere = project / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        assert load_video_model(made.model_uri, root=project).metadata.model_uuid == logged.model_id
        model = load_video_model(f"models:/{NAME}@candidate", root=project)
        answers = model.predict(pd.DataFrame({"video": [example_video(load_card(bundle))]}))
        assert sum(answers["probabilities"][0].values()) == pytest.approx(1)

    def test_the_same_weights_and_data_are_the_same_version(self, registered: Path, bundles: list[Path]) -> None:
        again = register_student(bundles[1], name=NAME, evaluation=SHOWN[1])
        assert (again.version, again.created) == ("2", False)
        assert aliases() == {"candidate": "2"}
        assert len(connect().search_model_versions(f"name = '{NAME}'")) == 4
        assert len(connect().search_logged_models([connect().get_experiment_by_name(NAME).experiment_id])) == 4

    def test_the_same_weights_on_other_data_are_another_version(self, registered: Path, bundles: list[Path]) -> None:
        other = register_student(bundles[0], name=NAME, evaluation=Measured({"top1": 0.4}, B, 9))
        assert (other.version, other.created) == ("5", True)

    def test_a_model_that_cannot_be_saved_leaves_no_version(
        self, project: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from kineflow.serving import served_model as serving

        def interrupt(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(serving, "save_video_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            register_student(bundle, name=NAME, evaluation=SHOWN[0])
        assert connect().search_registered_models() == []
        monkeypatch.undo()
        monkeypatch.chdir(project)
        assert register_student(bundle, name=NAME, evaluation=SHOWN[0]).version == "1"

    @pytest.mark.parametrize("name", ["", "a/b", "a:b", "x' OR '1", "-a", "a" * 101])
    def test_malformed_names_are_refused(self, project: Path, bundle: Path, name: str) -> None:
        with pytest.raises(KineflowError, match="cannot be called"):
            register_student(bundle, name=name, evaluation=SHOWN[0])


class TestPromote:
    def test_the_first_champion(self, registered: Path) -> None:
        made = set_champion("1", by="ann")
        assert (made.version, made.champion, made.allowed, made.applied) == ("1", None, True, True)
        assert aliases() == {"candidate": "4", "champion": "1"}
        tags = version("1").tags
        assert (tags["promoted_from"], tags["promoted_by"], tags["validation_status"]) == ("none", "ann", "passed")
        assert tags["promoted_at"].endswith("+00:00")

    def test_a_better_one_takes_its_place_and_the_old_one_is_kept(self, registered: Path) -> None:
        set_champion("1")
        made = set_champion("2")
        assert (made.champion, made.applied) == ("1", True)
        assert aliases() == {"candidate": "4", "champion": "2", "previous": "1"}
        assert version("2").tags["promoted_from"] == "1"

    def test_a_dry_run_decides_and_does_nothing(self, registered: Path) -> None:
        made = promote(NAME, "1")
        assert (made.allowed, made.applied) == (True, False)
        assert aliases() == {"candidate": "4"}
        assert "promoted_at" not in version("1").tags

    def test_the_gate_of_the_registered_model_holds(self, registered: Path) -> None:
        set_champion("2")
        assert promote(NAME, "3").allowed
        assert not promote(NAME, "3", gate=Gate(min_gain=0.1)).allowed
        assert not promote(NAME, "1").allowed

    def test_a_refusal_says_why_and_does_nothing(self, registered: Path) -> None:
        set_champion("2")
        made = set_champion("1")
        assert (made.allowed, made.applied) == (False, False)
        assert "a gain of -0.1, and +0.02 is asked for" in made.reasons[0]
        assert aliases()["champion"] == "2"

    def test_a_floor_for_classes(self, registered: Path) -> None:
        gate = Gate(per_class_floor=0.5)
        assert promote(NAME, "1", gate=gate).reasons == ("classes below 0.5: left 0.1",)
        assert promote(NAME, "2", gate=gate).allowed

    def test_the_candidate_is_the_default_and_other_data_must_be_allowed(self, registered: Path) -> None:
        set_champion("1")
        made = promote(NAME, dry_run=False)
        assert (made.version, made.applied) == ("4", False)
        assert "different data" in made.reasons[0]
        assert promote(NAME, dry_run=False, other_data_allowed=True).applied
        assert aliases() == {"candidate": "4", "champion": "4", "previous": "1"}

    def test_the_champion_is_not_promoted_again(self, registered: Path) -> None:
        set_champion("1")
        assert set_champion("1").reasons == ("version 1 is the champion already",)
        assert "previous" not in aliases()

    def test_a_version_from_elsewhere_is_refused(self, registered: Path) -> None:
        client = connect()
        client.create_model_version(NAME, source=str(registered))
        with pytest.raises(KineflowError, match="version 5 of 'demo' does not say what it has shown"):
            promote(NAME, "5")

    @pytest.mark.parametrize(("name", "number"), [("nobody", None), ("nobody", "1"), (NAME, "99")])
    def test_a_missing_model_or_version_is_named(self, registered: Path, name: str, number: str | None) -> None:
        with pytest.raises(KineflowError, match=f"no registered model '{name}' with"):
            promote(name, number)


class TestPolicy:
    """One for all versions of a model, read where it is promoted."""

    def test_a_stricter_one_holds_for_versions_registered_before(self, registered: Path, bundles: list[Path]) -> None:
        again = register_student(bundles[1], name=NAME, evaluation=SHOWN[1], gate=Gate(floors={"top1": 0.9}))
        assert not again.created
        for number in ("1", "2"):
            made = set_champion(number)
            assert "at least 0.9 is asked for" in made.reasons[0]
        assert "champion" not in aliases()

    @pytest.mark.parametrize("text", ["{", '{"min_gain": 7}', '{"floor": 1}', "[]"])
    def test_one_that_cannot_be_read_is_a_refusal(self, registered: Path, text: str) -> None:
        connect().set_registered_model_tag(NAME, "kineflow.policy", text)
        with pytest.raises(KineflowError, match="the policy cannot be read"):
            set_champion("1")

    def test_none_is_a_refusal(self, registered: Path) -> None:
        connect().delete_registered_model_tag(NAME, "kineflow.policy")
        with pytest.raises(KineflowError, match="no policy says what a champion of 'demo' must show"):
            set_champion("1")

    def test_the_projects_own_comes_first_and_what_was_applied_is_kept(self, registered: Path) -> None:
        (registered / "params.yaml").write_text(f"registration: {{name: {NAME}, floors: {{top1: 0.6}}}}\n")
        assert not set_champion("1").allowed
        made = set_champion("2")
        assert made.applied
        assert made.policy.read_from == "registration of params.yaml"
        assert "differs from registration of params.yaml, which holds" in made.notes[0]
        applied = json.loads(version("2").tags["promotion.policy"])
        assert (applied["read_from"], applied["gate"]["floors"]) == ("registration of params.yaml", {"top1": 0.6})
        kept = json.loads(connect().get_registered_model(NAME).tags["kineflow.policy"])
        assert kept == applied["gate"]

    def test_files_of_a_project_must_agree(self, registered: Path) -> None:
        (registered / "params").mkdir()
        for file, floor in (("params.yaml", 0.1), ("params/d3d.yaml", 0.2)):
            (registered / file).write_text(f"registration: {{name: {NAME}, floors: {{top1: {floor}}}}}\n")
        with pytest.raises(KineflowError, match=r"params.yaml and params/d3d.yaml ask for different things of 'demo'"):
            promote(NAME, "1")
        (registered / "params" / "d3d.yaml").write_text(f"registration: {{name: {NAME}, floor: 0.1}}\n")
        with pytest.raises(KineflowError, match=r"registration.floor: unknown key"):
            promote(NAME, "1")


class TestFirst:
    """There is a first champion once; who was the last is not forgotten with its alias or its version."""

    @pytest.mark.parametrize("gone", ["alias", "version"])
    def test_a_worse_one_does_not_follow_a_champion_that_is_gone(self, registered: Path, gone: str) -> None:
        set_champion("2")
        if gone == "alias":
            connect().delete_registered_model_alias(NAME, "champion")
        else:
            connect().delete_model_version(NAME, "2")
        made = set_champion("1")
        assert not made.applied
        assert "a gain of -0.1" in made.reasons[0]
        assert "compared with version 2, the last champion" in made.reasons[-1]
        better = set_champion("3")
        assert better.applied, better.reasons
        assert version("3").tags["promoted_from"] == "none"

    def test_it_can_be_asked_for(self, registered: Path) -> None:
        set_champion("2")
        assert not set_champion("1", first=True).applied, "there is a champion"
        connect().delete_registered_model_alias(NAME, "champion")
        assert set_champion("1", first=True).applied

    def test_one_of_before_there_was_a_history_counts_too(self, registered: Path) -> None:
        connect().set_model_version_tag(NAME, "2", "promoted_at", "2020-01-01T00:00:00+00:00")
        assert "last champion" in promote(NAME, "1").reasons[-1]


class TestFiles:
    def test_a_version_without_files_is_not_promoted(self, own_files: Path) -> None:
        shutil.rmtree(own_files)
        made = set_champion("1")
        assert not made.applied
        assert "version 1 cannot be used: its files" in made.reasons[0]

    @pytest.mark.parametrize(("name", "tag"), [("model.safetensors", "weights.sha256"), ("model.json", "card.sha256")])
    def test_other_files_than_those_registered_are_refused(self, own_files: Path, name: str, tag: str) -> None:
        path = file_of("1", name)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\x7f" if name.startswith("model.s") else content.replace(b"left", b"lift"))
        assert f"are not those that were registered: {tag}" in set_champion("1").reasons[0]
        with pytest.raises(KineflowError, match="not those that were registered"):
            load_video_model(f"models:/{NAME}/1")

    def test_weights_of_zeros_are_not_promoted(self, project: Path, bundle: Path) -> None:
        network, card = load_bundle(bundle)
        for tensor in network.state_dict().values():
            tensor.zero_()
        save_bundle(project / "zeros", network, card)
        register_student(project / "zeros", name=NAME, evaluation=SHOWN[0])
        assert set_champion("1").reasons == ("version 1 cannot be used: all its weights are 0",)
        network, card = load_bundle(bundle)
        for name, tensor in network.state_dict().items():
            if name.startswith("classifier"):
                tensor.zero_()
        assert any(name.startswith("classifier") for name in network.state_dict())
        save_bundle(project / "constant", network, card)
        with pytest.raises(KineflowError, match="two different videos get the same answer"):
            try_bundle(project / "constant")

    def test_no_code_of_the_store_is_run(self, own_files: Path) -> None:
        from pipelines.predict import top_classes

        trap = own_files / "ran"
        for path in own_files.rglob("video_pyfunc.py"):
            path.write_text(path.read_text() + f"\nimport pathlib; pathlib.Path({str(trap)!r}).touch()\n")
        model = load_video_model(f"models:/{NAME}/1")
        video = own_files / "video.mp4"
        video.write_bytes(example_video(model.unwrap_python_model().card))
        assert len(top_classes(video, f"models:/{NAME}/1", 3)) == 3
        load_video_model(connect().get_model_version_download_uri(NAME, "1"))
        refused = set_champion("1")
        assert not refused.applied
        assert "its files are not those that were registered: video_pyfunc.py is another" in refused.reasons[0]
        assert not trap.exists()

    @pytest.mark.parametrize(
        ("name", "words"),
        [("uv.lock", "uv.lock was not among them"), ("requirements.txt", "requirements.txt is another")],
    )
    def test_what_mlflow_would_install_is_what_was_registered(self, own_files: Path, name: str, words: str) -> None:
        """MLflow installs what requirements.txt names, or a uv.lock beside it: neither may be somebody else's."""
        root = file_of("1", "MLmodel").parent
        with (root / name).open("a") as stream:
            stream.write("evil==1.0\n")
        assert f"its files are not those that were registered: {words}" in set_champion("1").reasons[0]
        assert set_champion("2").applied

    def test_the_wheel_is_this_package_and_its_hash_is_kept(self, own_files: Path) -> None:
        wheel = next(file_of("1", "MLmodel").parent.glob("wheels/*.whl"))
        tag = json.loads(version("1").tags["served.files"])
        assert tag[f"wheels/{wheel.name}"] == sha256_of(wheel)
        wheel.write_bytes(wheel.read_bytes() + b"\0")
        assert "whl is another" in set_champion("1").reasons[0]


class TestHistory:
    def test_every_promotion_refusal_and_rollback_is_there(self, registered: Path) -> None:
        set_champion("2", by="ann", why="the first")
        set_champion("1", by="bob")
        promote(NAME, "3")
        set_champion("3", by="ann")
        rollback(NAME, by="eve", why="it is slow")
        events = history(NAME)
        kinds = [(event.action, event.version, event.champion, event.by, event.state) for event in events]
        assert kinds == [
            ("rollback", "2", "3", "eve", "done"),
            ("promotion", "3", "2", "ann", "done"),
            ("refusal", "1", "2", "bob", "done"),
            ("promotion", "2", None, "ann", "done"),
        ]
        assert (events[0].why, events[3].why) == ("it is slow", "the first")
        assert events[3].policy["gate"]["min_gain"] == 0.02
        assert events[3].shown["metrics"] == {"top1": 0.6}
        assert "a gain of -0.1" in events[2].reasons[0]
        json.dumps([event.plain() for event in events])

    def test_it_outlives_the_model(self, registered: Path) -> None:
        set_champion("2")
        connect().delete_registered_model(NAME)
        assert [event.version for event in history(NAME)] == ["2"]


class TestCutShort:
    """A command that ends between two moves leaves a state that the next one names and mends."""

    @pytest.mark.parametrize(
        ("call", "after"),
        [("set_registered_model_alias", 0), ("set_registered_model_alias", 1), ("set_terminated", 0)],
    )
    def test_a_promotion(self, registered: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int) -> None:
        set_champion("1")
        set_champion("2")
        with monkeypatch.context() as patch:
            cut_after(patch, call, after)
            with pytest.raises(KineflowError, match="the store went away while aliases were moved"):
                set_champion("3")
        assert "of version 3 by" in promote(NAME, "3").notes[0], "a dry run tells and mends nothing"
        made = set_champion("3")
        assert "was cut short" in made.notes[0]
        assert aliases() == {"candidate": "4", "champion": "3", "previous": "2"}
        assert version("3").tags["promoted_from"] == "2"
        assert [event.action for event in history(NAME) if event.state == "under way"] == []

    def test_before_anything_was_decided(self, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mlflow.exceptions import MlflowException

        def gone(*_: Any) -> Any:
            raise MlflowException("connection reset by peer")

        monkeypatch.setattr(turns, "WAIT_SEC", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(turns, "open_events", gone)
            with pytest.raises(KineflowError):
                set_champion("1")
        assert set_champion("1").applied  # by the same process, which may live for days

    def test_a_rollback(self, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in ("1", "2", "3"):
            set_champion(number)
        with monkeypatch.context() as patch:
            cut_after(patch, "set_registered_model_alias", 1)
            with pytest.raises(KineflowError, match="the store went away"):
                rollback(NAME)
        promote(NAME, "4", dry_run=False)
        assert aliases() == {"candidate": "4", "champion": "2", "previous": "1"}
        assert version("3").tags["validation_status"] == "rolled back"


def cut_after(patch: pytest.MonkeyPatch, call: str, after: int) -> None:
    """Let a client's method fail as a lost connection does, after so many calls."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    calls, real = iter(range(100)), getattr(MlflowClient, call)

    def cut(self: Any, *args: Any, **options: Any) -> Any:
        if next(calls) >= after:
            raise MlflowException("connection reset by peer")
        return real(self, *args, **options)

    patch.setattr(MlflowClient, call, cut)


class TestRollback:
    def test_walks_back_through_the_champions(self, registered: Path) -> None:
        for number in ("1", "2", "3"):
            assert set_champion(number).applied
        first = rollback(NAME, by="ann")
        assert (first.version, first.replaced) == ("2", "3")
        assert aliases() == {"candidate": "4", "champion": "2", "previous": "1"}
        assert version("3").tags["rolled_back_by"] == "ann"
        rollback(NAME)
        assert aliases() == {"candidate": "4", "champion": "1"}
        with pytest.raises(KineflowError, match="no champion before"):
            rollback(NAME)

    def test_the_one_that_is_left_is_no_candidate_any_more(self, registered: Path, bundles: list[Path]) -> None:
        set_champion("1")
        register_student(bundles[1], name=NAME, evaluation=SHOWN[1], outcomes=answers(SHOWN[1]))
        set_champion("2")
        rollback(NAME)
        assert aliases() == {"champion": "1"}
        with pytest.raises(KineflowError, match="with alias 'candidate'"):
            promote(NAME)
        register_student(bundles[1], name=NAME, evaluation=SHOWN[1], outcomes=answers(SHOWN[1]))
        assert "version 2 was rolled back at" in promote(NAME).reasons[0]
        assert promote(NAME, "2").allowed, "who names it, means it"

    def test_one_that_cannot_be_used_is_not_returned_to(self, own_files: Path) -> None:
        set_champion("1")
        set_champion("2")
        file_of("1", "model.safetensors").unlink()
        with pytest.raises(KineflowError, match=r"model.safetensors is missing"):
            rollback(NAME)
        assert aliases() == {"candidate": "4", "champion": "2", "previous": "1"}

    def test_needs_a_champion(self, registered: Path) -> None:
        for name in (NAME, "nobody"):
            with pytest.raises(KineflowError, match="no champion"):
                rollback(name)
