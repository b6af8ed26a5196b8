import pytest

from kineflow.selection.groups import require_groups
from kineflow.storage.errors import KineflowError


def test_a_class_of_one_group_cannot_be_judged():
    clips = [("a", "g1"), ("a", "g1"), ("b", "g1"), ("b", "g2")]
    with pytest.raises(KineflowError, match=r"clips\.csv: the clips of 'a' are of one group or none"):
        require_groups(clips, ("a", "b"), where="clips.csv")
    require_groups([*clips, ("a", "g2")], ("a", "b"))


def test_a_class_by_itself_cannot_be_told_from_others():
    with pytest.raises(KineflowError, match="one class"):
        require_groups([("a", "g1"), ("a", "g2")], ("a",))
