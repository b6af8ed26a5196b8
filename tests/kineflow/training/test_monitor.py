import pytest

from kineflow.training.monitor import CurvesFile


def test_curves_are_rows_of_step_name_value(tmp_path):
    curves = CurvesFile(tmp_path / "curves.csv")
    curves.add(2, {"train/loss": 0.5, "val/top1": 0.1})
    curves.save()
    assert (tmp_path / "curves.csv").read_text().splitlines() == [
        "step,name,value",
        "2,train/loss,0.5",
        "2,val/top1,0.1",
    ]


def test_restored_curves_forget_what_will_be_done_again(tmp_path):
    curves = CurvesFile(tmp_path / "curves.csv")
    for step in (2, 4, 6):
        curves.add(step, {"loss": 1 / 3 + step})
    curves.save()
    restored = CurvesFile(tmp_path / "curves.csv")
    restored.restore(4)
    assert restored.rows == [(2, "loss", 1 / 3 + 2), (4, "loss", 1 / 3 + 4)]


@pytest.mark.parametrize("step", [0, 9])
def test_nothing_to_restore(tmp_path, step):
    curves = CurvesFile(tmp_path / "curves.csv")
    curves.restore(step)
    assert curves.rows == []
