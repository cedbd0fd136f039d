"""Readers of VisDial, MSRVTT, MSRVTT-QA and MSVD-QA: small files of the true formats, and broken ones."""

import copy
import json

import numpy as np
import pytest
from data_files import encoded

from blip.data.benchmarks.videos import read_video_captions, read_video_names, read_video_questions
from blip.data.benchmarks.visdial import read_ranks, read_relevance, read_visdial, write_ranks
from blip.errors import InputError

VISDIAL = {
    "version": "1.0",
    "split": "val",
    "data": {
        "questions": ["is it red", "how many"],
        "answers": ["yes", "no", "two"],
        "dialogs": [
            {
                "image_id": 42,
                "caption": "a dog",
                "dialog": [
                    {"question": 0, "answer": 1, "answer_options": [2, 1, 0], "gt_index": 1},
                    {"question": 1, "answer": 2, "answer_options": [0, 2, 1], "gt_index": 1},
                ],
            }
        ],
    },
}
RELEVANCE = [{"image_id": 42, "round_id": 2, "gt_relevance": [0.0, 1.0, 0.4]}]
QUESTIONS = [
    {"answer": "couch", "category_id": 14, "id": 158581, "question": "what is it?", "video_id": 6513},
    {"answer": "dog", "category_id": 14, "id": 158582, "question": "who barks?", "video_id": 6513},
]


@pytest.fixture
def written(tmp_path):
    """Writes a JSON file and returns its path."""

    def write(content, name="rows.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


def dialog_file(written, change=lambda dialog: None):
    """A VisDial file after a change to its one dialog."""
    content = copy.deepcopy(VISDIAL)
    change(content["data"]["dialogs"][0])
    return written(content)


@pytest.fixture
def root(tmp_path):
    """Images of a dialog and videos, as files and as a folder of frames."""
    (tmp_path / "VisualDialog_val2018_000000000042.jpg").write_bytes(encoded())
    (tmp_path / "train2014").mkdir()
    (tmp_path / "train2014" / "COCO_train2014_000000000042.jpg").write_bytes(encoded())
    for name in ("video6513.mp4", "video9770.mp4", "mv89psg6zh4_33_46.avi"):
        (tmp_path / name).touch()
    (tmp_path / "video7").mkdir()
    return tmp_path


def test_dialogs_with_candidates(written, root):
    found = read_visdial(written(VISDIAL), root)
    (dialog,) = found.dialogs
    assert (dialog.image_id, dialog.caption) == (42, "a dog")
    assert dialog.image.path == str(root / "VisualDialog_val2018_000000000042.jpg")
    first, second = dialog.rounds
    assert (first.question, first.answer, first.true) == ("is it red", "no", 1)
    assert found.candidates(first) == ["two", "no", "yes"] and found.candidates(second)[second.true] == "two"


def test_dialogs_of_train_and_test(written, root):
    train = read_visdial(written(VISDIAL | {"split": "train"}), root)
    assert train.dialogs[0].image.path == str(root / "train2014/COCO_train2014_000000000042.jpg")

    def hide(dialog):
        dialog["dialog"][0] = {"question": 0, "answer": 1}
        dialog["dialog"][1] = {"question": 1, "answer_options": [0, 1, 2]}

    past, last = read_visdial(dialog_file(written, hide), root).dialogs[0].rounds
    assert past.answer == "no" and not len(past.options) and past.true is None
    assert last.answer is None and last.true is None and last.options.tolist() == [0, 1, 2]


def set_in_round(name, value):
    return lambda dialog: dialog["dialog"][1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dialog: dialog.pop("caption"), "dialog 1 has no 'caption'"),
        (
            lambda dialog: dialog.update(image_id=5),
            "dialog 1: the image .*VisualDialog_val2018_000000000005.jpg is missing",
        ),
        (lambda dialog: dialog.update(dialog=[]), "dialog 1: 'dialog' is an empty list"),
        (set_in_round("question", 2), "dialog 1, round 2: 'question' 2 goes beyond the 2 questions"),
        (set_in_round("answer", "two"), r"round 2: 'answer' must be a whole number, not 'two' \(str\)"),
        (set_in_round("answer_options", [0, 3]), "round 2: 'answer_options' go beyond the 3 answers"),
        (
            set_in_round("answer_options", [0, 1.5]),
            "round 2: 'answer_options' must hold whole numbers, not 1.5",
        ),
        (set_in_round("gt_index", 3), "round 2: 'gt_index' 3 is none of the 3 candidates"),
    ],
)
def test_broken_dialogs(change, said, written, root):
    with pytest.raises(InputError, match=f"rows.json, {said}" if said.startswith("dialog") else said):
        read_visdial(dialog_file(written, change), root)


def test_files_that_are_no_dialogs(written, root):
    with pytest.raises(InputError, match="no VisDial v1.0 file"):
        read_visdial(written({"split": "val", "data": []}), root)
    twice = copy.deepcopy(VISDIAL)
    twice["data"]["dialogs"] *= 2
    with pytest.raises(InputError, match="dialog 2: 'image_id' 42 occurs a second time"):
        read_visdial(written(twice), root)


def test_dense_relevance_of_val_and_train(written):
    found = read_relevance(written(RELEVANCE))
    assert found[42, 2].tolist() == [0.0, 1.0, 0.4]
    train = [{"image_id": 42, "round_id": 1, "relevance": [0.5]}]
    assert read_relevance(written(train))[42, 1].tolist() == [0.5]
    for content, said in (
        (RELEVANCE * 2, "row 2: image 42, round 2 occurs a second time"),
        ([{"image_id": 42, "round_id": 1, "relevance": [2.0]}], r"row 1: relevance must lie in \[0, 1\]"),
        ([{"image_id": 42, "round_id": 1, "relevance": ["a"]}], "row 1: 'relevance' must hold numbers"),
        ([{"image_id": 42, "round_id": 1}], "row 1 has no 'relevance'"),
        ([], "has no rows"),
    ):
        with pytest.raises(InputError, match=said):
            read_relevance(written(content))


def test_a_dialog_submission(tmp_path, written):
    path = tmp_path / "ranks.json"
    write_ranks(path, [(42, 1, [2, 1, 3]), (42, 2, np.array([3, 2, 1]))])
    assert json.loads(path.read_text())[1] == {"image_id": 42, "round_id": 2, "ranks": [3, 2, 1]}
    found = read_ranks(path)
    assert found[42, 1].tolist() == [2, 1, 3] and list(found) == [(42, 1), (42, 2)]
    with pytest.raises(InputError, match="image 42, round 1: the ranks must be 1 to 3, each once"):
        write_ranks(path, [(42, 1, [1, 1, 2])])
    with pytest.raises(
        InputError, match="result 2: the result of image_id 42, round_id 1 occurs a second time"
    ):
        write_ranks(path, [(42, 1, [1]), (42, 1, [1])])
    with pytest.raises(InputError, match="row 1: the ranks must be 1 to 2"):
        read_ranks(written([{"image_id": 1, "round_id": 1, "ranks": [0, 1]}]))


def test_msrvtt_lists(tmp_path, root):
    lines = [
        {"caption": "a person connects", "clip_name": "video9770", "retrieval_key": "ret0"},
        {"caption": "a man", "clip_name": "video7", "retrieval_key": "ret1"},
        {"caption": "somebody", "clip_name": "video9770", "retrieval_key": "ret2"},
    ]
    path = tmp_path / "msrvtt_test.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    first, second = read_video_captions(path, root)
    assert (first.video_id, first.path) == ("video9770", str(root / "video9770.mp4"))
    assert first.captions == ("a person connects", "somebody")
    assert second.path == str(root / "video7")
    table = tmp_path / "MSRVTT_JSFUSION_test.csv"
    table.write_text('key,vid_key,video_id,sentence\nret0,msr9770,video9770,"a person, connecting"\n')
    assert read_video_captions(table, root)[0].captions == ("a person, connecting",)


def test_broken_msrvtt_lists(tmp_path, root):
    table = tmp_path / "test.csv"
    for content, said in (
        ("video_id,sentence\nvideo9770\n", "test.csv:2 cannot be used: 1 fields instead of 2"),
        ("video_id,words\nvideo9770,hi\n", "test.csv:2 has no 'caption' or 'sentence'"),
        ('video_id,sentence\nvideo9770,"hi\nvideo9770,ho\n', "test.csv:2 cannot be used: a quote begins in this line"),
        (
            "video_id,sentence\nvideo1,hi\n",
            "test.csv:2: the video .*video1 is missing; check the folder that was given for the videos",
        ),
        ("video_id,sentence\n", "has no rows"),
        ("", "is empty"),
    ):
        table.write_text(content)
        with pytest.raises(InputError, match=said):
            read_video_captions(table, root)


def test_questions_about_videos(written, root):
    first, second = read_video_questions(written(QUESTIONS), root)
    assert (first.question_id, first.question, first.answer) == (158581, "what is it?", "couch")
    assert first.path == second.path == str(root / "video6513.mp4")
    named = [{"video": "video6513.mp4", "question": "what?"}]
    (found,) = read_video_questions(written(named), root)
    assert (found.question_id, found.answer) == (1, None)


def test_msvd_videos_are_named_by_the_mapping(tmp_path, written, root):
    mapping = tmp_path / "youtube_mapping.txt"
    mapping.write_text("mv89psg6zh4_33_46 vid1301\nother_1_2 vid2\n")
    names = read_video_names(mapping)
    assert names == {"vid1301": "mv89psg6zh4_33_46", "vid2": "other_1_2"}
    asked = [{"id": 1, "video_id": 1301, "question": "who?", "answer": "man"}]
    assert read_video_questions(written(asked), root, names)[0].path == str(root / "mv89psg6zh4_33_46.avi")
    mapping.write_text("one vid1\ntwo vid1\n")
    with pytest.raises(InputError, match="row 2: 'two vid1' is not a file and a new name"):
        read_video_names(mapping)
    mapping.write_text("\n")
    with pytest.raises(InputError, match="has no rows"):
        read_video_names(mapping)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("question", None, "row 2 has no 'question'"),
        ("answer", 3, "row 2: 'answer' must be text, not 3"),
        ("id", 158581, "row 2: 'id' 158581 occurs a second time"),
        ("video_id", 5, "row 2: the video .*video5 or .*vid5 is missing"),
    ],
)
def test_broken_questions_about_videos(name, value, said, written, root):
    content = [QUESTIONS[0], QUESTIONS[1] | {name: value}]
    with pytest.raises(InputError, match=f"rows.json, {said}"):
        read_video_questions(written(content), root)
