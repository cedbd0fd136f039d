"""Odd pictures that are used rightly, and bad ones with their reasons."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_files import encoded, picture
from PIL import Image

from blip.data.images import MAX_PIXELS, BadImage, decode_image, open_image
from blip.data.pairs import ImageRef, Pair


def pixels(data: bytes) -> np.ndarray:
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_plain_rgb_is_untouched():
    assert np.array_equal(pixels(encoded(picture(), "PNG")), np.asarray(picture()))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_every_usual_format_opens(form):
    assert pixels(encoded(picture(), form)).shape == (16, 24, 3)


def test_cmyk_jpeg_keeps_its_colours():
    flat = Image.new("RGB", (16, 16), (200, 30, 60))
    found = pixels(encoded(flat.convert("CMYK"), quality=95)).astype(int)
    assert np.abs(found - (200, 30, 60)).max() <= 6


def test_sixteen_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for form in ("PNG", "TIFF"):
        found = pixels(encoded(Image.fromarray(ramp), form))[..., 0].astype(int)
        assert np.abs(found - ramp / 257).max() <= 1


@pytest.mark.parametrize(("top", "full"), [(1.0, 1.0), (200.0, 255.0), (1000.0, 65535.0)])
def test_float_grey_is_scaled_by_its_range(top, full):
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    found = pixels(encoded(Image.fromarray(values), "TIFF"))[..., 1]
    assert np.abs(found - values * 255 / full).max() <= 0.51


def test_alpha_is_laid_on_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 0, 0, 0)
    rgba[1] = (0, 0, 255, 128)
    found = pixels(encoded(Image.fromarray(rgba, "RGBA"), "PNG"))
    assert found[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    assert np.abs(found[1].astype(int) - (127, 127, 255)).max() <= 1


def test_transparent_colour_of_a_palette_is_white():
    indexed = Image.new("P", (2, 1), 0)
    indexed.putpalette([0, 0, 0, 255, 0, 0])
    indexed.putpixel((1, 0), 1)
    for form in ("PNG", "GIF"):
        assert pixels(encoded(indexed, form, transparency=0))[0].tolist() == [
            [255] * 3,
            [255, 0, 0],
        ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 255  # a mark in the upper left corner
    stored = {  # how a camera stores it, by the EXIF standard
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert np.array_equal(pixels(data), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture():
    data = encoded(picture(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels(data).shape == (16, 24, 3)


def test_animated_gif_gives_its_first_frame():
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (pixels(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_one_pixel_in_any_mode(mode):
    form = "TIFF" if mode == "CMYK" else "PNG"
    image = Image.new(mode, (1, 1)) if mode == "I;16" else Image.new("RGB", (1, 1)).convert(mode)
    assert pixels(encoded(image, form)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"\n <!DOCTYPE html><html>404</html>", "a web page"),
        (b"<?xml version='1.0'?><svg/>", "a web page"),
        (b"just words", "not an image of a known format"),
        (encoded(picture(size=(300, 200)))[:4000], "cannot be decoded: .*truncated"),
        (encoded(picture(size=(300, 200)), "PNG")[:4000], "cannot be decoded"),
        (encoded()[:30], "cannot be decoded|not an image"),
        (png_header(8000, 7000), f"8000 x 7000 is more than {MAX_PIXELS:,} pixels"),
        (png_header(60_000, 60_000), f"more than {MAX_PIXELS:,} pixels"),
        (encoded(Image.new("L", (20_000, 20)), "PNG"), "20000 x 20 is longer than 20 to 1"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_bad_images_say_why(data, reason):
    with pytest.raises(BadImage, match=reason) as caught:
        decode_image(data)
    assert "\n" not in caught.value.reason


def test_a_bomb_is_refused_on_its_header():
    """No decoding: this header promises 56 million pixels of which the file holds none."""
    with pytest.raises(BadImage, match="more than"):
        decode_image(png_header(8000, 7000))
    assert decode_image(encoded(Image.new("L", (7000, 7000)), "PNG")).size == (7000, 7000)


def test_missing_file_is_a_bad_image(tmp_path):
    with pytest.raises(BadImage, match="cannot be read"):
        open_image(Pair("a", "c", ImageRef(str(tmp_path / "none.jpg"))))


def test_threads_agree_with_one():
    files = [encoded(picture(seed, (40, 30))) for seed in range(40)] + [encoded()[:200]] * 5

    def digest(data: bytes) -> str:
        try:
            return str(zlib.crc32(decode_image(data).tobytes()))
        except BadImage as error:
            return error.reason

    alone = [digest(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(digest, files)) == alone
