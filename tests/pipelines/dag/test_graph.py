from dataclasses import replace

from pipelines.dag.graph import Produced, graph_of, step_of, whole_graph


def test_the_recipe_names_its_tasks_by_meaning() -> None:
    steps = {task.name: task.step for task in graph_of("d3d").tasks}
    assert steps == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "pretrain": "pretrain",
        "teacher": "train",
        "plain": "train",
        "distilled": "distill",
        "student": "distill",
        "evaluate": "evaluate",
        "choose-model": "choose_model",
        "register": "register",
    }


def test_tasks_come_after_all_they_need() -> None:
    done: set[str] = set()
    for task in graph_of("d3d").tasks:
        assert {made.task for made in task.read} | set(task.after) <= done
        done.add(task.name)


def test_the_student_learns_from_the_flow_teacher_and_needs_no_other_network() -> None:
    tasks = {task.name: task for task in graph_of("d3d").tasks}
    assert tasks["student"].inputs == {
        "clips": Produced("ingest", "clips"),
        "flow": Produced("extract-flow", "flow"),
        "initial": Produced("pretrain", "rgb"),
        "teachers": (Produced("teacher", "model"),),
    }
    assert "flow" not in tasks["plain"].inputs
    assert tasks["teacher"].inputs["initial"] == Produced("pretrain", "flow")


def test_an_input_of_several_is_one_argument_in_the_order_of_the_recipe() -> None:
    (scored,) = (task for task in graph_of("d3d").tasks if task.step == "evaluate")
    models = [Produced(name, "model") for name in ("teacher", "plain", "distilled", "student")]
    assert scored.inputs.keys() == {"clips", "flow", "models"}
    assert scored.inputs["models"] == tuple(models)


def test_plain_and_students_differ_in_the_teacher_alone() -> None:
    tasks = {task.name: task for task in graph_of("d3d").tasks}
    for student in ("distilled", "student"):
        assert tasks[student].inputs["initial"] == tasks["plain"].inputs["initial"]
        assert tasks[student].sections["params"] == tasks["plain"].sections["params"]
    assert tasks["distilled"].constants["use_unlabelled"] is False
    assert tasks["student"].constants["use_unlabelled"] is True


def test_nothing_is_trained_before_validation_has_passed() -> None:
    tasks = {task.name: task for task in graph_of("d3d").tasks}
    assert tasks["extract-flow"].after == ("validate",)
    assert tasks["plain"].after == ("validate",)


def test_with_one_of_its_sections_a_recipe_has_its_optional_steps_and_all_others_as_they_were() -> None:
    without = {task.name: task for task in graph_of("d3d").tasks}
    tasks = {task.name: task for task in graph_of("d3d", ["seed", "selection"]).tasks}
    assert tasks.keys() - without.keys() == {"pretrain-descriptor", "describe", "blend"}
    assert tasks["blend"].constants["name"] == "blend"
    for name in without.keys() - {"evaluate", "choose-model"}:
        assert (tasks[name].inputs, tasks[name].sections) == (without[name].inputs, without[name].sections)
    models = without["evaluate"].inputs["models"]
    assert isinstance(models, tuple)
    for name in ("evaluate", "choose-model"):
        assert tasks[name].inputs["models"] == (*models, Produced("blend", "model"))
    assert graph_of("few_clips", ["selection"]) == whole_graph("few_clips") == graph_of("few_clips")


def test_without_unlabelled_clips_no_student_is_trained_twice() -> None:
    whole = {task.name: task for task in graph_of("d3d", {"distillation": {"unlabelled_batch_size": 16}}).tasks}
    for more in ({}, {"selection": {}}):
        tasks = {
            task.name: task for task in graph_of("d3d", {"distillation": {"unlabelled_batch_size": 0}} | more).tasks
        }
        assert "distilled" not in tasks
        assert ("blend" in tasks) is bool(more)
        assert tasks["student"] == replace(whole["student"], key="distill")
        models = tasks["evaluate"].inputs["models"]
        assert isinstance(models, tuple)
        assert [each.task for each in models][:3] == ["teacher", "plain", "student"]
    for unreadable in ({}, {"distillation": None}, {"distillation": {"unlabelled_batch_size": "many"}}):
        assert any(task.name == "distilled" for task in graph_of("d3d", unreadable).tasks)


def test_step_of() -> None:
    assert step_of("exec-extract-flow") == "extract_flow"
    assert step_of("exec-train-2") == "train"


def test_optional_steps_come_with_the_sections_of_theirs() -> None:
    plain, taught, described = (graph_of("d3d", given) for given in ([], ["own_teacher"], ["selection"]))
    names = [{task.name for task in graph.tasks} for graph in (plain, taught, described)]
    assert names[1] - names[0] == {"import-teacher"}
    assert names[2] - names[0] == {"pretrain-descriptor", "describe", "blend"}
    assert set(taught.parameters) - set(plain.parameters) == {"own_teacher"}
    student = next(task for task in taught.tasks if task.name == "student")
    assert student.paths("teachers") == (Produced("teacher", "model"), Produced("import-teacher", "model"))
    peers = {"fixmatch", "flow_labels", "mean_teacher"}
    with_peers = {task.name: task for task in graph_of("d3d", peers).tasks}
    assert with_peers.keys() - names[0] == peers
    assert {task.name for task in whole_graph("d3d").tasks} == names[1] | names[2] | peers
    for name in peers:  # in the same steps, from the same weights
        assert with_peers[name].sections["params"] == student.sections["params"] == "student"
        assert with_peers[name].inputs["initial"] == student.inputs["initial"]
    assert with_peers["flow_labels"].sections["distillation"] == "flow_labels"
    assert with_peers["flow_labels"].constants["use_unlabelled"] is True
    for recipe, beside in (("tsn", "rgb"), ("d3d_variants", "plain")):
        tasks = {task.name: task for task in graph_of(recipe, {"fixmatch"}).tasks}
        assert tasks.keys() - {task.name for task in graph_of(recipe).tasks} == {"fixmatch"}
        assert tasks["fixmatch"].sections["params"] == tasks[beside].sections["params"]
        assert tasks["fixmatch"].inputs["initial"] == tasks[beside].inputs["initial"]
        assert Produced("fixmatch", "model") in tasks["evaluate"].paths("models")
