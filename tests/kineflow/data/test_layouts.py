"""Layouts: the official lists to the letter, and every fault named with its file and line."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.data.layouts import Listing, hold_out, list_clips, open_lists
from kineflow.data.layouts.hmdb51 import group_of
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError


def listed(
    root: Path, layout: str, *, names: list[str] | None = None, annotations: str = "", split: int = 1
) -> Listing:
    source = LocalSource(root)
    lists = open_lists(source, annotations)
    return list_clips(layout, lists, source.names() if names is None else names, split_number=split)


def write(root: Path, **files: str) -> Path:
    """Write files below ``root``, by their relative paths."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def counts(listing: Listing) -> dict[str, int]:
    return {split.value: count for split, count in Counter(clip.split for clip in listing.clips).items()}


class TestOfficialLists:
    @pytest.mark.slow
    @pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
    def test_ucf101(self, shared_data: Path, split: int, train: int, test: int) -> None:
        listing = listed(shared_data / "splits" / "ucf101_splits", "ucf101", split=split)
        assert counts(listing) == {"train": train, "test": test}
        assert len(listing.classes) == 101
        assert listing.classes[:2] == ("ApplyEyeMakeup", "ApplyLipstick")
        assert len({clip.group for clip in listing.clips}) == 101 * 25
        assert no_group_in_two_splits(listing.clips)

    @pytest.mark.parametrize("split", [1, 2, 3])
    def test_hmdb51(self, shared_data: Path, split: int) -> None:
        root = shared_data / "splits" / "hmdb51_splits"
        listing = listed(root, "hmdb51", split=split)
        assert counts(listing) == {"train": 3570, "test": 1530}
        assert len(listing.classes) == 51
        assert set(Counter((clip.label, clip.split) for clip in listing.clips).values()) == {70, 30}
        assert no_group_in_two_splits(listing.clips)
        lines = sum(len(path.read_text().splitlines()) for path in root.glob(f"*_test_split{split}.txt"))
        assert lines - len(listing.clips) == 1666

    def test_a_validation_split_is_held_out_by_group(self, shared_data: Path) -> None:
        listing = listed(shared_data / "splits" / "ucf101_splits", "ucf101")
        clips = hold_out(listing.clips, val_share=0.2, seed=3)
        assert no_group_in_two_splits(clips)
        groups = {(clip.label, clip.group) for clip in clips if clip.split is Split.VAL}
        assert set(Counter(label for label, _ in groups).values()) == {4}  # of 18 training groups a class
        assert [clip for clip in clips if clip.split is Split.TEST] == [
            clip for clip in listing.clips if clip.split is Split.TEST
        ]


def no_group_in_two_splits(clips: tuple[ListedClip, ...]) -> bool:
    return len({(clip.group, clip.split) for clip in clips}) == len({clip.group for clip in clips})


UCF = {
    "lists/classInd.txt": "2 Run\r\n1 Jump\r\n",
    "lists/trainlist01.txt": "Jump/v_Jump_g01_c01.avi 1\r\nRun/v_Run_g01_c01.avi 2\r\n",
    "lists/testlist01.txt": "Jump/v_Jump_g02_c01.avi\n\n",
}


class TestUcf101:
    def test_rows(self, tmp_path: Path) -> None:
        write(tmp_path, **UCF, **{"UCF-101/Run/v_Run_g01_c01.avi": "", "v_Jump_g02_c01.mp4": ""})
        listing = listed(tmp_path, "ucf101")
        assert listing.classes == ("Jump", "Run")
        assert [(clip.source, clip.label, clip.split.value, clip.group) for clip in listing.clips] == [
            ("Jump/v_Jump_g01_c01.avi", "Jump", "train", "v_Jump_g01"),
            ("UCF-101/Run/v_Run_g01_c01.avi", "Run", "train", "v_Run_g01"),
            ("v_Jump_g02_c01.mp4", "Jump", "test", "v_Jump_g02"),
        ]

    @pytest.mark.parametrize("name", sorted(UCF))
    def test_a_missing_list(self, tmp_path: Path, name: str) -> None:
        write(tmp_path, **{other: text for other, text in UCF.items() if other != name})
        with pytest.raises(KineflowError, match=Path(name).name) as caught:
            listed(tmp_path, "ucf101")
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "line", "problem"),
        [
            ("trainlist01", "Fly/v_Fly_g01_c01.avi 3", "unknown label 'Fly'"),
            ("trainlist01", "Run/v_Run_g02_c01.avi 1", "index 1 is not that of 'Run'"),
            ("trainlist01", "v_Run_g02_c01.avi 2", "is no clip"),
            ("trainlist01", "Run/v_Run_g02_c01.avi two", "is no clip"),
            ("testlist01", "Run/../../v_Run_g02_c01.avi", "leads outside"),
            ("testlist01", "Jump/v_Jump_g01_c01.avi", r"listed twice, first at .*trainlist01.txt:1"),
            ("classInd", "2 Fly", "is no class"),
            ("classInd", "Fly", "is no class"),
        ],
    )
    def test_a_bad_line(self, tmp_path: Path, name: str, line: str, problem: str) -> None:
        write(tmp_path, **UCF)
        path = tmp_path / "lists" / f"{name}.txt"
        path.write_text(path.read_text().rstrip() + f"\n{line}\n")
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "ucf101")
        assert f"{name}.txt:{len(path.read_text().splitlines())}" in str(caught.value)


HMDB = {
    "s/ride_bike_test_split2.txt": "MOVIE_1_ride_bike_f_cm_np1_fr_med_0.avi 1 \n"
    "MOVIE_1_ride_bike_u_nm_np10_ba_bad_12.avi 1 \nOther_ride_bike_h_cm_np2_le_goo_3.avi 0 \n",
    "s/wave_test_split2.txt": "MOVIE_1_wave_l_cm_np1_ri_med_7.avi 2 \n",
    "s/wave_test_split1.txt": "MOVIE_1_wave_l_cm_np1_ri_med_7.avi 1 \n",
}


class TestHmdb51:
    def test_rows(self, tmp_path: Path) -> None:
        write(tmp_path, **HMDB, **{"wave/MOVIE_1_wave_l_cm_np1_ri_med_7.avi": ""})
        listing = listed(tmp_path, "hmdb51", split=2)
        assert listing.classes == ("ride_bike", "wave")
        assert [(clip.source, clip.label, clip.split.value, clip.group) for clip in listing.clips] == [
            ("ride_bike/MOVIE_1_ride_bike_f_cm_np1_fr_med_0.avi", "ride_bike", "train", "ride_bike/MOVIE_1"),
            ("ride_bike/MOVIE_1_ride_bike_u_nm_np10_ba_bad_12.avi", "ride_bike", "train", "ride_bike/MOVIE_1"),
            ("wave/MOVIE_1_wave_l_cm_np1_ri_med_7.avi", "wave", "test", "wave/MOVIE_1"),
        ]

    def test_a_name_that_is_not_formed_as_hmdbs(self) -> None:
        assert group_of("my_own_wave.avi", "wave") == "wave/my_own_wave"
        assert group_of("a_wave_b_wave_f_cm_np1_fr_med_0.avi", "wave") == "wave/a_wave_b"

    def test_the_split_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="test_split3"):
            listed(write(tmp_path, **HMDB), "hmdb51", split=3)

    @pytest.mark.parametrize(
        ("line", "problem"), [("a.avi 3", "its use"), ("a.avi", "its use"), ("../../a.avi 1", "leads outside")]
    )
    def test_a_bad_line(self, tmp_path: Path, line: str, problem: str) -> None:
        write(tmp_path, **(HMDB | {"s/wave_test_split2.txt": f"ok.avi 1\n{line}\n"}))
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "hmdb51", split=2)
        assert "wave_test_split2.txt:2" in str(caught.value)


KINETICS_HEADER = "label,youtube_id,time_start,time_end,split\n"


class TestKinetics:
    def test_rows(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            **{
                "train.csv": KINETICS_HEADER + '"waving, hand",-abc,10,20,train\nrunning,x_y,0,10,train\n',
                "validate.csv": KINETICS_HEADER.rstrip() + ",is_cc\nrunning,zzz,35,45,validate,0\n",
                "clips/-abc_000010_000020.mp4": "",
                "clips/x_y.mp4": "",
            },
        )
        listing = listed(tmp_path, "kinetics")
        assert listing.classes == ("running", "waving, hand")
        rows = [
            (c.source, c.label, c.split.value, c.group, c.start_sec, c.end_sec, c.may_be_cut) for c in listing.clips
        ]
        assert rows == [
            ("clips/-abc_000010_000020.mp4", "waving, hand", "train", "-abc", None, None, False),
            ("clips/x_y.mp4", "running", "train", "x_y", 0.0, 10.0, True),
            ("running/zzz_000035_000045.mp4", "running", "val", "zzz", None, None, False),
        ]

    def test_the_folder_of_the_class_decides(self, tmp_path: Path) -> None:
        write(tmp_path, **{"k.csv": KINETICS_HEADER + "b,id,0,10,test\n", "a/id.mp4": "", "b/id.mp4": ""})
        assert listed(tmp_path, "kinetics").clips[0].source == "b/id.mp4"

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ("run,id,0,10,evaluate", "unknown split 'evaluate'"),
            ("run,id,10,10,train", "no interval"),
            ("run,id,-1,10,train", "time_start '-1' is no time"),
            ("run,id,ten,20,train", "time_start 'ten' is no time"),
            ("run,id,0,inf,train", "time_end 'inf' is no time"),
            ("run,id,1e308,10,train", "time_start '1e308' is no time"),
            ("run,,0,10,train", "youtube_id '' is none"),
            ("run,a/b,0,10,train", "youtube_id 'a/b' is none"),
            ("run,../../id,0,10,train", "leads outside"),
            ("run,id,0,10", "4 values where the header names 5"),
        ],
    )
    def test_a_bad_row(self, tmp_path: Path, row: str, problem: str) -> None:
        write(tmp_path, **{"k.csv": f"{KINETICS_HEADER}run,ok,0,10,train\n{row}\n"})
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "kinetics")
        assert "k.csv:3" in str(caught.value)

    def test_no_csv(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="no CSV"):
            listed(tmp_path, "kinetics")


class TestPlainCsv:
    def test_rows(self, tmp_path: Path) -> None:
        text = (
            "\ufeffpath,label,split,group,start,end\n"
            "a/x.mp4,run,train,g1,,\n"
            "./a/x.mp4,jump,val,,1.5,2\n\n"
            "y.mp4,run,unlabelled,,,3\n"
        )
        listing = listed(write(tmp_path, **{"clips.csv": text}), "csv")
        assert listing.classes == ("jump", "run")
        rows = [(c.source, c.label, c.split.value, c.group, c.start_sec, c.end_sec) for c in listing.clips]
        assert rows == [
            ("a/x.mp4", "run", "train", "g1", None, None),
            ("a/x.mp4", "jump", "val", "a/x", 1.5, 2.0),
            ("y.mp4", None, "unlabelled", "y", None, 3.0),
        ]

    def test_a_named_file_elsewhere(self, tmp_path: Path) -> None:
        write(tmp_path, **{"lists/mine.csv": "path,label,split\na.mp4,run,test\n", "data/a.mp4": ""})
        listing = listed(tmp_path / "data", "csv", annotations=str(tmp_path / "lists" / "mine.csv"))
        assert [clip.source for clip in listing.clips] == ["a.mp4"]

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ("../a.mp4,run,train,,", "leads outside"),
            ("/etc/a.mp4,run,train,,", "leads outside"),
            ("x/../../a.mp4,run,train,,", "leads outside"),
            ("https://host/a.mp4,run,train,,", "leads outside"),
            ("a\\..\\b.mp4,run,train,,", "Windows' separators"),
            ("C:\\videos\\b.mp4,run,train,,", "Windows' separators"),
            (",run,train,,", "without a path"),
            (".,run,train,,", "is the source itself"),
            ("x/..,run,train,,", "is the source itself"),
            ("a\0.mp4,run,train,,", "null byte"),
            ("a.mp4,r\0un,train,,", "control character"),
            ('a.mp4,"r\nun",train,,', "control character"),
            ("a.mp4,run,training,,", "unknown split 'training'"),
            ("a.mp4,run,,,", "unknown split ''"),
            ("a.mp4,,test,,", "no label for 'a.mp4' in split test"),
            ("a.mp4,,val,,", "no label"),
            ("a.mp4,,training,,", "unknown split 'training'"),
            ("a.mp4,run,train,2,1", "ends at 1.0 s"),
            ("a.mp4,run,train,nan,", "start 'nan' is no time"),
            ("a.mp4,run,train,1e308,", "start '1e308' is no time"),
            ("a.mp4,run,train,1_0,", "start '1_0' is no time"),
            ("a.mp4,run,train,0:01:30,", "start '0:01:30' is no time"),
            (f"a.mp4,run,train,{'9' * 5000},", "start '999"),
            ("a.mp4,run,train,-1,", "start '-1' is no time"),
            ("a.mp4,run,train,,soon", "end 'soon' is no time"),
            ("a.mp4,run,train,1,,2", "a part in seconds and in numbers of frames"),
            ("a.mp4,run,train,,,-1", "start_frame '-1' is no number of a frame"),
            ("a.mp4,run,train", "3 values where the header names 6"),
            ("ok.mp4,jump,test,,", "listed twice, first at .*clips.csv:2"),
            ('a.mp4,"run,train,,', "malformed CSV"),
        ],
    )
    def test_a_bad_row(self, tmp_path: Path, row: str, problem: str) -> None:
        row += "," * (row.count(",") == 4)
        write(tmp_path, **{"clips.csv": f"path,label,split,start,end,start_frame\nok.mp4,run,train,,,\n{row}\n"})
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "csv")
        assert "clips.csv:3" in str(caught.value)

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("path,label", "column split is missing"),
            ("path,label,split,strat", "unknown column 'strat'"),
            ("path;label;split", "separate columns by commas"),
            ("path,label,split,split", "column split is there twice"),
            ("", "column path, label, split is missing"),
        ],
    )
    def test_a_bad_header(self, tmp_path: Path, header: str, problem: str) -> None:
        with pytest.raises(KineflowError, match=problem):
            listed(write(tmp_path, **{"clips.csv": f"{header}\na.mp4,run,train,x\n"}), "csv")

    @pytest.mark.parametrize(
        ("content", "problem"), [(b"path,label,split\n", "name no clip"), (b"path,label\xff", "not UTF-8")]
    )
    def test_a_file_with_nothing_to_list(self, tmp_path: Path, content: bytes, problem: str) -> None:
        (tmp_path / "clips.csv").write_bytes(content)
        with pytest.raises(KineflowError, match=problem):
            listed(tmp_path, "csv")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match=r"clips\.csv"):
            listed(tmp_path, "csv")

    def test_unknown_layout(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="ucf101"):
            listed(tmp_path, "ucf102")


class TestUcf11:
    def test_groups_decide(self, tmp_path: Path) -> None:
        names = [f"UCF11/wave/v_waving_{group:02}/v_waving_{group:02}_01.mpg" for group in (1, 15, 16, 25)]
        listing = listed(tmp_path, "ucf11", names=[*names, "UCF11/wave/Annotation/v_waving_01_01.xgtf", "UCF11/a.avi"])
        assert listing.classes == ("wave",)
        assert counts(listing) == {"train": 2, "test": 2}
        assert listing.clips[0].group == "wave/v_waving_01"

    @pytest.mark.parametrize("group", ["00", "26"])
    def test_a_group_that_there_is_not(self, group: str, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="1 to 25"):
            listed(tmp_path, "ucf11", names=[f"wave/v_wave_{group}/v_wave_{group}_01.avi"])

    def test_nothing_named_so(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="no video is named as UCF-11's"):
            listed(tmp_path, "ucf11", names=["wave/a.avi"])


HOLLYWOOD2 = {
    "Eat_train.txt": "actioncliptrain1  1\nactioncliptrain2 -1\nactioncliptrain3  -1\n",
    "Run_train.txt": "actioncliptrain1  1\nactioncliptrain2 +1\nactioncliptrain3  -1\n",
    "Eat_test.txt": "actioncliptest1  1\n",
    "Run_test.txt": "actioncliptest1  -1\n",
    "Eat_autotrain.txt": "actionclipautoautotrain1  1\n",
    "House_test.txt": "scenecliptest1  1\n",
    "actions_train.txt": "actioncliptrain1\n",
}


class TestHollywood2:
    def test_a_clip_has_the_classes_of_all_lists(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        listing = listed(write(tmp_path, **HOLLYWOOD2), "hollywood2")
        assert (listing.classes, listing.multi_label) == (("Eat", "Run"), True)
        assert [(clip.source, clip.labels, clip.split.value) for clip in listing.clips] == [
            ("AVIClips/actioncliptrain1.avi", ("Eat", "Run"), "train"),
            ("AVIClips/actioncliptrain2.avi", ("Run",), "train"),
            ("AVIClips/actioncliptest1.avi", ("Eat",), "test"),
        ]
        assert "clips of no class, which are left out: 1" in caplog.text

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("Run_test.txt", None, "class 'Run' has a list of one split alone"),
            ("Run_train.txt", "actioncliptrain1  1\n", "'actioncliptrain2' is in one of the lists"),
            ("Run_test.txt", "actioncliptest1  2\n", r"Run_test\.txt:1: 'actioncliptest1  2' is no clip and its use"),
            ("Run_test.txt", "actioncliptest1  1\nactioncliptest1 -1\n", "is there twice, first at"),
            ("Run_test.txt", "../actioncliptest1  1\n", "leads outside"),
        ],
    )
    def test_faults_are_named(self, name: str, text: str | None, problem: str, tmp_path: Path) -> None:
        files = {**HOLLYWOOD2, name: text}
        write(tmp_path, **{name: text for name, text in files.items() if text is not None})
        with pytest.raises(KineflowError, match=problem):
            listed(tmp_path, "hollywood2")

    def test_no_list(self, tmp_path: Path) -> None:
        with pytest.raises(KineflowError, match="are missing"):
            listed(write(tmp_path, **{"a.txt": "x"}), "hollywood2")


def clip(label: str | None, group: str, split: Split, number: int) -> ListedClip:
    return ListedClip(f"{number}.mp4", label, split, group, "here")


CLIPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("123456"), st.sampled_from([Split.TRAIN, Split.TEST])), min_size=1
).map(lambda rows: tuple(clip(label, group, split, n) for n, (label, group, split) in enumerate(rows)))


class TestHoldOut:
    @given(CLIPS, st.floats(0, 0.99), st.integers(0, 2**32 - 1))
    def test_only_whole_groups_of_train_move(self, clips: tuple[ListedClip, ...], share: float, seed: int) -> None:
        after = hold_out(clips, val_share=share, seed=seed)
        assert after == hold_out(clips, val_share=share, seed=seed)
        changes = {(a.split, b.split) for a, b in zip(clips, after, strict=True) if a != b}
        assert changes <= {(Split.TRAIN, Split.VAL)}
        moved, stayed = ({c.group for c in after if c.split is split} for split in (Split.VAL, Split.TRAIN))
        assert not moved & stayed
        assert moved == set() or share > 0
        assert stayed or not any(c.split is Split.TRAIN for c in clips)

    def test_every_class_gives_and_keeps_one(self) -> None:
        clips = tuple(clip(label, f"{label}{n}", Split.TRAIN, n) for label in "ab" for n in range(2))
        after = hold_out(clips, val_share=0.01, seed=0)
        assert sorted((c.label, c.split.value) for c in after) == [
            ("a", "train"), ("a", "val"), ("b", "train"), ("b", "val")
        ]  # fmt: skip

    def test_the_seed_decides(self) -> None:
        clips = tuple(clip("a", str(n), Split.TRAIN, n) for n in range(20))
        assert len({hold_out(clips, val_share=0.3, seed=seed) for seed in range(5)}) > 1

    def test_a_group_with_unlabelled_clips_is_learnt_from(self) -> None:
        clips = (*(clip("a", str(n), Split.TRAIN, n) for n in range(6)),
                 *(clip(None, str(n), Split.UNLABELLED, n + 6) for n in range(5)))  # fmt: skip
        for seed in range(8):
            after = hold_out(clips, val_share=0.5, seed=seed)
            assert {c.group for c in after if c.split is Split.VAL} == {"5"}

    def test_what_shares_a_video_with_unlabelled_clips_is_learnt_from(self) -> None:
        part = ListedClip("x.mp4", "a", Split.TRAIN, "t", "here")
        others = tuple(clip("a", str(n), Split.TRAIN, n) for n in range(3))
        rest = ListedClip("x.mp4", None, Split.UNLABELLED, "u", "here")
        for seed in range(8):
            after = hold_out((part, *others, rest), val_share=0.9, seed=seed)
            assert after[0].split is Split.TRAIN

    def test_a_given_val_split_stays(self) -> None:
        clips = (*(clip("a", str(n), Split.TRAIN, n) for n in range(9)), clip("a", "v", Split.VAL, 9))
        assert hold_out(clips, val_share=0.5, seed=0) == clips

    def test_of_several_classes_the_rarest_chooses_first(self) -> None:
        both = [replace(clip("a", str(n), Split.TRAIN, n), also="b") for n in range(2)]
        clips = (*both, *(clip("a", str(n), Split.TRAIN, n) for n in range(2, 20)))
        for seed in range(8):
            after = hold_out(clips, val_share=0.1, seed=seed)
            assert sorted(c.split.value for c in after if "b" in c.labels) == ["train", "val"]
            assert len([c for c in after if c.split is Split.VAL]) == 2

    def test_groups_that_share_a_video_stay_together(self) -> None:
        clips = tuple(
            ListedClip(f"{video}.mp4", "a", Split.TRAIN, f"g{number}", "here") for number, video in enumerate("xxyyzx")
        )
        for seed in range(8):
            after = hold_out(clips, val_share=0.4, seed=seed)
            assert len({(clip.source, clip.split) for clip in after}) == 3
            assert {clip.split for clip in after} == {Split.TRAIN, Split.VAL}
