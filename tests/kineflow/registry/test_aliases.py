import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kineflow.models.bundle import weights_digest
from kineflow.registry.measured import Measured
from kineflow.registry.policy import Gate
from kineflow.registry.promotion import Promotion, promote, rollback
from kineflow.registry.registration import register_student
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

pytestmark = pytest.mark.slow

NAME = "demo"
A, B = "a" * 64, "b" * 64

SHOWN = (
    Measured({"top1": 0.5, "per_class/left": 0.1}, A, 12),
    Measured({"top1": 0.6, "per_class/left": 0.7}, A, 12),
    Measured({"top1": 0.65, "per_class/left": 0.7}, A, 12),
    Measured({"top1": 0.9}, B, 12),
)


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
            register_student(bundle, name=NAME, evaluation=shown, gate=Gate(min_gain=0.02), root=root)
    return root


@pytest.fixture
def registered(template: Path, project: Path) -> Path:
    shutil.copyfile(template / "mlflow.db", project / "mlflow.db")
    return project


def aliases() -> dict[str, str]:
    return {alias: str(version) for alias, version in connect().get_registered_model(NAME).aliases.items()}


def version(number: str) -> Any:
    return connect().get_model_version(NAME, number)


def set_champion(number: str, **options: Any) -> Promotion:
    return promote(NAME, number, dry_run=False, **options)


class TestRegister:
    def test_a_version_can_be_loaded_and_leads_back_to_everything(
        self, project: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from kineflow.serving.served_model import example_video, load_video_model

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
            "data.clips": "12",
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

    def test_the_gate_it_was_registered_with_holds(self, registered: Path) -> None:
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

    def test_needs_a_champion(self, registered: Path) -> None:
        for name in (NAME, "nobody"):
            with pytest.raises(KineflowError, match="no champion"):
                rollback(name)
