"""Changes to training images that leave their class as it is, for a whole batch at once and on the device.

What happens to an image is a pure function of (seed, epoch, sample): batches of another size, or a run that was
resumed, augment it the same. Angles and mixing shares come from tables made once, because the last bit of a sine can
depend on where in a batch it is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional

from dltrain.config import setting
from dltrain.data.images import hashing

_TABLE_SIZE = 4096

# Which hash of a sample decides what.
_CROP_Y, _CROP_X, _FLIP, _ANGLE, _BRIGHTNESS, _CONTRAST, _SATURATION, _CUT_Y, _CUT_X = range(9)
_PARTNER, _SHARE, _KIND, _BOX_Y, _BOX_X = range(9, 14)
_NUM_SLOTS = 14

# How much red, green and blue weigh in a grey value, in 1/1000 (ITU-R BT.601).
_LUMA = (299, 587, 114)


@dataclass(frozen=True)
class AugmentationSettings:
    crop_padding: int = setting("Add so many black pixels on each side, then cut the old size out at random.", min=0)
    flip: bool = setting("Mirror left and right, every other image by chance.")
    rotation: float = setting("Turn by a random angle of up to so many degrees, either way.", min=0, max=180)
    cutout: int = setting("Blank a square of so many pixels a side, at a random place.", min=0)
    brightness: float = setting("Multiply by a random factor that is off 1 by up to this share.", min=0, max=1)
    contrast: float = setting("Stretch around the image's mean by a factor off 1 by up to this share.", min=0, max=1)
    saturation: float = setting("Stretch colours around grey by a factor off 1 by up to this share.", min=0, max=1)
    mixup: float = setting(
        "Blend each image and its target with another's; the share is drawn from Beta(a, a) of this a; 0 does not.",
        min=0,
        max=100,
    )
    cutmix: float = setting(
        "Paste a box of another image into each, and mix the targets by area; the area is drawn from Beta(a, a); "
        "0 does not. With mixup too, each image gets one of both.",
        min=0,
        max=100,
    )

    @property
    def any(self) -> bool:
        """Whether something is switched on."""
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def mixes(self) -> bool:
        """Whether images and their targets are mixed with others."""
        return self.mixup > 0 or self.cutmix > 0


class Augmentation:
    """Augments batches of uint8 images.

    Args:
        height, width: of the images, in pixels.
    """

    def __init__(self, settings: AugmentationSettings, height: int, width: int) -> None:
        self.settings = settings
        self.height, self.width = height, width
        angles = np.radians(settings.rotation) * (2 * (np.arange(_TABLE_SIZE) + 0.5) / _TABLE_SIZE - 1)
        self._turns = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
        kinds = [alpha for alpha in (settings.mixup, settings.cutmix) if alpha > 0]
        self._shares = [torch.from_numpy(beta_quantiles(alpha, _TABLE_SIZE).astype(np.float32)) for alpha in kinds]

    def hashes(self, key: int, samples: torch.Tensor) -> torch.Tensor:
        """Returns (B, S) random bits, from which each function here takes its own."""
        return hashing.hashes(key, samples, _NUM_SLOTS)

    def images(self, images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Moves, mirrors, colours and turns (B, C, H, W) uint8 images; returns float32 from 0 to 255."""
        moved = self._moved(images, bits)
        values = self._coloured(moved, bits) if self._colours else moved.to(torch.float32)
        return self._turned(values, bits) if self.settings.rotation else values

    @property
    def _colours(self) -> bool:
        return self.settings.brightness > 0 or self.settings.contrast > 0 or self.settings.saturation > 0

    def _moved(self, images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Crops and mirrors in one gather."""
        padding = self.settings.crop_padding
        if not padding and not self.settings.flip:
            return images
        rows = torch.arange(self.height, device=images.device)[None]
        columns = torch.arange(self.width, device=images.device)[None]
        if self.settings.flip:
            mirrored = hashing.below(bits[:, _FLIP, None], 2)
            columns = columns + mirrored * (self.width - 1 - 2 * columns)
        if padding:
            images = functional.pad(images, (padding, padding, padding, padding))
            rows = rows + hashing.below(bits[:, _CROP_Y, None], 2 * padding + 1)
            columns = columns + hashing.below(bits[:, _CROP_X, None], 2 * padding + 1)
        stride = self.width + 2 * padding
        places = (rows[:, :, None] * stride + columns[:, None, :]).flatten(1)  # (B, H * W)
        num, channels = images.shape[:2]
        flat = images.flatten(2).gather(2, places[:, None].expand(-1, channels, -1))
        return flat.view(num, channels, self.height, self.width)

    def _coloured(self, images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Changes brightness, contrast and saturation; (B, C, H, W) uint8 to float32."""

        def factor(share: float, slot: int) -> torch.Tensor:
            return (1 + share * (2 * hashing.uniforms(bits[:, slot]) - 1))[:, None, None, None]

        settings = self.settings
        values = images.to(torch.float32)
        if settings.brightness:
            values = values * factor(settings.brightness, _BRIGHTNESS)
        if settings.saturation and images.shape[1] == 3:
            red, green, blue = (values[:, i : i + 1] * (weight / 1000) for i, weight in enumerate(_LUMA))
            grey = red + green + blue
            values = grey + (values - grey) * factor(settings.saturation, _SATURATION)
        if settings.contrast:
            mean = _mean_grey(images)[:, None, None, None]
            if settings.brightness:
                mean = mean * factor(settings.brightness, _BRIGHTNESS)
            values = mean + (values - mean) * factor(settings.contrast, _CONTRAST)
        return values.clamp(0, 255)

    def _turned(self, values: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Rotates around the centre, bilinear; what comes in from outside is black."""
        turns = self._turns.to(values.device)[hashing.below(bits[:, _ANGLE], _TABLE_SIZE)]
        cosine, sine = turns[:, 0, None, None], turns[:, 1, None, None]
        y = torch.arange(self.height, device=values.device, dtype=torch.float32)[:, None] - (self.height - 1) / 2
        x = torch.arange(self.width, device=values.device, dtype=torch.float32)[None, :] - (self.width - 1) / 2
        from_x = (x * cosine - y * sine) * (2 / self.width)  # in grid_sample's unit, half an image
        from_y = (x * sine + y * cosine) * (2 / self.height)
        grid = torch.stack([from_x, from_y], dim=-1)
        return functional.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def partners(self, bits: torch.Tensor, num_samples: int) -> torch.Tensor:
        """Returns (B,) int64, the training sample with which each is mixed."""
        return hashing.below(bits[:, _PARTNER], num_samples)

    def mix(self, values: torch.Tensor, others: torch.Tensor, bits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes images with their partners.

        Args:
            values, others: (B, C, H, W).

        Returns:
            The mixed images, and the (B,) share of the first ones in them.

        Sources: Zhang et al. 2018 (mixup), equation 1; Yun et al. 2019 (CutMix), equations 1 and 2.
        """
        rank = hashing.below(bits[:, _SHARE], _TABLE_SIZE)
        shares = torch.stack([table.to(values.device)[rank] for table in self._shares])
        cuts = hashing.below(bits[:, _KIND], 2) == 1
        if not self.settings.mixup or not self.settings.cutmix:
            cuts = torch.full_like(cuts, self.settings.cutmix > 0)
        box = self._box(shares[-1], bits) & cuts[:, None, None, None]
        blend = torch.where(cuts, 1.0, shares[0])[:, None, None, None]
        mixed = torch.where(box, others, values * blend + others * (1 - blend))
        covered = box.flatten(1).sum(1)  # whole numbers: exact in any order
        area = 1 - covered.to(torch.float32) / (self.height * self.width)
        return mixed, torch.where(cuts, area, shares[0])

    def _box(self, shares: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Returns (B, 1, H, W) whether a pixel is in the box, whose area is 1 - share where it lies inside."""
        side = (1 - shares).sqrt()
        rows = _span(self.height, hashing.below(bits[:, _BOX_Y], self.height), (side * self.height).long())
        columns = _span(self.width, hashing.below(bits[:, _BOX_X], self.width), (side * self.width).long())
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def cut(self, values: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """Sets a square of each normalised image (B, C, H, W) to 0, which is the mean (DeVries and Taylor 2017)."""
        if not self.settings.cutout:
            return values
        side = torch.full_like(bits[:, 0], self.settings.cutout)
        rows = _span(self.height, hashing.below(bits[:, _CUT_Y], self.height), side)
        columns = _span(self.width, hashing.below(bits[:, _CUT_X], self.width), side)
        return values.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _span(length: int, centre: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Returns (B, length) whether a place is among the ``size`` places around the centre."""
    first = centre - size // 2
    places = torch.arange(length, device=centre.device)[None]
    return (places >= first[:, None]) & (places < (first + size)[:, None])


def _mean_grey(images: torch.Tensor) -> torch.Tensor:
    """Returns (B,) float32 means of uint8 images, from whole numbers, so that no order of adding changes a bit."""
    sums = images.flatten(2).sum(2, dtype=torch.int64)  # (B, C)
    num_pixels = images.shape[2] * images.shape[3]
    if images.shape[1] != 3:
        return sums.sum(1).to(torch.float32) / (num_pixels * images.shape[1])
    red, green, blue = (sums[:, i] * weight for i, weight in enumerate(_LUMA))
    return (red + green + blue).to(torch.float32) / (1000 * num_pixels)


def beta_quantiles(alpha: float, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns the quantiles (k + 1/2) / count of the Beta(alpha, alpha) distribution, k = 0 .. count - 1.

    With u = x**alpha the density x**(alpha-1) * (1-x)**(alpha-1) dx is (1-x)**(alpha-1) du / alpha, which is smooth up
    to x = 1/2; the rest follows by symmetry.
    """
    grid = np.linspace(0.0, 1.0, 64 * count + 1)  # of u, in shares of its value at x = 1/2
    density = (1 - 0.5 * grid ** (1 / alpha)) ** (alpha - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    wanted = (np.arange(math.ceil(count / 2)) + 0.5) / count
    lower = 0.5 * np.interp(wanted, mass / (2 * mass[-1]), grid) ** (1 / alpha)
    return np.concatenate([lower, 1 - lower[: count // 2][::-1]])
