"""Lists, tables and folders of pairs, whole and broken."""

import csv
import json
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture

from blip.data.pairs import ImageRef, Pair, image_bytes
from blip.data.readers import read_pairs
from blip.data.writers import write_parquet
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


def test_images_of_a_coco_file_that_no_annotation_names_have_no_caption(folder):
    coco = {
        "images": [
            {"id": 5, "file_name": "a.jpg"},
            {"id": 9, "file_name": "b.jpg"},
            {"id": 5, "file_name": "c.jpg"},
            {"file_name": "d.jpg"},
            {"id": 3},
            "torn",
        ],
        "annotations": [{"image_id": 5, "caption": "of the last that is called 5"}],
    }
    (folder / "captions.json").write_text(json.dumps(coco))
    pairs = read_pairs(folder / "captions.json", image_root=folder / "pictures")
    assert found(pairs) == [("c", "of the last that is called 5")]
    assert found(pairs.images) == [("c", "of the last that is called 5"), ("a", ""), ("b", ""), ("d", "")]
    told = [(kind, reason) for _, kind, reason in reasons(pairs)]
    assert told == [("text", "the caption is empty")] * 3 + [("image", "no image path"), ("image", "not a JSON object")]


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


OPEN = "a quote begins in this line and its end is not certain"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "tab"), [("t.csv", ","), ("t.tsv", "\t")])
@pytest.mark.parametrize("then", ["plain", 'ends with a quote"', 'some "quoted" words', '"well, quoted\tand"', '"open too'])
def test_a_quote_that_does_not_close_costs_its_own_row(folder, name, tab, end, then):
    """Whatever the next quote is, the rows between are read, and what is lost is counted."""
    path = folder / "pictures" / name
    rows = [["image", "caption"], ["a.jpg", "one"], ["b.jpg", '"a start'], ["c.jpg", "three"], ["d.jpg", then], ["a.jpg", "last"]]
    path.write_text(end.join(tab.join(row) for row in rows), newline="")
    pairs = read_pairs(path)
    lost = [3, 5] if then == '"open too' else [3]
    read = [] if then == '"open too' else [("d", "well, quoted\tand" if then.startswith('"well') else then)]
    assert found(pairs) == [("a", "one"), ("c", "three"), *read, ("a", "last")]
    assert [(key, kind) for key, kind, _ in reasons(pairs)] == [(f"{path}:{number}", "image") for number in lost]
    assert all(reason.startswith(OPEN) for _, _, reason in reasons(pairs))


@pytest.mark.parametrize("caption", [
    "two\nlines", "a, comma\nand, another, one\nc.d, e", 'he said "no"\nand, "yes"', "\n\nblank\n", "three\r\nlines\rof, all ends", "x" * 15_000 + "\n",
])  # fmt: skip
@pytest.mark.parametrize("last", [False, True])
def test_a_quoted_text_of_several_lines_is_one_caption(folder, caption, last):
    path = folder / "pictures" / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["image", "caption"], ["a.jpg", "one"], ["b.jpg", caption], ["c.jpg", "three"]][: 3 if last else 4])
    pairs = read_pairs(path)
    assert found(pairs) == [("a", "one"), ("b", caption), ("c", "three")][: 2 if last else 3] and pairs.rejects == []


def test_lines_that_could_be_rows_are_counted_and_not_guessed(folder):
    """A caption whose second line is a row of its own kind, a text that ends with the file, a header's open quote."""
    path = folder / "pictures" / "t.csv"
    path.write_text('image,caption\na.jpg,"see\nb.jpg,here"\nc.jpg,"nice" cats\nd.jpg,"cut in the')
    pairs = read_pairs(path)
    assert found(pairs) == [("b", 'here"'), ("c", "nice cats")]
    assert [(key, reason.split(":")[0]) for key, _, reason in reasons(pairs)] == [(f"{path}:2", OPEN), (f"{path}:5", OPEN)]
    path.write_text('image,"caption\na.jpg,one\n')
    with pytest.raises(InputError, match=r"The first line of .*t\.csv has a quote that does not close"):
        read_pairs(path)
    path.write_text('image,caption\nnone,"see\nother, here"\n')  # images without an extension tell nothing apart
    assert reasons(read_pairs(path))[0][2].startswith(OPEN)


def test_parquet_with_bytes_reads_no_image_until_it_is_opened(folder):
    path = folder / "t.parquet"
    table = {
        "jpg": [IMAGES[0], IMAGES[1], IMAGES[1], IMAGES[3]],
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


def test_a_key_that_is_no_name_of_an_image_joins_no_pictures(folder):
    """A class in the column `key`: rows with one key are one image only where their bytes are equal."""
    table = {
        "key": ["cat", "cat", "cat", "dog", "none", "none"],
        "image": [IMAGES[0], IMAGES[1], IMAGES[1], IMAGES[2], None, None],
        "caption": ["black", "grey", "grey too", "a dog", "gone", "gone too"],
    }
    pq.write_table(pa.table(table), folder / "t.parquet", row_group_size=2)
    pairs = read_pairs(folder / "t.parquet")
    assert found(pairs) == [
        ("cat", "black"), ("cat~2", "grey"), ("cat~2", "grey too"), ("dog", "a dog"), ("none", "gone"), ("none~2", "gone too"),
    ]  # fmt: skip
    assert [image_bytes(pair) for pair in pairs[:4]] == [IMAGES[0], IMAGES[1], IMAGES[1], IMAGES[2]]


def test_rows_of_our_own_parquet_are_joined_without_a_look_at_the_pictures(folder, monkeypatch):
    own = [(Pair("a", "one", IMAGES[0]), {}), (Pair("a", "two", IMAGES[0]), {}), (Pair("b", "three", IMAGES[1]), {})]
    path = write_parquet(own, folder / "own.parquet").paths[0]
    with monkeypatch.context() as patch:
        patch.setattr(ImageRef, "read", lambda ref: pytest.fail(f"{ref} was read"))
        pairs = read_pairs(path)
        assert found(pairs) == [("a", "one"), ("a", "two"), ("b", "three")] and len(pairs.images) == 2
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES[:2]


def test_the_column_that_was_chosen_counts(folder):
    """A list `captions` comes first only where nobody chose a column, and a text in it last."""
    row = {"image": "pictures/a.jpg", "title": "the title", "caption": "own", "captions": ["x one", "x two"]}
    (folder / "t.json").write_text(json.dumps([row]))
    pq.write_table(pa.Table.from_pylist([row]), folder / "t.parquet")
    pq.write_table(pa.Table.from_pylist([row | {"image": IMAGES[0]}]), folder / "bytes.parquet")
    for name in ("t.json", "t.parquet", "bytes.parquet"):
        for column, wanted in ((None, ["x one", "x two"]), ("title", ["the title"]), ("caption", ["own"]), ("captions", ["x one", "x two"])):
            assert [pair.caption for pair in read_pairs(folder / name, caption_column=column)] == wanted
    (folder / "t.csv").write_text("image,caption,captions\npictures/a.jpg,own,other\npictures/b.jpg,,only this\n")
    assert found(read_pairs(folder / "t.csv")) == [("pictures/a", "own"), ("pictures/b", "only this")]
    chosen = read_pairs(folder / "t.csv", caption_column="caption")
    assert found(chosen) == [("pictures/a", "own")]
    assert reasons(chosen) == [("pictures/b", "text", "the caption is empty")]


def test_one_file_by_several_spellings_is_one_image(folder):
    (folder / "link").symlink_to(folder / "pictures" / "deep", target_is_directory=True)
    (folder / "pictures" / "deep").mkdir()
    names = ["b.jpg", "./b.jpg", ".//b.jpg", "../pictures/./b.jpg", "../link/../b.jpg"]
    rows = [{"image": name, "caption": name} for name in names]
    (folder / "pictures" / "t.json").write_text(json.dumps(rows))
    pairs = read_pairs(folder / "pictures" / "t.json")
    assert [pair.caption for pair in pairs] == names and pairs.rejects == []
    assert [pairs.image_of_row.tolist()[n] for n in range(3)] == [0, 0, 0]
    assert {image_bytes(pair) for pair in pairs} == {IMAGES[1]}


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


def test_of_several_columns_each_table_gives_the_first_that_it_has(folder):
    (folder / "t.csv").write_text("photo,words,alt\na.jpg,x,y\n")
    (folder / "u.csv").write_text("shot,alt\na.jpg,z\n")
    named = {"image_column": ["shot", "photo"], "caption_column": ["words", "alt"]}
    pairs = read_pairs([folder / "t.csv", folder / "u.csv"], image_root=folder / "pictures", **named)
    assert sorted(pair.caption for pair in pairs) == ["x", "z"]
    with pytest.raises(InputError, match=r"t\.csv has no column 'shot' or 'film' for the image; its columns are photo, words, alt"):
        read_pairs(folder / "t.csv", image_column=["shot", "film"], caption_column="words")


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


@pytest.mark.parametrize("form", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl"])
def test_a_file_in_utf16_says_how_to_save_it(folder, name, form):
    (folder / name).write_bytes("\ufeffimage,caption\n0.jpg,a dog\n".encode(form))
    with pytest.raises(InputError) as error:
        read_pairs(folder / name)
    assert str(error.value) == f"{folder / name} is UTF-16 text: save it as UTF-8."


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


def test_texts_in_capitals_and_texts_that_cannot_be_opened(folder):
    pictures = folder / "pictures"
    (pictures / "a.TXT").write_text("capitals")
    (pictures / "b.txt").symlink_to("b.txt")
    (pictures / "c.Txt").write_text("other")
    (pictures / "c.txt").write_text("plain")
    (pictures / "d.txt").write_text("fine")
    (pictures / "e.TXT").write_text("alone")
    pairs = read_pairs(pictures)
    assert found(pairs.images) == [("a", "capitals"), ("b", ""), ("c", "plain"), ("d", "fine")]
    (looped, *rest) = reasons(pairs)
    assert looped[:2] == ("b", "text") and looped[2].startswith("the caption cannot be read: [Errno 40]")
    assert rest == [("c", "image", "no image goes with this text"), ("e", "image", "no image goes with this text")]


def test_linked_folders_are_read_once(folder, tmp_path_factory):
    """By their own name where they lie below the folder, and no loop is followed."""
    pictures, away = folder / "pictures", tmp_path_factory.mktemp("away")
    for name, at in (("deep", pictures), (".hidden", pictures), ("x", away)):
        (at / name).mkdir()
        (at / name / "e.jpg").write_bytes(IMAGES[0])
        (at / name / "e.txt").write_text(name)
    for link, target in {"a-link": "deep", "b-link": ".hidden", "c-link": away, "d-link": away, "e-loop": ".", "f-up": ".."}.items():
        (pictures / link).symlink_to(target, target_is_directory=True)
    (away / "x" / "loop").symlink_to(away, target_is_directory=True)
    pairs = read_pairs(pictures)
    assert found(pairs) == [("b-link/e", ".hidden"), ("c-link/x/e", "x"), ("deep/e", "deep")]
    assert len(pairs.images) == 4 + 3 and {reason for _, _, reason in reasons(pairs)} == {"the caption is empty"}


def test_a_folder_that_cannot_be_listed_is_a_reject(folder, monkeypatch):
    shut = folder / "pictures" / "shut"
    shut.mkdir()
    scandir = os.scandir

    def listed(path):
        if os.fspath(path) == str(shut):
            raise PermissionError(13, "Permission denied", str(shut))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    pairs = read_pairs(folder / "pictures")
    assert len(pairs.images) == 4
    assert (str(shut), "file", f"cannot be listed: [Errno 13] Permission denied: '{shut}'") in reasons(pairs)


def test_a_pattern_reads_nothing_twice(folder):
    """A folder of tables and the tables in it, a folder of images and one within it, and one by a linked name."""
    (folder / "pictures" / "deep").mkdir()
    (folder / "pictures" / "deep" / "e.jpg").write_bytes(IMAGES[0])
    (folder / "pictures" / "deep" / "e.txt").write_text("deep")
    pairs = read_pairs(f"{folder}/**/")
    assert found(pairs) == [("pictures/deep/e", "deep")]
    table = pa.table({"image": IMAGES, "caption": ["one", "two", "three", "four"]})
    (folder / "tables" / "own").mkdir(parents=True)
    pq.write_table(table, folder / "tables" / "own" / "t.parquet")
    (folder / "tables" / "same").symlink_to("own", target_is_directory=True)
    pairs = read_pairs(f"{folder}/tables/**/*")
    assert [pair.caption for pair in pairs] == ["one", "two", "three", "four"]
    # The same list in two folders, as caches link it, speaks of the images of each folder.
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "a.jpg").write_bytes(IMAGES[0] if name == "one" else IMAGES[1])
    (folder / "one" / "l.json").write_text(json.dumps([{"image": "a.jpg", "caption": "x"}]))
    (folder / "two" / "l.json").symlink_to(folder / "one" / "l.json")
    pairs = read_pairs(f"{folder}/*/l.json")
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES[:2]


def test_mixed_sources_in_one_list(folder):
    (folder / "list.json").write_text(json.dumps([{"image": "pictures/a.jpg", "caption": "again"}]))
    (folder / "pictures" / "a.txt").write_text("a")
    pairs = read_pairs([folder / "pictures", folder / "list.json"])
    assert found(pairs) == [("a", "a"), ("a", "again")]  # the same file is the same image
    assert pairs.shards.tolist() == [0, 1]


def test_a_folder_of_several_kinds_is_refused_with_the_ways_to_give_it(folder):
    pictures = folder / "pictures"
    (pictures / "old.tar").write_bytes(b"")
    for name, said in (
        (None, "holds tars and images: give '{0}/*.tar' or a folder with the images alone."),
        ("rows.parquet", "holds tars and Parquet files and images: give '{0}/*.tar' or '{0}/*.parquet' or a folder"),
    ):
        if name:
            pq.write_table(pa.table({"image": ["a.jpg"], "caption": ["one"]}), pictures / name)
        with pytest.raises(InputError) as raised:
            read_pairs(pictures)
        assert str(raised.value).startswith(f"the folder {pictures} {said.format(pictures)}")
    (pictures / "old.tar").unlink()
    with pytest.raises(InputError, match=r"holds Parquet files and images: give '.*/\*\.parquet' or a folder"):
        read_pairs(pictures)
    assert found(read_pairs(f"{pictures}/*.parquet")) == [("a", "one")]


def test_both_forms_that_img2dataset_writes_are_read_as_the_pairs_they_hold(folder):
    about = pa.table({"url": ["http://x/a.jpg"], "caption": ["one"], "key": ["000000000"], "status": ["success"]})
    for form in ("webdataset", "files"):
        (folder / form).mkdir()
        pq.write_table(about, folder / form / "00000.parquet")
        (folder / form / "00000_stats.json").write_text("{}")
    (folder / "files" / "00000").mkdir()
    for ending, data in (("jpg", IMAGES[0]), ("txt", b"one"), ("json", b"{}")):
        (folder / "files" / "00000" / f"000000000.{ending}").write_bytes(data)
    with tarfile.open(folder / "webdataset" / "00000.tar", "w") as tar:
        tar.add(folder / "files" / "00000", "", filter=lambda member: member if "." in member.name or member.isdir() else None)
    assert found(read_pairs(folder / "files")) == [("00000/000000000", "one")]
    (pair,) = read_pairs(folder / "webdataset")
    assert pair.caption == "one" and image_bytes(pair) == IMAGES[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,text\na.jpg,one\n"),
        ("captions.tsv", "\ufeffimage\tcaption\na.jpg\tone\n"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "one"}\n'),
    ],
)
def test_captions_in_a_table_beside_images_are_not_passed_over(folder, name, content):
    pictures = folder / "pictures"
    (pictures / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"no text files, and the table .*{name} tells of images: give that itself"):
        read_pairs(pictures)
    assert found(read_pairs(pictures / name)) == [("a", "one")]
    (pictures / "b.txt").write_text("with text files the folder is one of those")
    assert len(read_pairs(pictures)) == 1
    (pictures / "b.txt").unlink()
    (pictures / name).write_text("date,note\n1,2\n" if name.endswith("csv") else "[1]\n")
    assert len(read_pairs(pictures).images) == 4
