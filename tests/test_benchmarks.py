"""Readers of caption, question and statement benchmarks: small files of the true formats, and broken ones."""

import copy
import json

import pytest
from data_files import encoded

from blip.data.benchmarks.answers import answer_list, majority_answer, read_answer_list, write_answer_list
from blip.data.benchmarks.captions import (
    caption_pairs,
    captions_and_images,
    number_of,
    read_caption_list,
    read_captions,
    read_karpathy,
    read_nocaps,
    read_references,
    write_captions,
)
from blip.data.benchmarks.nlvr import read_nlvr, read_nlvr_list
from blip.data.benchmarks.vqa import (
    answer_weights,
    read_answers,
    read_question_list,
    read_visual_genome,
    read_vqa,
    write_answers,
)
from blip.errors import InputError

KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "imgid": i,
            "cocoid": number,
            "sentids": [2 * i, 2 * i + 1],
            "split": split,
            "sentences": [
                {"tokens": ["a", "dog"], "raw": f"A dog {k}.", "imgid": i, "sentid": k} for k in range(2)
            ],
        }
        for i, (number, split) in enumerate([(42, "train"), (7, "restval"), (391895, "test")])
    ],
}
CAPTION_LIST = [
    {"caption": "A dog.", "image": "val2014/COCO_val2014_000000000042.jpg", "image_id": "coco_42"},
    {"caption": "A cat.", "image": "val2014/COCO_val2014_000000000007.jpg", "image_id": "coco_7"},
    {"caption": "Dogs.", "image": "val2014/COCO_val2014_000000000042.jpg", "image_id": "coco_42"},
]
NOCAPS = {
    "info": {},
    "licenses": [],
    "images": [
        {"id": 0, "file_name": "0013ea.jpg", "open_images_id": "0013ea", "domain": "near-domain"},
        {"id": 1, "file_name": "0014fb.jpg", "open_images_id": "0014fb", "domain": "out-domain"},
    ],
    "annotations": [
        {"image_id": 0, "id": 0, "caption": "A baby."},
        {"image_id": 1, "id": 1, "caption": "A seal."},
        {"image_id": 0, "id": 2, "caption": "A child."},
    ],
}
QUESTIONS = {
    "task_type": "Open-Ended",
    "data_type": "mscoco",
    "data_subtype": "val2014",
    "questions": [
        {"image_id": 42, "question": "Is it red?", "question_id": 42000},
        {"image_id": 7, "question": "How many?", "question_id": 7000},
    ],
}
ANNOTATIONS = {
    "annotations": [
        {
            "question_id": question,
            "image_id": question // 1000,
            "question_type": "is it",
            "answer_type": "yes/no",
            "multiple_choice_answer": "yes",
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": i + 1}
                for i, answer in enumerate(["yes"] * 8 + ["no"] * 2)
            ],
        }
        for question in (42000, 7000)
    ]
}
QUESTION_LIST = [
    {
        "question_id": 9,
        "question": "Why?",
        "answer": ["fun", "rain", "fun"],
        "image": "a.jpg",
        "dataset": "vqa",
    },
    {"question_id": 10, "question": "What?", "answer": "a clock", "image": "1.jpg", "dataset": "vg"},
]
GENOME = [
    {"id": 1, "qas": [{"image_id": 1, "qa_id": 986, "question": "What is it?", "answer": "Green."}]},
    {"id": 2, "qas": []},
]
NLVR = [
    {
        "identifier": "train-10171-2-0",
        "sentence": "A dog.",
        "label": "False",
        "directory": 26,
        "synset": "dog",
    },
    {
        "identifier": "train-10171-3-0",
        "sentence": "A dog.",
        "label": "True",
        "directory": 26,
        "synset": "dog",
    },
]
NLVR_LIST = [
    {"sentence": "A dog.", "label": "True", "images": ["dev/dev-8-0-img0.png", "dev/dev-8-0-img1.png"]}
]
READERS = {
    "karpathy": (KARPATHY, lambda path, root: read_karpathy(path, root, "train")),
    "list": (CAPTION_LIST, read_caption_list),
    "nocaps": (NOCAPS, read_nocaps),
    "vqa": (QUESTIONS, lambda path, root: read_vqa(path, None, root)),
    "questions": (QUESTION_LIST, read_question_list),
    "genome": (GENOME, read_visual_genome),
    "nlvr": (NLVR, read_nlvr),
    "nlvr list": (NLVR_LIST, read_nlvr_list),
}
IMAGES = [
    *(f"val2014/COCO_val2014_{number:012d}.jpg" for number in (42, 7, 391895)),
    *(
        "0013ea.jpg",
        "0014fb.jpg",
        "a.jpg",
        "1.jpg",
        "VG_100K_2/1.jpg",
        "dev/dev-8-0-img0.png",
        "dev/dev-8-0-img1.png",
    ),
    *(f"images/train/26/train-10171-{pair}-img{side}.png" for pair in (2, 3) for side in (0, 1)),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with all images that the files above name."""
    folder = tmp_path_factory.mktemp("images")
    for name in IMAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded())
    return folder


@pytest.fixture
def written(tmp_path):
    """Writes a JSON file (JSON lines for NLVR2's own rows) and returns its path."""

    def write(content, name="rows.json"):
        lines = (
            isinstance(content, list)
            and content
            and isinstance(content[0], dict)
            and "identifier" in content[0]
        )
        path = tmp_path / (name.replace(".json", ".jsonl") if lines else name)
        path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content))
        return path

    return write


def changed(content, place, value=None):
    """A copy with another value at a place (a list of keys), or without it if there is no value."""
    whole = copy.deepcopy(content)
    *way, last = place
    at = whole
    for key in way:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return whole


def test_karpathy_training_holds_restval_and_raw_sentences(written, root):
    images = read_karpathy(written(KARPATHY), root, "train")
    assert [image.image_id for image in images] == [42, 7]
    assert images[0].captions == ("A dog 0.", "A dog 1.")
    assert images[0].image.path == str(root / "val2014/COCO_val2014_000000000042.jpg")
    assert images[0].image.read() == encoded()
    assert [image.image_id for image in read_karpathy(written(KARPATHY), root, "test")] == [391895]
    with pytest.raises(InputError, match="no image of the split 'val'"):
        read_karpathy(written(KARPATHY), root, "val")


def test_karpathy_of_flickr_has_neither_folder_nor_coco_id(written, root):
    content = {"images": [{"filename": "a.jpg", "imgid": 3, "split": "test", "sentences": [{"raw": "Hi"}]}]}
    (image,) = read_karpathy(written(content), root, "test")
    assert (image.image_id, image.image.path, image.captions) == (3, str(root / "a.jpg"), ("Hi",))


def test_published_caption_lists(written, root):
    images = read_caption_list(written(CAPTION_LIST), root)
    assert [(image.image_id, image.captions) for image in images] == [
        (42, ("A dog.", "Dogs.")),
        (7, ("A cat.",)),
    ]
    several = [{"image": CAPTION_LIST[0]["image"], "caption": ["One.", "Two."]}]
    assert read_caption_list(written(several), root)[0].captions == ("One.", "Two.")
    assert number_of("flickr30k-images/1007129816.jpg") == 1007129816 and number_of("x/dog.jpg") == "dog"


def test_captions_as_pairs_and_for_retrieval(written, root):
    images = read_caption_list(written(CAPTION_LIST), root)
    pairs = caption_pairs(images)
    assert [(pair.key, pair.caption, pair.origin) for pair in pairs] == [
        ("42", "A dog.", "human"),
        ("42", "Dogs.", "human"),
        ("7", "A cat.", "human"),
    ]
    assert captions_and_images(images) == (["A dog.", "Dogs.", "A cat."], [0, 0, 1])


def test_nocaps_with_domains_without_captions_and_as_published(written, root):
    images = read_nocaps(written(NOCAPS), root)
    assert [(image.image_id, image.domain) for image in images] == [(0, "near-domain"), (1, "out-domain")]
    assert images[0].captions == ("A baby.", "A child.")
    test = {"images": [{"id": 0, "file_name": "0013ea.jpg"}]}
    assert read_nocaps(written(test), root)[0].captions == ()
    (listed,) = read_nocaps(written([{"image": "0014fb.jpg", "img_id": 5}]), root)
    assert (listed.image_id, listed.image.path) == (5, str(root / "0014fb.jpg"))
    assert read_references(written(NOCAPS)) == {0: ("A baby.", "A child."), 1: ("A seal.",)}


def test_vqa_questions_with_and_without_answers(written, root):
    questions, annotations = written(QUESTIONS, "q.json"), written(ANNOTATIONS, "a.json")
    first, second = read_vqa(questions, annotations, root)
    assert (first.question_id, first.question, second.image.path) == (
        42000,
        "Is it red?",
        str(root / "val2014/COCO_val2014_000000000007.jpg"),
    )
    assert first.answers == ("yes",) * 8 + ("no",) * 2
    assert (first.majority, first.question_type, first.answer_type) == ("yes", "is it", "yes/no")
    assert answer_weights(first) == pytest.approx({"yes": 0.8, "no": 0.2})
    assert read_vqa(questions, None, root)[0].answers == ()


def test_vqa_images_beside_each_other(written, root):
    content = changed(QUESTIONS, ["data_subtype"], "test-dev2015")
    with pytest.raises(InputError, match="test2015/COCO_test2015_000000000042.jpg is missing"):
        read_vqa(written(content), None, root)
    (found, _) = read_vqa(written(QUESTIONS), None, root / "val2014")
    assert found.image.path.endswith("val2014/COCO_val2014_000000000042.jpg")


def test_questions_and_answers_of_different_splits(written, root):
    questions = written(QUESTIONS, "q.json")
    fewer = changed(ANNOTATIONS, ["annotations", 1])
    with pytest.raises(InputError, match=r"q.json, question 2: question 7000 is not in .*a.json"):
        read_vqa(questions, written(fewer, "a.json"), root)
    other = changed(QUESTIONS, ["questions", 1])
    with pytest.raises(InputError, match=r"a.json, annotation 2: question 7000 was not asked"):
        read_vqa(written(other, "q.json"), written(ANNOTATIONS, "a.json"), root)


def test_published_questions_and_visual_genome(written, root):
    why, what = read_question_list(written(QUESTION_LIST), root, root / "VG_100K_2")
    assert answer_weights(why) == pytest.approx({"fun": 2 / 3, "rain": 1 / 3})
    assert answer_weights(what) == {"a clock": 0.2}
    assert what.image.path == str(root / "VG_100K_2/1.jpg")
    hidden = [{"question_id": 1, "question": "Why?", "image": "a.jpg", "dataset": "vqa"}]
    assert answer_weights(read_question_list(written(hidden), root)[0]) == {}
    (green,) = read_visual_genome(written(GENOME), root / "VG_100K_2" / "..")
    assert (green.question_id, green.answers, green.weight) == (986, ("Green.",), 0.2)


def test_the_answer_list_holds_what_people_say_often():
    asked = [["yes"] * 3, ["Yes.", "yes", "no"], ["two", "2"], ["2"], ["blue"], []]
    assert answer_list(asked, at_least=2) == ["2", "yes"]
    assert answer_list(asked, at_least=1) == ["2", "yes", "blue"]
    assert (majority_answer(["no", "A dog", "dog"]), majority_answer([])) == ("dog", "")
    with pytest.raises(InputError, match="No answer occurs 9 times"):
        answer_list(asked)


def test_answer_lists_are_written_and_read(tmp_path, written):
    write_answer_list(tmp_path / "answers.json", ["yes", "café"])
    assert read_answer_list(tmp_path / "answers.json") == ["yes", "café"]
    for content, said in (
        ([], "no list of answers"),
        (["a", 3], "row 2: 3 is no answer"),
        (["a", "b", "a"], "row 3: the answer 'a' occurs a second time"),
    ):
        with pytest.raises(InputError, match=said):
            read_answer_list(written(content))


def test_nlvr_images_by_rule_and_statements_over_pairs(written, root):
    first, second = read_nlvr(written(NLVR), root)
    assert [image.path for image in first.images] == [
        str(root / f"images/train/26/train-10171-2-img{side}.png") for side in (0, 1)
    ]
    assert (first.label, second.label) == (False, True)
    assert first.statement_id == second.statement_id == "train-10171-0"
    dev = [{"identifier": "dev-8-0-1", "sentence": "Cats."}]
    (found,) = read_nlvr(written(dev), root)
    assert found.images[1].path == str(root / "dev/dev-8-0-img1.png") and found.label is None
    (listed,) = read_nlvr_list(written(NLVR_LIST), root)
    assert listed.images == found.images and listed.label is True and listed.statement_id == "dev-8 A dog."


BROKEN = [
    ("karpathy", ["images", 0, "sentences", 1, "raw"], None, "image 1, sentence 2 has no 'raw'"),
    ("karpathy", ["images", 0, "split"], 3, r"image 1: 'split' must be text, not 3 \(int\)"),
    ("karpathy", ["images", 1, "cocoid"], 42, "image 2: 'cocoid' 42 occurs a second time"),
    (
        "karpathy",
        ["images", 0, "filename"],
        "no.jpg",
        "image 1: the image .*val2014/no.jpg is missing; check the folder",
    ),
    ("karpathy", ["images", 0, "sentences"], [], "image 1: 'sentences' is an empty list"),
    ("karpathy", ["images"], [], "'images' is an empty list"),
    ("list", [1, "caption"], None, "row 2 has no 'caption'"),
    ("list", [1, "caption"], ["a", 2], r"row 2: 'caption' must hold texts, not 2 \(int\)"),
    ("list", [1, "image"], "no.jpg", "row 2: the image .*no.jpg is missing"),
    ("list", [1, "image"], "42.jpg", "row 2: 42.jpg has the id 42 of val2014"),
    ("list", [1], "text", r"row 2 is no JSON object but 'text' \(str\)"),
    ("nocaps", ["images", 1, "id"], 0, "image 2: 'id' 0 occurs a second time"),
    ("nocaps", ["annotations", 2, "image_id"], 9, "annotation 3: the image 9 is not in 'images'"),
    ("nocaps", ["images", 0, "file_name"], None, "image 1 has no 'file_name'"),
    ("vqa", ["data_subtype"], None, "rows.json has no 'data_subtype'"),
    ("vqa", ["questions", 1, "image_id"], "7", "question 2: 'image_id' must be a whole number, not '7'"),
    ("vqa", ["questions", 1, "image_id"], True, "question 2: 'image_id' must be a whole number, not True"),
    ("vqa", ["questions", 1, "question_id"], 42000, "question 2: 'question_id' 42000 occurs a second time"),
    ("questions", [1, "dataset"], "gqa", "row 2: 'dataset' must be 'vqa' or 'vg', not 'gqa'"),
    ("questions", [0, "answer"], 3, "row 1: 'answer' must be a text or a list of texts"),
    ("questions", [1, "question_id"], 9, "row 2: 'question_id' 9 occurs a second time"),
    ("genome", [0, "qas", 0, "answer"], None, "row 1, question 1 has no 'answer'"),
    ("genome", [0, "qas", 0, "image_id"], 5, "row 1, question 1: the image .*5.jpg is missing"),
    ("genome", [0, "qas"], [], "has no question; give Visual Genome's"),
    ("nlvr", [1, "sentence"], None, "row 2 has no 'sentence'"),
    ("nlvr", [1, "label"], "maybe", "row 2: 'label' must be True or False, not 'maybe'"),
    (
        "nlvr",
        [1, "identifier"],
        "train-10171-2-0",
        "row 2: 'identifier' 'train-10171-2-0' occurs a second time",
    ),
    ("nlvr", [1, "identifier"], "10171", "row 2: '10171' is no identifier like dev-850-0-1"),
    ("nlvr", [1, "directory"], 27, "row 2: the image .*train/27/train-10171-3-img0.png is missing"),
    ("nlvr list", [0, "images"], ["dev/dev-8-0-img0.png"], "row 1: 'images' must hold two paths, not 1"),
]


@pytest.mark.parametrize(("reader", "place", "value", "said"), BROKEN)
def test_what_cannot_be_read_is_named(reader, place, value, said, written, root):
    content, read = READERS[reader]
    path = written(changed(content, place, value))
    with pytest.raises(InputError, match=said) as caught:
        read(path, root)
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) and sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_no_such_file(reader, tmp_path, written, root):
    _, read = READERS[reader]
    path = tmp_path / "rows.json"
    for data, said in (
        (b"{oops", "is not JSON"),
        (b'"text"', "holds no JSON (list|object) but 'text'"),
        (b"\xff", "is not UTF-8 text"),
        ("[]".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b"[]", r"has no rows|holds no JSON object but \[\]"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=said):
            read(path, root)
    with pytest.raises(InputError, match="gone.json cannot be read"):
        read(tmp_path / "gone.json", root)


def test_a_broken_line_of_json_lines_is_named(tmp_path, root):
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps(NLVR[0]) + "\n\n{oops\n")
    with pytest.raises(InputError, match="dev.jsonl, row 3 is not JSON"):
        read_nlvr(path, root)
    path.write_text("\n")
    with pytest.raises(InputError, match="has no rows"):
        read_nlvr(path, root)


def test_result_files_are_those_of_the_servers(tmp_path):
    path = tmp_path / "results.json"
    write_captions(path, [(42, "a dog"), (7, "un café")])
    assert json.loads(path.read_text()) == [
        {"image_id": 42, "caption": "a dog"},
        {"image_id": 7, "caption": "un café"},
    ]
    assert read_captions(path) == [(42, "a dog"), (7, "un café")]
    write_answers(path, [(1, "yes")])
    assert json.loads(path.read_text()) == [{"question_id": 1, "answer": "yes"}]
    assert read_answers(path) == [(1, "yes")]


def test_doubled_and_missing_results_are_named_and_nothing_is_written(tmp_path, written):
    path = tmp_path / "results.json"
    with pytest.raises(InputError, match="result 2: the result of image_id 42 occurs a second time"):
        write_captions(path, [(42, "a"), (42, "b")])
    with pytest.raises(InputError, match="no results"):
        write_answers(path, [])
    assert not path.exists()
    doubled = written([{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "b"}])
    with pytest.raises(InputError, match="row 2: the result of question_id 1 occurs a second time"):
        read_answers(doubled)
    with pytest.raises(InputError, match="row 1 has no 'caption'"):
        read_captions(written([{"image_id": 1}]))
