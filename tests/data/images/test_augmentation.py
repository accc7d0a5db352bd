"""Augmentation: what each change does, and that it depends on seed, epoch and sample alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import pixels

from dltrain.data import Batch, Samples
from dltrain.data.images.augmentation import Augmentation, AugmentationSettings, beta_quantiles
from dltrain.data.images.dataset import ImageTransform, image_data

OFF = {
    "crop_padding": 0,
    "flip": False,
    "rotation": 0.0,
    "cutout": 0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
EACH = {
    "crop": {"crop_padding": 3},
    "flip": {"flip": True},
    "rotation": {"rotation": 30.0},
    "cutout": {"cutout": 4},
    "colour": {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
}
ALL = {name: value for changes in EACH.values() for name, value in changes.items()}
COUNT, CLASSES = 37, 5
IMAGES = torch.from_numpy(pixels(0, COUNT, 3, 9, 8))
TARGETS = torch.arange(COUNT) % CLASSES


def transform_of(images: torch.Tensor = IMAGES, scale: float = 1.0, **changes: object) -> ImageTransform:
    chosen = AugmentationSettings(**{**OFF, **changes})
    stored = (images, torch.nn.functional.one_hot(TARGETS, CLASSES).float()) if chosen.mixes else None
    channels = images.shape[1]
    made = ImageTransform([0.0] * channels, [scale] * channels, Augmentation(chosen, *images.shape[2:]), stored)
    return made.seeded(11)


def of(transform: ImageTransform, places: torch.Tensor, epoch: int | None, images: torch.Tensor = IMAGES) -> Batch:
    return transform(Batch(images[places], TARGETS[places]), places, epoch)


EVERYWHERE = torch.arange(COUNT)


@pytest.mark.parametrize("changes", [*EACH.values(), ALL], ids=[*EACH, "all"])
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, COUNT - 1), max_size=6), order=st.randoms(), epoch=st.integers(0, 1000))
def test_batches_of_any_size_and_order_augment_each_sample_the_same(changes, cuts, order, epoch):
    transform = transform_of(**changes)
    whole = of(transform, EVERYWHERE, epoch)
    shuffled = list(range(COUNT))
    order.shuffle(shuffled)
    for places in torch.tensor(shuffled).tensor_split(sorted(set(cuts))):
        part = of(transform, places, epoch)
        assert torch.equal(part.inputs, whole.inputs[places])
        assert torch.equal(part.targets, whole.targets[places])


@pytest.mark.parametrize("changes", EACH.values(), ids=EACH)
def test_another_epoch_and_another_seed_augment_otherwise(changes):
    transform = transform_of(**changes)
    first = of(transform, EVERYWHERE, 0).inputs
    assert torch.equal(of(transform.seeded(11), EVERYWHERE, 0).inputs, first)
    assert not torch.equal(of(transform, EVERYWHERE, 1).inputs, first)
    assert not torch.equal(of(transform.seeded(12), EVERYWHERE, 0).inputs, first)
    assert not torch.equal(first, IMAGES.float())


def test_evaluation_does_not_augment():
    batch = of(transform_of(scale=2.0, **ALL), EVERYWHERE, None)
    assert torch.equal(batch.inputs, IMAGES / 2)
    assert torch.equal(batch.targets, TARGETS)


def test_only_the_training_batches_are_augmented():
    part = (IMAGES.numpy(), TARGETS.numpy())
    chosen = AugmentationSettings(**{**OFF, "mixup": 1.0, "crop_padding": 2})
    data = image_data(part, part, part, tuple("abcde"), scaling="minmax", augmentation=chosen)
    plain = IMAGES / 255
    for source, seed, augmented in (
        (data.train, 0, True),
        (data.train, None, False),
        (data.validation, None, False),
        (data.test, None, False),
    ):
        batches = list(source.split(batch_size=10, seed=seed, device="cpu").batches(0))
        same = torch.allclose(torch.cat([batch.inputs for batch in batches]), plain)
        assert same is not augmented
        assert batches[0].targets.ndim == (2 if augmented else 1)
    assert torch.allclose(data.train.head(COUNT).inputs, plain)


def test_a_run_that_starts_in_the_middle_of_an_epoch_gets_the_same_batches():
    split = Samples(IMAGES, TARGETS, transform=transform_of(**ALL)).split(batch_size=5, seed=4, device="cpu")
    whole = list(split.batches(3))
    for batch, expected in zip(split.batches(3, start=4), whole[4:], strict=True):
        assert torch.equal(batch.inputs, expected.inputs) and torch.equal(batch.targets, expected.targets)


def test_a_flip_mirrors_about_every_other_image():
    flipped = of(transform_of(flip=True), EVERYWHERE, 0).inputs
    images = IMAGES.float()
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 8 < int(mirrored.sum()) < 29


def test_a_crop_is_a_window_of_the_padded_image():
    padding = 3
    cropped = of(transform_of(crop_padding=padding), EVERYWHERE, 0).inputs
    padded = torch.nn.functional.pad(IMAGES.float(), (padding,) * 4)
    windows = padded.unfold(2, 9, 1).unfold(3, 8, 1)  # (N, C, 7, 7, 9, 8)
    places = set()
    for image, options in zip(cropped, windows, strict=True):
        found = (options == image[:, None, None]).flatten(3).all(3).all(0).nonzero().tolist()
        assert len(found) == 1
        places.add(tuple(found[0]))
    assert len(places) > 20


def test_a_rotation_by_no_angle_and_a_quarter_turn():
    image = IMAGES[:, :, :8, :8]
    still = transform_of(image, rotation=1e-6)
    assert torch.allclose(of(still, EVERYWHERE, 0, image).inputs, image.float(), atol=1e-2)
    turn = transform_of(image, rotation=90.0)
    turn._augmentation._turns[:] = torch.tensor([0.0, 1.0])
    assert torch.allclose(of(turn, EVERYWHERE, 0, image).inputs, image.float().rot90(1, (2, 3)), atol=1e-2)


def test_cutout_blanks_a_square_with_the_mean():
    images = torch.full((COUNT, 1, 20, 20), 200, dtype=torch.uint8)
    cut = of(transform_of(images, cutout=6), EVERYWHERE, 0, images).inputs[:, 0]
    blanked = (cut == 0).flatten(1).sum(1)
    assert int(blanked.max()) == 36 and int(blanked.min()) >= 9  # at a corner a quarter is left
    assert set(cut.unique().tolist()) == {0.0, 200.0}


def test_colours_stay_in_range_and_no_change_is_no_change():
    changed = of(transform_of(brightness=0.9, contrast=0.9, saturation=0.9), EVERYWHERE, 0).inputs
    assert float(changed.min()) >= 0 and float(changed.max()) <= 255
    barely = of(transform_of(brightness=1e-6, contrast=1e-6, saturation=1e-6), EVERYWHERE, 0).inputs
    assert torch.allclose(barely, IMAGES.float(), atol=1e-2)


def test_brightness_multiplies_contrast_stretches_around_the_mean_and_saturation_keeps_the_grey():
    images = (IMAGES.float() / 4 + 96).to(torch.uint8)  # far from the limits
    places, values = EVERYWHERE, images.float()
    bright = of(transform_of(images, brightness=0.2), places, 0, images).inputs
    ratio = (bright / values).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-5)
    assert 0.8 <= float(ratio.min()) < 0.9 and 1.1 < float(ratio.max()) <= 1.2
    weights = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    contrast = of(transform_of(images, contrast=0.2), places, 0, images).inputs
    mean = (values * weights).sum(1).mean((1, 2))
    assert torch.allclose((contrast * weights).sum(1).mean((1, 2)), mean, rtol=1e-5)
    colour = of(transform_of(images, saturation=0.2), places, 0, images).inputs
    assert torch.allclose((colour * weights).sum(1), (values * weights).sum(1), rtol=1e-5)
    assert not torch.allclose(colour, values)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_mixes_targets_as_it_mixes_images(kind):
    # Each class is a grey value of its own, so that the image tells what the target must be.
    greys = torch.tensor([0, 50, 100, 150, 200], dtype=torch.uint8)
    images = greys[TARGETS][:, None, None, None].expand(-1, 1, 9, 8).contiguous()
    batch = of(transform_of(images, **{kind: 1.0}), EVERYWHERE, 0, images)
    assert batch.targets.dtype == torch.float32 and batch.targets.shape == (COUNT, CLASSES)
    assert torch.allclose(batch.targets.sum(1), torch.ones(COUNT))
    assert torch.allclose(batch.inputs.mean((1, 2, 3)), batch.targets @ greys.float(), atol=1e-3)
    assert int((batch.targets > 0).sum(1).max()) == 2
    own = batch.targets[EVERYWHERE, TARGETS]
    assert 0.2 < float(own.mean()) < 0.9
    if kind == "cutmix":
        assert set(batch.inputs.unique().tolist()) <= set(greys.float().tolist())


def test_with_both_each_image_is_either_blended_or_pasted():
    greys = torch.tensor([0, 50, 100, 150, 200], dtype=torch.uint8)
    images = greys[TARGETS][:, None, None, None].expand(-1, 1, 9, 8).contiguous()
    mixed = of(transform_of(images, mixup=1.0, cutmix=1.0), EVERYWHERE, 0, images)
    pasted = torch.isin(mixed.inputs, greys.float()).flatten(1).all(1)
    assert 5 < int(pasted.sum()) < COUNT - 5
    assert torch.allclose(mixed.inputs.mean((1, 2, 3)), mixed.targets @ greys.float(), atol=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_mixing_shares_follow_the_beta_distribution(alpha):
    quantiles = beta_quantiles(alpha, 4096)
    assert np.all(np.diff(quantiles) >= 0) and quantiles[0] >= 0 and quantiles[-1] <= 1
    assert quantiles.mean() == pytest.approx(0.5)
    assert quantiles.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=2e-3)
    if alpha == 1.0:
        assert np.allclose(quantiles, (np.arange(4096) + 0.5) / 4096)
    drawn = np.sort(np.random.default_rng(0).beta(alpha, alpha, 200_000))
    assert np.allclose(
        np.interp((np.arange(4096) + 0.5) / 4096, np.linspace(0, 1, 200_000), drawn), quantiles, atol=0.01
    )
