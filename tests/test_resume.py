"""A run that is killed and resumed gives the same bits as one that never was."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest
from killing import EVERY_STEP, assert_same, duration, train, train_with_kills, what_counts

FAMILIES = {
    "linear": [
        "model=linear",
        "data=iris",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "trainer.max_epochs=12",
    ],
    "mlp": [
        "model=mlp",
        "data=digits",
        "model.norm=batch",
        "model.dropout=0.2",
        "scheduler=cosine",
        "trainer.batch_size=128",
        "trainer.max_epochs=5",
        "callbacks.early_stopping.patience=3",
    ],
    "mlp_accumulating": [
        "model=mlp",
        "data=digits",
        "optimizer=adamw",
        "trainer.batch_size=64",
        "trainer.accumulate=3",
        "trainer.clip_norm=1",
        "trainer.max_epochs=6",
        "callbacks.tensorboard.histograms_every_epochs=2",
    ],
    "rnn": [
        "model=rnn",
        "data=korean_text",
        "trainer.batch_size=4",
        "trainer.max_epochs=14",
        "model.dropout=0.3",
    ],
    "lstm": [
        "model=lstm",
        "data=korean_text",
        "trainer.batch_size=4",
        "trainer.max_epochs=14",
        "scheduler=one_cycle",
    ],
    "gru": [
        "model=gru",
        "data=korean_text",
        "model.bidirectional=true",
        "model.layers=2",
        "model.dropout=0.2",
        "optimizer=rmsprop",
        "trainer.batch_size=3",
        "trainer.max_epochs=12",
        "callbacks.checkpoint.keep_best=3",
    ],
    "lbfgs": [
        "model=linear",
        "data=iris",
        "optimizer=lbfgs",
        "trainer.batch_size=40",
        "trainer.max_epochs=10",
    ],
    "text": [
        "model=lstm",
        "model.hidden=16",
        "model.bidirectional=true",
        "model.dropout=0.2",
        "data=text_csv",
        "data.path={files}/reviews.csv",
        "data.tokens=syllable",
        "trainer.batch_size=8",
        "trainer.max_epochs=8",
    ],
    "augmented_images": [
        "model=mlp",
        "model.hidden=[16]",
        "model.norm=batch",
        "data=image_folder",
        "data.path={files}/images",
        "data.augmentation={{crop_padding: 2, flip: true, rotation: 20, cutout: 3, brightness: 0.2, mixup: 0.4}}",
        "trainer.batch_size=8",
        "trainer.max_epochs=8",
    ],
    "table_of_two_targets": [
        "model=wide_deep",
        "model.hidden=[8]",
        "data=csv",
        "data.path={files}/table.csv",
        "data.target=[price, sold]",
        "data.inputs={{wide: [age], deep: [age, kind]}}",
        "data.categories=embedding",
        "trainer.batch_size=8",
        "trainer.max_epochs=12",
    ],
    "drawn_rows": [
        "model=mlp",
        "model.hidden=[8]",
        "data=csv",
        "data.path={files}/table.csv",
        "data.target=sold",
        "data.sampling=balanced",
        "trainer.batch_size=8",
        "trainer.max_epochs=12",
    ],
    "averaged_on_a_plateau_and_unfrozen": [
        "model=mlp",
        "model.hidden=[16,8]",
        "model.norm=batch",
        "model.freeze=[layers.1.*,layers.2.*]",
        "model.unfreeze_epoch=2",
        "data=digits",
        "callbacks=[default,ema]",
        "scheduler=plateau",
        "scheduler.patience=1",
        "scheduler.min_change=0.2",
        "trainer.batch_size=128",
        "trainer.max_epochs=5",
    ],
    "stochastic_weight_averaging": [
        "model=mlp",
        "model.hidden=[16]",
        "model.norm=batch",
        "data=digits",
        "callbacks=[default,swa]",
        "callbacks.swa.start_epoch=1",
        "scheduler=cosine_restarts",
        "scheduler.period=2",
        "trainer.batch_size=128",
        "trainer.max_epochs=6",
        "trainer.evaluate_every_steps=4",
    ],
}
QUICK = ("mlp", "text", "augmented_images", "averaged_on_a_plateau_and_unfrozen")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, images and texts."""
    from PIL import Image

    folder, generator = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    table, reviews = ["age,kind,price,sold"], ["text,label"]
    for number in range(90):
        sold = "yes" if number % 4 == 0 else "no"
        table.append(f"{generator.normal(40, 9):.2f},{['집', '땅', '배'][number % 3]},{generator.normal(9):.3f},{sold}")
        syllables = "".join(chr(0xAC00 + code) for code in generator.integers(0, 30, generator.integers(2, 20)))
        reviews.append(f"{syllables},{number % 2}")
        image = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        path = folder / "images" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (folder / "table.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    (folder / "reviews.csv").write_text("\n".join(reviews) + "\n", encoding="utf-8")
    return folder


def check_family(folder: Path, files: Path, family: str, kills: int) -> int:
    """Compares an uninterrupted run with ones that are killed at random, twice each, until so many kills hit.

    Returns:
        How many did; fewer where many trials ended before their kill.
    """
    overrides = [*EVERY_STEP, *(word.format(files=files) for word in FAMILIES[family])]
    seconds = duration(folder / "whole", overrides)
    whole = what_counts(folder / "whole")
    generator = random.Random(family)
    hits = 0
    for trial in range(2 * kills):
        instants = [generator.uniform(0.05, 0.9) * seconds for _ in range(2)]
        killed = folder / f"killed-{trial}"
        hit = train_with_kills(killed, overrides, instants)
        hits += hit
        if not hit:
            seconds *= 0.8  # the machine was busier when the whole run was timed
        assert_same(whole, what_counts(killed))
        if hits >= kills:
            break
    return hits


@pytest.mark.parametrize("family", QUICK)
def test_a_killed_run_resumes_to_the_same_bits(family: str, tmp_path: Path, files: Path) -> None:
    assert check_family(tmp_path, files, family, kills=1) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_kills_of_each_family_change_nothing(family: str, tmp_path: Path, files: Path) -> None:
    assert check_family(tmp_path, files, family, kills=10) >= 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bits(number: int, tmp_path: Path) -> None:
    overrides = [*EVERY_STEP, *FAMILIES["mlp"], "callbacks.checkpoint.every_steps=null"]
    seconds = duration(tmp_path / "whole", overrides)
    for share in (0.3, 0.3):
        code = train(tmp_path / "stopped", overrides, kill_after=share * seconds, number=number)
        assert code == 128 + number
    assert train(tmp_path / "stopped", overrides) == 0
    whole, stopped = what_counts(tmp_path / "whole"), what_counts(tmp_path / "stopped")
    assert_same(whole, stopped)


def test_a_finished_run_that_is_extended_and_killed_goes_on_to_its_new_end(tmp_path: Path) -> None:
    overrides = [*EVERY_STEP, *FAMILIES["rnn"]]
    longer = [*overrides, "trainer.max_epochs=40"]
    seconds = duration(tmp_path / "whole", longer)
    assert train(tmp_path / "extended", overrides) == 0
    code = train(tmp_path / "extended", overrides, resume_with=["trainer.max_epochs=40"], kill_after=0.3 * seconds)
    assert code == -signal.SIGKILL
    assert train(tmp_path / "extended", overrides) == 0
    whole, extended = what_counts(tmp_path / "whole"), what_counts(tmp_path / "extended")
    assert_same(whole, extended)
