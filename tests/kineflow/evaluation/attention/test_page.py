from __future__ import annotations

import re
from pathlib import Path

from kineflow.evaluation.attention.figures import Estimate
from kineflow.evaluation.attention.page import Looked, Report, ShownClip, render, write_localisation_page
from kineflow.evaluation.attention.settings import LocaliseSettings

HALF = Estimate(0.5, 0.4, 0.625)
FIGURES = dict.fromkeys(
    ("top1", "entropy", "video_map", "found", "tube_iou", "inside", "by_chance", "top1_on_actor"), HALF
)


def report(*, judged: bool = True, name: str = "videolstm") -> Report:
    overlap = 0.31 if judged else None
    look = Looked(name, b"lit", guess="run", score=0.875, right=False, overlap=overlap, inside=overlap)
    example = ShownClip("a/b", "jump", frames=b"frames", area=0.2 if judged else None, flow=b"flow", looks=(look,))
    return Report(
        settings=LocaliseSettings(sigma_px=3.0),
        clips=320,
        figures={name: FIGURES if judged else {key: FIGURES[key] for key in ("top1", "entropy")}},
        whole_frame={"found": HALF, "tube_iou": HALF} if judged else {},
        most_entropy={name: 4.1589},
        examples=[example],
        wheel=b"wheel",
        lineage={"clips": "abc"},
    )


def words(html: str) -> str:
    body = html.split("</style>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_figures_with_their_intervals() -> None:
    text = words(render(report()))
    assert "320 clips" in text
    assert "50.0 40.0 – 62.5" in text
    assert "even: 4.16" in text
    assert "even: 50.0" in text
    assert "the whole frame" in text
    assert "overlap 31.0 %" in text
    assert "blurred by 3.0 px" in text
    assert text.count("–") >= 2  # what there is no figure of


def test_without_true_boxes_attention_is_still_shown() -> None:
    html = render(report(judged=False))
    text = words(html)
    assert "There are no true boxes to compare with" in text
    assert not re.search(r"video mAP|whole frame|overlap", text, re.IGNORECASE)
    assert html.count("data:image/jpeg") == 3
    assert "87.5 %" in text


def test_names_are_escaped_and_the_page_stands_alone(tmp_path: Path) -> None:
    write_localisation_page(tmp_path / "report.html", report(name="<b>x</b>"))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
