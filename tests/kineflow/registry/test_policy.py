import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.registry.measured import Measured, read_evaluation
from kineflow.registry.paired import Paired
from kineflow.registry.policy import Gate, decide
from kineflow.storage.errors import KineflowError

SHARES = st.floats(0, 1)
NAMES = ("top1", "top5", "per_class/left", "per_class/right")
METRICS = st.fixed_dictionaries(dict.fromkeys(NAMES, SHARES))
EVALUATIONS = st.builds(Measured, METRICS, st.sampled_from(["v1", "v2"]))
GATES = st.builds(
    Gate,
    test=st.just("none"),
    primary_metric=st.sampled_from(["top1", "top5"]),
    min_gain=st.floats(0, 0.5),
    floors=st.dictionaries(st.sampled_from(["top1", "top5"]), SHARES),
    per_class_floor=st.none() | SHARES,
)


def shown(top1: float, version: str = "v1", **others: float) -> Measured:
    return Measured({"top1": top1, **others}, version)


class TestLaws:
    @given(EVALUATIONS, st.none() | EVALUATIONS, GATES, st.booleans())
    def test_every_decision_has_a_reason(
        self, candidate: Measured, champion: Measured | None, gate: Gate, other: bool
    ) -> None:
        decision = decide(candidate, champion, gate, other_data_allowed=other)
        assert decision.reasons
        assert all(decision.reasons)

    @given(EVALUATIONS, EVALUATIONS, GATES)
    def test_what_is_allowed_holds_all_that_is_asked_for(
        self, candidate: Measured, champion: Measured, gate: Gate
    ) -> None:
        if not decide(candidate, champion, gate).allowed:
            return
        name = gate.primary_metric
        assert candidate.metrics[name] - champion.metrics[name] >= gate.min_gain - 1e-8
        assert candidate.clips_digest == champion.clips_digest
        assert all(candidate.metrics[metric] >= floor - 1e-8 for metric, floor in gate.floors.items())
        classes = [candidate.metrics[metric] for metric in NAMES if metric.startswith("per_class/")]
        assert gate.per_class_floor is None or min(classes) >= gate.per_class_floor - 1e-8

    @given(METRICS, METRICS, GATES)
    def test_what_holds_all_that_is_asked_for_is_allowed(
        self, better: dict[str, float], worse: dict[str, float], gate: Gate
    ) -> None:
        candidate = Measured(dict.fromkeys(better, 1.0), "v1")
        champion = Measured({name: min(value, 1 - gate.min_gain) for name, value in worse.items()}, "v1")
        assert decide(candidate, champion, gate).allowed

    @given(EVALUATIONS, EVALUATIONS, GATES, st.sampled_from(NAMES), SHARES)
    def test_a_better_figure_never_turns_a_yes_into_a_no(
        self, candidate: Measured, champion: Measured, gate: Gate, name: str, value: float
    ) -> None:
        raised = max(value, candidate.metrics[name])
        better = Measured({**candidate.metrics, name: raised}, candidate.clips_digest)
        assert decide(candidate, champion, gate).allowed <= decide(better, champion, gate).allowed

    @given(EVALUATIONS, EVALUATIONS, GATES)
    def test_two_models_never_replace_each_other_when_a_gain_is_asked_for(
        self, one: Measured, other: Measured, gate: Gate
    ) -> None:
        if gate.min_gain > 1e-6:
            assert not (decide(one, other, gate).allowed and decide(other, one, gate).allowed)

    @given(EVALUATIONS, GATES)
    def test_the_first_champion_needs_the_floors_only(self, candidate: Measured, gate: Gate) -> None:
        no_floors = Gate(test="none", primary_metric=gate.primary_metric, min_gain=gate.min_gain)
        assert decide(candidate, None, no_floors).allowed
        a_tie_is_enough = gate.model_copy(update={"min_gain": 0.0})
        assert decide(candidate, None, gate).allowed == decide(candidate, candidate, a_tie_is_enough).allowed


class TestReasons:
    def test_a_gain_is_told(self) -> None:
        decision = decide(shown(0.6), shown(0.5), Gate(test="none", min_gain=0.1))
        assert decision.allowed
        assert decision.reasons == ("top1 0.6 against the champion's 0.5: a gain of +0.1",)

    def test_too_small_a_gain(self) -> None:
        decision = decide(shown(0.55), shown(0.5), Gate(min_gain=0.1))
        assert not decision.allowed
        assert "a gain of +0.05, and +0.1 is asked for" in decision.reasons[0]

    def test_a_tie_is_enough_where_nothing_is_tested(self) -> None:
        assert decide(shown(0.5), shown(0.5), Gate(test="none")).allowed
        assert not decide(shown(0.4999), shown(0.5), Gate(test="none")).allowed

    def test_binary_fractions_do_not_decide(self) -> None:
        assert 0.82 - 0.80 < 0.02
        assert decide(shown(0.82), shown(0.80), Gate(test="none", min_gain=0.02)).allowed

    def test_other_data_is_refused_unless_allowed(self) -> None:
        decision = decide(shown(0.9, "v2"), shown(0.5, "v1"), Gate())
        assert not decision.allowed
        assert "different data (v2 and, the champion, v1)" in decision.reasons[0]
        assert decide(shown(0.9, "v2"), shown(0.5, "v1"), Gate(), other_data_allowed=True).allowed

    def test_every_fault_is_told_at_once(self) -> None:
        gate = Gate(min_gain=0.1, floors={"top1": 0.6, "top5": 0.9}, per_class_floor=0.2)
        candidate = shown(0.5, "v2", **{"per_class/left": 0.1, "per_class/right": 0.9})
        reasons = decide(candidate, shown(0.5), gate).reasons
        assert len(reasons) == 5
        assert "classes below 0.2: left 0.1" in reasons

    def test_a_class_without_clips_fails_a_floor(self) -> None:
        candidate = shown(0.9, **{"per_class/left": math.nan})
        assert not decide(candidate, None, Gate(per_class_floor=0.1)).allowed

    @pytest.mark.parametrize("value", [math.nan, math.inf, None])
    def test_a_missing_or_infinite_figure_is_refused_on_either_side(self, value: float | None) -> None:
        broken = Measured({} if value is None else {"top1": value}, "v1")
        assert "candidate has no figure 'top1'" in decide(broken, None, Gate()).reasons[0]
        assert "champion has no figure 'top1'" in decide(shown(0.5), broken, Gate()).reasons[0]
        assert not decide(shown(0.5), None, Gate(floors={"top5": 0.1})).allowed

    def test_a_floor_for_classes_needs_figures_of_classes(self) -> None:
        assert "no figures of single classes" in decide(shown(0.5), None, Gate(per_class_floor=0.1)).reasons[0]


class TestPairs:
    BETTER = Paired(0.05, 0.01, 0.09, 200)
    PERHAPS = Paired(0.05, -0.01, 0.11, 200)

    def test_a_gain_that_may_be_chance_is_refused(self) -> None:
        assert decide(shown(0.55), shown(0.5), Gate(), paired=self.BETTER).allowed
        decision = decide(shown(0.55), shown(0.5), Gate(), paired=self.PERHAPS)
        assert not decision.allowed
        assert "on 200 clips" in decision.reasons[0]
        assert "from -1.0% to +11.0% at 0.95: that may be chance" in decision.reasons[0]

    def test_not_worse_puts_up_with_a_margin(self) -> None:
        tie = Paired(0.0, -0.015, 0.015, 200)
        assert not decide(shown(0.5), shown(0.5), Gate(test="not_worse", margin=0.01), paired=tie).allowed
        assert decide(shown(0.5), shown(0.5), Gate(test="not_worse", margin=0.02), paired=tie).allowed

    @pytest.mark.parametrize(
        ("data", "clips", "scored", "gain", "fault"),
        [
            ("common", 200, "as before", 0.05, None),
            ("common", 200, "as before", 0.01, "on the champion's 200 clips, and +0.02 is asked for"),
            ("common", 199, "as before", 0.05, "1 of the champion's 200 clips are gone or have another label"),
            ("common", 200, "otherwise", 0.05, "different protocols"),
            ("same", 200, "as before", 0.05, "evaluated on different data"),
        ],
    )
    def test_of_a_test_set_that_has_grown_the_champions_clips_decide(
        self, data: Any, clips: int, scored: str, gain: float, fault: str | None
    ) -> None:
        """Whatever the figures on all clips: those of the candidate are lower, for the new clips are harder."""
        champion = Measured({"top1": 0.8}, "old", clips=200, protocol="as before")
        candidate = Measured({"top1": 0.6}, "new", clips=300, protocol=scored)
        paired = Paired(gain, 0.005, 0.09, clips)
        decision = decide(candidate, champion, Gate(data=data, min_gain=0.02), paired=paired)
        assert decision.allowed == (fault is None)
        assert (fault or "top1 gains +0.05 on the champion's 200 clips") in "\n".join(decision.reasons)

    def test_without_answers_nothing_is_promoted(self) -> None:
        decision = decide(shown(0.9), shown(0.5), Gate(), unpaired="they were not kept")
        assert decision.reasons == ("no paired test of top1: they were not kept",)

    def test_another_protocol_is_other_data(self) -> None:
        candidate = Measured({"top1": 0.9}, "v1", protocol="10 windows")
        decision = decide(candidate, shown(0.5), Gate(), paired=self.BETTER)
        assert "different protocols (10 windows; the champion, not known)" in decision.reasons[0]
        assert decide(candidate, shown(0.5), Gate(), paired=self.BETTER, other_data_allowed=True).allowed

    def test_protocols_are_told_apart_by_their_digests_and_by_words_where_one_has_none(self) -> None:
        def judged(top1: float, words: str, digest: str) -> Measured:
            return Measured({"top1": top1}, "v1", protocol=words, protocol_digest=digest)

        new, other = judged(0.9, "10 windows", "a"), judged(0.5, "10 windows", "b")
        assert "(10 windows, a; the champion, 10 windows, b)" in decide(new, other, Gate()).reasons[0]
        assert decide(new, judged(0.5, "ten windows", "a"), Gate(), paired=self.BETTER).allowed
        assert decide(new, judged(0.5, "10 windows", ""), Gate(), paired=self.BETTER).allowed

    @pytest.mark.parametrize(
        ("asked", "came_to", "fault"),
        [
            ("green", "green", None),
            ("green", "accepted", "accepted with warnings"),
            ("green", "", "not known"),
            ("accepted", "accepted", None),
            ("accepted", "", "not known"),
            ("any", "", None),
        ],
    )
    def test_the_checks_of_the_data_count_where_it_is_asked_for(
        self, asked: Any, came_to: str, fault: str | None
    ) -> None:
        decision = decide(Measured({"top1": 0.9}, "v1", validation=came_to), None, Gate(validation=asked))
        assert decision.allowed == (fault is None)
        assert fault is None or fault in decision.reasons[0]

    @pytest.mark.parametrize(
        ("bounds", "fault"),
        [
            ({"max_ece": 0.1}, "ece is 0.2, and at most 0.1"),
            ({"max_latency_ms": 10}, "latency of the input example is not known"),
            ({"max_size_mb": 3}, "size of the weights is 4 MB, and at most 3 MB"),
        ],
    )
    def test_bounds_hold_for_the_first_champion_too(self, bounds: dict[str, float], fault: str) -> None:
        candidate = Measured({"top1": 0.9, "ece": 0.2}, "v1", size_mb=4.0)
        assert fault in decide(candidate, None, Gate(**bounds)).reasons[0]


class TestReadEvaluation:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        metrics = {
            "student": {"top1": 0.5, "top5": 1.0},
            "fusion": {"all": {"top1": 0.6, "weights": {"student": 1.0}}},
            "data": {"split": "test", "clips": 12, "version": "v1"},
        }
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        (tmp_path / "per_class.csv").write_text(
            "model,class,clips,accuracy,change_from_baseline\n"
            'student,"left, slowly",4,0.25,\nstudent,right,0,,\nplain,right,4,0.75,0\n'
        )
        return tmp_path

    def test_reads_the_figures_of_one_model(self, folder: Path) -> None:
        evaluation = read_evaluation(folder, "student")
        assert evaluation == Measured({"top1": 0.5, "top5": 1.0, "per_class/left, slowly": 0.25}, "v1", 12)
        assert evaluation.headline == {"top1": 0.5, "top5": 1.0}

    def test_figures_of_classes_may_be_absent(self, folder: Path) -> None:
        (folder / "per_class.csv").unlink()
        assert read_evaluation(folder, "student").metrics == {"top1": 0.5, "top5": 1.0}

    @pytest.mark.parametrize("name", ["teacher", "data", "fusion"])
    def test_a_model_that_was_not_evaluated_is_named_beside_those_that_were(self, folder: Path, name: str) -> None:
        with pytest.raises(KineflowError, match=f"'{name}' was not evaluated; there are 'student'"):
            read_evaluation(folder, name)

    @pytest.mark.parametrize("content", [None, "{", "[]", '{"student": {"top1": 1}}', '{"data": {"version": 3}}'])
    def test_a_missing_or_malformed_file_is_named(self, folder: Path, content: str | None) -> None:
        path = folder / "metrics.json"
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(KineflowError, match=r"metrics\.json"):
            read_evaluation(folder, "student")

    @pytest.mark.parametrize("content", ["model,class\nstudent,left\n", "model,class,accuracy\nstudent,left,most\n"])
    def test_a_malformed_table_is_named(self, folder: Path, content: str) -> None:
        (folder / "per_class.csv").write_text(content)
        with pytest.raises(KineflowError, match=r"per_class\.csv"):
            read_evaluation(folder, "student")
