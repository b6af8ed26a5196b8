import re

from hypothesis import given
from hypothesis import strategies as st

from components.launch.trainjob_settings import TrainJobSettings
from components.launch.trainjob_spec import JobRequest, job_name, label

SETTINGS = TrainJobSettings.model_validate({"image": "kineflow", "volume": {"claim": "data", "path": "/cache"}})
TASKS = st.tuples(st.text(max_size=80), st.text(max_size=30), st.text(max_size=80))


def request(**changes) -> JobRequest:
    asked = {"name": "kf-job", "run": "run", "task": "task", "settings": SETTINGS, "nodes": 2, "devices": 1,
             "command": ("-m", "components.train", "--seed", "1"), "environment": {"A": "1"}}  # fmt: skip
    return JobRequest(**{**asked, **changes})


@given(TASKS)
def test_a_jobs_name_is_one_to_kubernetes_with_room_for_what_pods_add_to_it(task):
    name = job_name(*task)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(f"{name}-node-0-999-abcde") <= 63


@given(TASKS, TASKS)
def test_tasks_have_the_same_job_if_and_only_if_they_are_the_same(one, other):
    assert (job_name(*one) == job_name(*other)) == (one == other)


@given(st.text(max_size=100))
def test_any_text_can_be_made_a_label(text):
    assert re.fullmatch("(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", label(text))
    assert len(label(text)) <= 63


def test_a_request_that_asks_for_anything_else_has_another_digest():
    changed = [
        {"nodes": 3},
        {"devices": 2},
        {"command": ("-m", "components.train", "--seed", "2")},
        {"environment": {"A": "2"}},
        {"settings": SETTINGS.model_copy(update={"image": "kineflow:2"})},
    ]
    digests = {request(**changes).digest for changes in ({}, *changed)}
    assert len(digests) == len(changed) + 1
    assert request().digest == request().digest


def test_the_launchers_arguments_go_before_the_steps():
    assert request(devices=2).arguments == [
        "--nnodes=2", "--nproc-per-node=2", "--max-restarts=3", "--rdzv-id=kf-job",
        "-m", "components.train", "--seed", "1",
    ]  # fmt: skip


def test_what_is_not_asked_for_is_left_to_the_runtime():
    assert request().trainer().resources_per_node is None
    [*_, patch] = request().options()
    job_set = patch.training_runtime_spec.template.spec
    pod = job_set.replicated_jobs[0].template.spec.template.spec
    stated = {name for name, value in vars(pod).items() if value is not None}
    assert stated == {"volumes", "containers", "security_context"}
    assert "runAsUser" not in pod.security_context
