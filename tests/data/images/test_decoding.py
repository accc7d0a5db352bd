"""One image file: formats, colours, transparency, orientation, sizes, and whatever is not an image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import bomb, encoded, pixels
from PIL import Image

from dltrain.data.images.decoding import BadImageError, Form, decode

OWN = Form(channels=None, size=None, resize="stretch")
COLOUR = pixels(0, 6, 5, 3)
GREY = pixels(1, 6, 5)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_the_pixels(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(COLOUR, kind, **options), OWN), COLOUR.transpose(2, 0, 1))
    if kind != "WEBP":
        assert np.array_equal(decode(encoded(GREY, kind), OWN), GREY[None])


def test_jpeg_and_gif_come_near():
    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8) * 3
    decoded = decode(encoded(smooth, "JPEG", quality=95), OWN)
    assert decoded.shape == (1, 40, 30) and np.abs(decoded[0].astype(int) - smooth).max() < 8
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    first = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.unique(decode(first, Form(1, None, "stretch"))).tolist() == [10]


def test_channels_are_converted_as_asked():
    grey = (COLOUR.astype(float) @ [0.299, 0.587, 0.114])[None]
    assert np.abs(decode(encoded(COLOUR), Form(1, None, "stretch")).astype(float) - grey).max() <= 1
    assert np.array_equal(decode(encoded(GREY), Form(3, None, "stretch")), np.stack([GREY] * 3))


def test_a_palette_gives_its_colours():
    image = Image.fromarray(COLOUR // 64 * 64).quantize(64)
    assert image.mode == "P"
    assert np.array_equal(decode(saved(image), OWN), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_sixteen_bits_become_eight():
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    assert decode(saved(Image.fromarray(values)), OWN).tolist() == [[[0, 0, 1, 128, 255]]]


def test_one_bit_becomes_black_and_white():
    assert decode(saved(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")), OWN).tolist() == [[[0, 255]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_what_is_transparent_lies_on_white(mode):
    if mode in ("RGBA", "LA"):
        content = saved(Image.fromarray(np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)).convert(mode))
    elif mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([9, 9, 9, 9, 9, 9])
        image.putdata([0, 1])
        content = saved(image, transparency=0)
    else:
        see_through, solid = (9, 0, 0), (8, 9, 9)
        image = Image.new(mode, (2, 1), see_through if mode == "RGB" else 9)
        image.putpixel((1, 0), solid if mode == "RGB" else 8)
        content = saved(image, transparency=see_through if mode == "RGB" else 9)
    decoded = decode(content, OWN)
    assert len(decoded) == (1 if mode in ("L", "LA") else 3)
    assert np.all(decoded[:, 0, 0] == 255) and np.all(decoded[:, 0, 1] < 10)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_is_turned_as_its_camera_says(orientation, kind):
    square = np.full((16, 24, 3), 255, np.uint8)
    square[:8, :8] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(square, kind, exif=exif.tobytes())
    upright = {
        2: square[:, ::-1],
        3: square[::-1, ::-1],
        4: square[::-1],
        5: square.transpose(1, 0, 2),
        6: np.rot90(square, -1),
        7: square[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(square),
    }.get(orientation, square)
    decoded = decode(content, OWN).transpose(1, 2, 0)
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).max() < 40
    sized = decode(content, Form(3, upright.shape[:2], "stretch")).transpose(1, 2, 0)
    assert np.abs(sized.astype(int) - upright).max() < 40


def test_damaged_exif_data_do_no_harm():
    assert decode(encoded(COLOUR, "PNG", exif=b"Exif\0\0MM\0*\xff\xff"), OWN).shape == (3, 6, 5)


WIDE = np.zeros((10, 30), np.uint8)
WIDE[:, 10:20] = 255


def test_stretching_cropping_and_padding():
    content = encoded(WIDE)
    stretched = decode(content, Form(None, (6, 6), "stretch"))
    assert stretched.shape == (1, 6, 6) and stretched[0, 3, 0] == 0 and stretched[0, 3, 5] == 0
    assert np.all(decode(content, Form(None, (6, 6), "crop")) > 200)  # the white middle alone
    padded = decode(content, Form(None, (9, 9), "pad"))[0]
    assert np.all(padded[:3] == 0) and np.all(padded[6:] == 0) and padded[4, 4] > 250
    assert np.array_equal(decode(content, Form(None, (10, 30), "crop")), WIDE[None])


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    ramp = np.add.outer(np.linspace(0, 127, 800), np.linspace(0, 127, 1000)).astype(np.uint8)
    small = decode(encoded(ramp, "JPEG", quality=95), Form(1, (16, 20), "stretch"))[0]
    expected = np.asarray(Image.fromarray(ramp).resize((20, 16), Image.Resampling.BILINEAR))
    assert np.abs(small.astype(int) - expected).max() <= 3


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"hello", "this is no JPEG, PNG, BMP, GIF or WebP image"),
        (encoded(COLOUR, "TIFF"), "this is no JPEG, PNG, BMP, GIF or WebP image"),
        (encoded(COLOUR)[:60], "the image is cut off"),
        (encoded(COLOUR, "JPEG")[:-20], "the image is cut off"),
        (bomb(10_000, 10_000), "the image is too large: 10000 x 10000 pixels, and 90 million are allowed"),
        (bomb(60_000, 60_000), "the image is too large (Image size (3600000000 pixels) exceeds limit"),
    ],
)
def test_a_file_that_is_no_image_is_told(content, problem):
    with pytest.raises(BadImageError) as caught:
        decode(content, OWN)
    assert str(caught.value).startswith(problem)


FILES = [
    encoded(COLOUR, kind, **options)
    for kind, options in (("PNG", {}), ("JPEG", {}), ("GIF", {}), ("BMP", {}), ("WEBP", {"lossless": True}))
]


@pytest.mark.filterwarnings("ignore")
@given(st.data())
def test_mutated_files_give_an_image_or_say_why_not(data):
    content = bytearray(data.draw(st.sampled_from(FILES)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    form = data.draw(st.sampled_from([OWN, Form(1, (4, 4), "crop"), Form(3, (7, 3), "pad")]))
    try:
        image = decode(bytes(content)[: data.draw(st.integers(0, len(content)))], form)
        assert image.dtype == np.uint8 and image.ndim == 3
    except BadImageError as error:
        assert str(error)
