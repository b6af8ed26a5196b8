"""From what a run left behind to questions: unlabelled clips that would teach it most, and labels that look wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kineflow.data.clip_ids import clip_ids
from kineflow.data.layouts.rows import ListedClip
from kineflow.evaluation.scores import Scores, softmax
from kineflow.labelling.label_errors import suspected_labels
from kineflow.labelling.looking import AskSettings, RunFiles, look_at
from kineflow.labelling.questions import Question, Questions
from kineflow.labelling.ranking import rank_clips
from kineflow.models.card import load_card
from kineflow.sets.clip_set import Clip, ClipSet, clips_digest
from kineflow.spec.split import Split
from kineflow.spec.status import Status

_MOST_LABELLED = 1000  # that new clips are held against


@dataclass(frozen=True)
class Asked:
    """Questions, and what a user should know of them.

    Attributes:
        questions: All of them.
        unlabelled: Clips without a label, looked at or not.
        seen: Of these, those that were looked at.
        judged: Labelled clips whose label could be suspected.
        labelled: All labelled clips.
    """

    questions: Questions
    unlabelled: int
    seen: int
    judged: int
    labelled: int


def ask(
    run: RunFiles,
    listed: Sequence[ListedClip],
    settings: AskSettings,
    *,
    work: Path,
    local_clip: Callable[[Clip], Path],
) -> Asked:
    """Rank unlabelled clips, and find labels that look wrong.

    What is computed of a clip is kept in the project's store, by the clip's bytes: interrupted work goes on, and the
    next run finds what it needs of clips that have got a label by then.

    Args:
        run: What a run left behind.
        listed: The list as it is now; clips that it has a label for by now, or does not have any more, are not asked.
        settings: How many, and how.
        work: Folder in the project by which its store is found; nothing is written there.
        local_clip: Gives the file of a stored clip.

    Raises:
        KineflowError: A file of the run is damaged, or its flow was made by other parameters.
    """
    clip_set = ClipSet.load(run.clips)
    card = load_card(run.model)
    now = dict(zip(clip_ids(listed), listed, strict=True))
    waiting = [
        clip
        for clip in clip_set.usable(Split.UNLABELLED)
        if clip.clip_id in now and now[clip.clip_id].split is Split.UNLABELLED
    ]
    labelled = clip_set.usable(Split.TRAIN, Split.VAL, Split.TEST)
    pool = some_of(waiting, settings.pool)
    video = _Videos(now, local_clip)
    suggested: list[Question] = []
    if pool:
        shown = [*some_of([clip for clip in labelled if clip.split is not Split.TEST], _MOST_LABELLED), *pool]
        ranked, places = look_at(run, clip_set, shown, settings, work)
        suggested = [
            video.question(places[choice.place], clip_set.classes, ranked.own[choice.place], choice.why, label="")
            for choice in rank_clips(ranked, settings.clips)
        ]
    suspected, judged = _suspected(run, card.name, clip_set, settings.clips, video)
    questions = Questions(clip_set.classes, tuple(suggested), tuple(suspected), card.name, clips_digest(labelled))
    return Asked(questions, len(waiting), len(pool), judged, len(labelled))


def some_of(clips: Sequence[Clip], most: int) -> list[Clip]:
    """At most so many clips, in their order; when some of them are gone the others are chosen still."""
    chosen = sorted(clips, key=lambda clip: hashlib.sha256(clip.sha256.encode()).digest())[:most]
    names = {clip.clip_id for clip in chosen}
    return [clip for clip in clips if clip.clip_id in names]


@dataclass(frozen=True)
class _Videos:
    """How clips are called in the list, and where they can be played."""

    now: Mapping[str, ListedClip]
    local_clip: Callable[[Clip], Path]

    def question(
        self, clip: Clip, classes: Sequence[str], probabilities: NDArray[np.float64], why: str, *, label: str
    ) -> Question:
        listed = self.now[clip.clip_id]
        return Question(
            clip_id=clip.clip_id,
            path=listed.listed_as or listed.source,
            video=self.local_clip(clip),
            label=label,
            probabilities=dict(zip(classes, map(float, probabilities), strict=True)),
            why=why,
            start_sec=listed.start_sec,
            end_sec=listed.end_sec,
            start_frame=listed.start_frame,
            end_frame=listed.end_frame,
        )


def _suspected(run: RunFiles, model: str, clip_set: ClipSet, most: int, video: _Videos) -> tuple[list[Question], int]:
    """Questions about labels that look wrong, and of how many labels that could be said."""
    if model not in run.scores:
        return [], 0
    scores = Scores.load(run.scores[model])
    clips = {clip.clip_id: clip for clip in clip_set.clips if clip.status is Status.OK}
    rows = [  # a label that was corrected since is not asked about again
        row
        for row, name in enumerate(scores.clip_ids)
        if scores.labels[row] >= 0
        and name in clips
        and name in video.now
        and video.now[name].label == scores.classes[scores.labels[row]]
    ]
    if not rows:
        return [], 0
    probabilities, labels = softmax(scores.logits[rows]), scores.labels[rows]
    asked = []
    for each in suspected_labels(probabilities, labels)[:most]:
        label, instead = scores.classes[labels[each.place]], scores.classes[each.instead]
        share = probabilities[each.place, each.instead]
        asked.append(
            video.question(
                clips[scores.clip_ids[rows[each.place]]],
                scores.classes,
                probabilities[each.place],
                f"labelled {label}, looks like {instead} ({share:.0%}) to a model that has not learnt from it",
                label=label,
            )
        )
    return asked, len(rows)
