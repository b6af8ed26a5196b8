from types import SimpleNamespace
from typing import Any

import pytest

from kineflow.video.time_stamps import _listed


def stream(**changes: Any) -> SimpleNamespace:
    """An mp4's video stream of four frames, of which the first and the third are key frames."""
    entries = [
        SimpleNamespace(timestamp=place, is_keyframe=place % 2 == 0, is_discard=False, size=9) for place in range(4)
    ]
    given = {"frames": 4, "index_entries": entries, "codec_context": SimpleNamespace(has_b_frames=False)}
    return SimpleNamespace(**given | changes)


def test_the_headers_table_numbers_frames_where_it_can() -> None:
    listed = _listed(stream())
    assert listed is not None
    assert (listed.times, listed.key_numbers) == ([0, 1, 2, 3], [0, 2])


@pytest.mark.parametrize("changed", [{"size": 0}, {"is_discard": True}, {"timestamp": 0}])
def test_a_table_with_what_is_no_frame_is_not_followed(changed: dict[str, Any]) -> None:
    entries = stream().index_entries
    entries[1].__dict__.update(changed)
    assert _listed(stream(index_entries=entries)) is None


def test_a_table_of_another_length_is_not_even_read() -> None:
    class Long:
        def __len__(self) -> int:
            return 10**9

    assert _listed(stream(index_entries=Long())) is None
