import json
from typing import Any

import pytest

from kineflow.serving.requests import bounded_message, read_request
from kineflow.storage.errors import KineflowError

ONE, TWO = "QUFB", "QkJC"


def read(content: Any) -> list[str]:
    return read_request(json.dumps(content).encode()).videos


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": [{"video": ONE}, {"video": TWO}]},
        {"dataframe_split": {"columns": ["id", "video"], "data": [[1, ONE], [2, TWO]]}},
        {"instances": [{"video": ONE}, {"video": TWO}]},
        {"instances": [ONE, {"video": {"b64": TWO}}]},
        {"instances": [{"b64": ONE}, [TWO]]},
        {"inputs": {"video": [ONE, TWO]}},
        {"inputs": {"video": [[ONE], [TWO]]}},
        {"inputs": [{"video": ONE}, TWO]},
    ],
)
def test_every_form_of_the_protocol_names_the_videos(content: Any) -> None:
    assert read(content) == [ONE, TWO]


def test_one_video_needs_no_list_of_inputs() -> None:
    assert read({"inputs": ONE}) == read({"inputs": {"video": ONE}}) == read({"inputs": {"b64": ONE}}) == [ONE]


def test_parameters_stand_beside() -> None:
    assert read_request(b'{"inputs": "QUFB", "params": {"topk": 2}}').params == {"topk": 2}


@pytest.mark.parametrize(
    "body",
    [
        b"SECRET", b'["SECRET"]', b'"SECRET"', b'{"SECRET": 1}', b"\xff{SECRET}", b"[" * 100_000,
        b'{"inputs": {"SECRET": 1}}', b'{"inputs": [3]}', b'{"instances": "SECRET"}', b'{"inputs": 3}',
        b'{"inputs": "QUFB", "instances": []}', b'{"inputs": "QUFB", "params": ["SECRET"]}',
        b'{"inputs": "QUFB", "SECRET": 1, "SECRET": 2}', b'{"dataframe_split": {"columns": ["SECRET"], "data": []}}',
        b'{"dataframe_split": {"columns": ["video"], "data": [["SECRET", 1]]}}', b'{"dataframe_records": "SECRET"}',
    ],
    ids=range(16),
)  # fmt: skip
def test_what_has_no_form_is_refused_without_being_repeated(body: bytes) -> None:
    with pytest.raises(KineflowError) as caught:
        read_request(body)
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_message_is_one_short_line() -> None:
    assert bounded_message("a\nb " + "c" * 10_000) == "a b " + "c" * 396 + "…"
