"""Lists, tables and folders of pairs, whole and broken."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture

from blip.data.pairs import image_bytes
from blip.data.readers import read_pairs
from blip.errors import InputError

IMAGES = [encoded(picture(seed)) for seed in range(4)]
IMG2DATASET = "only a url: download the images with img2dataset and give the tars it writes"


@pytest.fixture
def folder(tmp_path):
    """A folder of four images, a.jpg to d.jpg, below `pictures`."""
    (tmp_path / "pictures").mkdir()
    for name, data in zip("abcd", IMAGES, strict=True):
        (tmp_path / "pictures" / f"{name}.jpg").write_bytes(data)
    return tmp_path


def found(pairs) -> list[tuple[str, str]]:
    return [(pair.key, pair.caption) for pair in pairs]


def reasons(pairs) -> list[tuple[str, str, str]]:
    return [(reject.key, reject.kind, reject.reason) for reject in pairs.rejects]


def test_published_json_list(folder):
    rows = [
        {"image": "a.jpg", "caption": "one"},
        {"image": "b.jpg", "caption": ["two", "three"], "image_id": 7},
        {"image": "a.jpg", "caption": "again"},
    ]
    (folder / "list.json").write_text(json.dumps(rows))
    pairs = read_pairs(folder / "list.json", image_root=folder / "pictures")
    assert found(pairs) == [("a", "one"), ("b", "two"), ("b", "three"), ("a", "again")]
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES[:2]
    assert found(pairs.captions(0)) == [("a", "one"), ("a", "again")]
    assert pairs.rejects == []


def test_json_paths_start_from_the_lists_folder(folder):
    (folder / "list.json").write_text(json.dumps([{"image": "pictures/c.jpg", "caption": "x"}]))
    (pair,) = read_pairs(folder / "list.json")
    assert pair.key == "pictures/c" and image_bytes(pair) == IMAGES[2]


def test_rows_of_a_json_list_that_cannot_be_used(folder):
    rows = [
        {"image": "pictures/a.jpg", "caption": "good"},
        {"image": "pictures/none.jpg", "caption": ["x", "y"]},
        {"url": "http://example.org/x.jpg", "caption": "far"},
        {"caption": "nothing"},
        {"image": "pictures/b.jpg", "caption": ""},
        {"image": "pictures/c.jpg", "caption": "caf\udce9"},
        "a text",
        7,
        {"image": "pictures/d.jpg", "caption": None},
        {"image": "pictures/d.jpg", "caption": "d"},
        {"image": "pictures/b.jpg", "caption": " "},
    ]
    path = folder / "list.json"
    path.write_text(json.dumps(rows))
    pairs = read_pairs(path)
    assert found(pairs) == [("pictures/a", "good"), ("pictures/d", "d")]
    assert found(pairs.images) == [
        ("pictures/a", "good"), ("pictures/b", ""), ("pictures/c", ""), ("pictures/d", "d"),
    ]  # fmt: skip
    missing = f"the file {folder}/pictures/none.jpg is missing"
    assert reasons(pairs) == [
        ("pictures/none", "image", missing),
        ("pictures/none", "image", missing),
        (f"{path}:3", "image", IMG2DATASET),
        (f"{path}:4", "image", "no image path"),
        ("pictures/b", "text", "the caption is empty"),
        ("pictures/c", "text", "the caption is not UTF-8"),
        (f"{path}:7", "image", "not a JSON object"),
        (f"{path}:8", "image", "not a JSON object"),
        ("pictures/d", "text", "the caption is empty"),
        ("pictures/b", "text", "the caption is empty"),
    ]


def test_coco_captions(folder):
    coco = {
        "images": [{"id": 5, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 9, "id": 1, "caption": "b one"},
            {"image_id": 5, "id": 2, "caption": "a"},
            {"image_id": 9, "id": 3, "caption": "b two"},
            {"image_id": 8, "id": 4, "caption": "nobody"},
        ],
    }
    (folder / "captions.json").write_text(json.dumps(coco))
    pairs = read_pairs(folder / "captions.json", image_root=folder / "pictures")
    assert found(pairs) == [("b", "b one"), ("a", "a"), ("b", "b two")]
    assert [reason for _, _, reason in reasons(pairs)] == ["no image path"]


def test_json_lines(folder):
    path = folder / "pictures" / "rows.jsonl"
    path.write_bytes(
        b'{"image": "a.jpg", "text": "one"}\n\n{broken\n{"image": "b.jpg", "text": "caf\xe9"}\n'
    )
    pairs = read_pairs(path)
    assert found(pairs.images) == [("a", "one"), ("b", "")]
    assert [(kind, reason.split(":")[0]) for _, kind, reason in reasons(pairs)] == [
        ("image", "not JSON"),
        ("text", "the caption is not UTF-8"),
    ]


@pytest.mark.parametrize(("name", "tab"), [("t.csv", ","), ("t.tsv", "\t"), ("t.csv", "\t")])
def test_csv_and_tsv(folder, name, tab):
    path = folder / "pictures" / name
    rows = [
        ["filepath", "Title"],
        ["a.jpg", '"one, ""two"""'],
        ["b.jpg", '"line\nline"'],
        ["c.jpg", "שלום 🐶"],
    ]
    path.write_text(
        "\ufeff" + "\r\n".join(tab.join(row) for row in rows), encoding="utf-8", newline=""
    )
    assert found(read_pairs(path)) == [("a", 'one, "two"'), ("b", "line\nline"), ("c", "שלום 🐶")]


def test_rows_of_a_csv_that_cannot_be_used(folder):
    path = folder / "pictures" / "t.csv"
    huge = b"x" * 10_000_000
    path.write_bytes(
        b"image,caption,score\na.jpg,good,1\nb.jpg,short\nb.jpg,caf\xe9,1\n\nb.jpg,"
        + huge
        + b",1\nnone.jpg,x,1\n"
        b"c.jpg,,1\nd.jpg,fine,1\n"
    )
    pairs = read_pairs(path)
    assert found(pairs.images) == [("a", "good"), ("b", ""), ("c", ""), ("d", "fine")]
    assert reasons(pairs) == [
        (f"{path}:3", "image", "2 fields instead of 3"),
        ("b", "text", "the caption is not UTF-8"),
        (f"{path}:6", "image", "cannot be read: field larger than field limit (131072)"),
        ("none", "image", f"the file {folder}/pictures/none.jpg is missing"),
        ("c", "text", "the caption is empty"),
    ]


def test_parquet_with_bytes_reads_no_image_until_it_is_opened(folder):
    path = folder / "t.parquet"
    table = {
        "jpg": IMAGES,
        "TEXT": ["one", None, "three", "x" * 30_000],
        "key": ["p", "q", "q", "s"],
    }
    pq.write_table(pa.table(table), path, row_group_size=2)
    pairs = read_pairs(path)
    assert found(pairs.images) == [
        ("p", "one"),
        ("q", "three"),
        ("s", ""),
    ]  # q: one image of two rows
    assert image_bytes(pairs.images[0]) == IMAGES[0] and image_bytes(pairs.images[2]) == IMAGES[3]
    assert [kind for _, kind, _ in reasons(pairs)] == ["text", "text"]
    assert str(pairs[0].image) == f"{path}#0@jpg"


def test_parquet_of_hugging_face_and_with_paths(folder):
    struct = [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(IMAGES)]
    captions = [["one", "more"], ["two"], [], ["four"]]
    pq.write_table(pa.table({"image": struct, "caption": captions}), folder / "hf.parquet")
    pairs = read_pairs(folder / "hf.parquet")
    assert found(pairs) == [("hf/0", "one"), ("hf/0", "more"), ("hf/1", "two"), ("hf/3", "four")]
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES
    rows = {
        "path": ["a.jpg", "none.jpg", None],
        "url": [None, "http://x", "http://y"],
        "caption": ["a", "b", "c"],
    }
    pq.write_table(pa.table(rows), folder / "pictures" / "paths.parquet")
    pairs = read_pairs(folder / "pictures" / "paths.parquet")
    assert found(pairs) == [("a", "a")]
    assert [reason for _, _, reason in reasons(pairs)][1] == IMG2DATASET


def test_parquet_captions_that_are_not_utf8(folder):
    bad = pa.StringArray.from_buffers(
        2,
        pa.array([b"caf\xe9", b"fine"]).buffers()[1],
        pa.array([b"caf\xe9", b"fine"]).buffers()[2],
    )
    pq.write_table(pa.table({"image": IMAGES[:2], "caption": bad}), folder / "t.parquet")
    pairs = read_pairs(folder / "t.parquet")
    assert found(pairs.images) == [("t/0", ""), ("t/1", "fine")]
    assert reasons(pairs) == [("t/0", "text", "the caption is not UTF-8")]


def test_a_table_with_only_urls_is_all_rejects(folder):
    pq.write_table(
        pa.table({"URL": ["http://x", "http://y"], "TEXT": ["a", "b"]}), folder / "laion.parquet"
    )
    pairs = read_pairs(folder / "laion.parquet")
    assert len(pairs) == len(pairs.images) == 0
    assert [reason for _, _, reason in reasons(pairs)] == [IMG2DATASET] * 2


def test_unknown_columns_are_named_with_those_expected(folder):
    (folder / "t.csv").write_text("photo,words\na.jpg,x\n")
    with pytest.raises(
        InputError,
        match=r"t\.csv has the columns photo, words and none for the caption: call it one",
    ):
        read_pairs(folder / "t.csv")
    with pytest.raises(InputError, match=r"none for the image: call it one of image, "):
        read_pairs(folder / "t.csv", caption_column="words")
    with pytest.raises(
        InputError, match=r"has no column 'picture' for the image; its columns are photo, words"
    ):
        read_pairs(folder / "t.csv", caption_column="words", image_column="picture")
    pairs = read_pairs(
        folder / "t.csv",
        caption_column="words",
        image_column="photo",
        image_root=folder / "pictures",
    )
    assert found(pairs) == [("a", "x")]


def test_other_faults_of_whole_files(folder):
    (folder / "a.json").write_text("[{")
    (folder / "b.json").write_text('{"a": 1}')
    (folder / "c.parquet").write_bytes(b"PAR1 not really")
    (folder / "d.csv").write_text("")
    (folder / "e.json").write_text("[]")
    pq.write_table(pa.table({"image": [1.5], "caption": ["x"]}), folder / "f.parquet")
    (folder / "g.zip").write_bytes(b"PK")
    (folder / "empty").mkdir()
    for name, message in {
        "a.json": r"a\.json cannot be used: not JSON",
        "b.json": "neither a list of rows nor a COCO captions file",
        "c.parquet": r"c\.parquet cannot be used: not Parquet",
        "d.csv": r"has the columns \(none\)",
        "e.json": "has no rows",
        "f.parquet": "column 'image' .* is of type double: it must hold image paths or bytes",
        "g.zip": r"g\.zip is of no known kind \(\.tar, \.json",
        "empty": "holds no images, tars or Parquet files",
        "none": "no file matches",
    }.items():
        with pytest.raises(InputError, match=message):
            read_pairs(folder / name)


def test_folder_with_texts_beside_the_images(folder):
    pictures = folder / "pictures"
    (pictures / "deep").mkdir()
    (pictures / "deep" / "e.PNG").write_bytes(encoded(picture(9), "PNG"))
    (pictures / "a.png").write_bytes(encoded(picture(8), "PNG"))  # a.jpg has this stem too
    (pictures / ".hidden.jpg").write_bytes(b"")
    for name, text in {"a": b"A\n", "b": b"", "c": b"caf\xe9", "deep/e": "שלום".encode()}.items():
        (pictures / f"{name}.txt").write_bytes(text)
    pairs = read_pairs(pictures, origin="human")
    assert found(pairs.images) == [
        ("a", "A\n"),
        ("a~2", "A\n"),
        ("b", ""),
        ("c", ""),
        ("d", ""),
        ("deep/e", "שלום"),
    ]
    assert reasons(pairs) == [
        ("b", "text", "the caption is empty"),
        ("c", "text", "the caption is not UTF-8"),
        ("d", "text", "the caption is empty"),
    ]
    assert pairs.renamed == 1 and {pair.origin for pair in pairs} == {"human"}


def test_mixed_sources_in_one_list(folder):
    (folder / "list.json").write_text(json.dumps([{"image": "pictures/a.jpg", "caption": "again"}]))
    (folder / "pictures" / "a.txt").write_text("a")
    pairs = read_pairs([folder / "pictures", folder / "list.json"])
    assert found(pairs) == [("a", "a"), ("a", "again")]  # the same file is the same image
    assert pairs.shards.tolist() == [0, 1]
