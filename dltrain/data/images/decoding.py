"""One image file to an array: JPEG, PNG, BMP, GIF (first frame) or WebP as uint8, upright, grey or RGB, of one size."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
ENDINGS = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"))

# A larger image is refused by its header, before memory is taken for it: 90 million pixels are 270 MB.
MAX_PIXELS = 90_000_000
MAX_FILE = 2**29

# What turns an image upright, by the number in its EXIF data (JEITA CP-3451, tag 0x0112): Pillow's transpose methods.
_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


@dataclass(frozen=True)
class Form:
    """What every image is brought to.

    Attributes:
        channels: 1 for grey, 3 for RGB; None takes grey if all images are grey, else RGB.
        size: (H, W); None takes the images' own, which must all be equal.
        resize: "stretch" to the size; "crop" what is too long after the short side fits; "pad" what is too short
            with black after the long side fits.
    """

    channels: int | None
    size: tuple[int, int] | None
    resize: str


class BadImageError(Exception):
    """A file that is no image that can be used; the message says why."""


def decode(content: bytes, form: Form) -> NDArray[np.uint8]:
    """Returns a file's image as (C, H, W) uint8.

    Raises:
        BadImageError: it is none, it is damaged, or it is too large.
    """
    if not content:
        raise BadImageError("the file is empty")
    if len(content) > MAX_FILE:
        raise BadImageError(f"the file has more than {MAX_FILE >> 20} MB")
    with opened(content) as image:
        try:
            return to_array(image, form)
        except Exception as error:  # what a damaged file makes a decoder raise has no end
            cut_off = "truncated" in str(error).lower()
            raise BadImageError("the image is cut off" if cut_off else f"the image is damaged ({error})") from error


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Image]:
    """Opens an image, of which only the header is read."""
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    try:
        image = pillow.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadImageError("this is no JPEG, PNG, BMP, GIF or WebP image") from error
    except pillow.DecompressionBombError as error:
        raise BadImageError(f"the image is too large ({error})") from error
    except Exception as error:  # as above
        raise BadImageError(f"the image is damaged ({error})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"the image is too large: {width} x {height} pixels, and {MAX_PIXELS // 10**6} million are allowed"
        )
    with image:
        yield image


def to_array(image: Image, form: Form) -> NDArray[np.uint8]:
    """Returns an image as (C, H, W) uint8, upright and of the form."""
    turn = orientation(image)
    size = form.size
    if size is not None and image.format == "JPEG":
        height, width = reversed(size) if turn >= 5 else size
        image.draft(None, (2 * width, 2 * height))  # decodes at a half, quarter or eighth where that is enough
    image.load()
    plain = _plain(image)
    if turn in _UPRIGHT:
        from PIL.Image import Transpose

        plain = plain.transpose(Transpose(_UPRIGHT[turn]))
    if form.channels is not None:
        plain = plain.convert("L" if form.channels == 1 else "RGB")
    if size is not None:
        plain = _resized(plain, size, form.resize)
    pixels = np.asarray(plain)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def orientation(image: Image) -> int:
    """Returns how the camera was held, from 1 to 8, or 1 where the image does not say."""
    if not image.info.keys() & {"exif", "Raw profile type exif"}:
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data do no harm to the image
        return 1


def _plain(image: Image) -> Image:
    """Returns an image as grey (L) or RGB; what is transparent lies on white, as a viewer shows it."""
    from PIL import Image as pillow

    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would clip them to 255
        values = np.asarray(image)
        values = values if values.dtype == np.uint16 else values.clip(0, 65535)
        return pillow.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        clear = image.convert("RGBA")
        flat = pillow.new("RGB", clear.size, (255, 255, 255))
        flat.paste(clear, mask=clear)
        return flat.convert("L") if grey else flat
    return image.convert("L" if image.mode in ("1", "LA", "F") else "RGB")


def _resized(image: Image, size: tuple[int, int], how: str) -> Image:
    """Brings an image to (H, W), bilinear and without aliasing."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    target = (size[1], size[0])
    if image.size == target:
        return image
    if how == "crop":
        return ImageOps.fit(image, target, Resampling.BILINEAR)
    if how == "pad":
        return ImageOps.pad(image, target, Resampling.BILINEAR)
    return image.resize(target, Resampling.BILINEAR)
