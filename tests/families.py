"""Small trainings of many families, for tests that interrupt them; and the files that they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# The eight of the fault suite. Among them are dropout, batch norm, schedules, early stopping, accumulated gradients,
# clipping, moving averages, augmentation, several targets, and keep_best and keep_last above 1. A few dozen steps each.
FAMILIES = {
    "mlp": [
        "model=mlp",
        "model.hidden=[32]",
        "model.norm=batch",
        "model.dropout=0.2",
        "data=digits",
        "optimizer.lr=0.01",
        "scheduler=cosine",
        "trainer.batch_size=256",
        "trainer.max_epochs=9",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_change=0.25",
    ],
    "wide_and_deep": [
        "model=wide_deep",
        "model.hidden=[8]",
        "data=csv",
        "data.path={files}/table.csv",
        "data.target=[price, sold]",
        "data.inputs={{wide: [age], deep: [age, kind]}}",
        "data.categories=embedding",
        "optimizer=adamw",
        "trainer.batch_size=4",
        "trainer.accumulate=3",
        "trainer.clip_norm=1",
        "trainer.max_epochs=6",
        "callbacks.checkpoint.keep_last=3",
    ],
    "cnn_with_batch_norm": [
        "model=convnet",
        "model.blocks=[8]",
        "model.block.norm=batch",
        "model.block.dropout=0.1",
        "model.hidden=[16]",
        "data=digits",
        "scheduler=exponential",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "trainer.batch_size=256",
        "trainer.max_epochs=6",
        "callbacks=[default,histograms]",
    ],
    "resnet": [
        "model=resnet",
        "model.form=cifar",
        "model.depth=8",
        "data=image_folder",
        "data.path={files}/images",
        "data.augmentation.flip=true",
        "scheduler=one_cycle",
        "trainer.batch_size=16",
        "trainer.max_epochs=6",
    ],
    "lstm": [
        "model=lstm",
        "model.hidden=32",
        "model.layers=2",
        "model.dropout=0.3",
        "data=korean_text",
        "scheduler=cosine_restarts",
        "scheduler.period=3",
        "trainer.batch_size=4",
        "trainer.max_epochs=10",
        "trainer.evaluate_every_steps=4",
    ],
    "bidirectional_gru": [
        "model=gru",
        "model.hidden=16",
        "model.bidirectional=true",
        "model.layers=2",
        "model.dropout=0.2",
        "data=korean_text",
        "optimizer=rmsprop",
        "trainer.batch_size=4",
        "trainer.max_epochs=10",
        "callbacks.checkpoint.keep_best=3",
    ],
    "text_classes": [
        "model=lstm",
        "model.hidden=16",
        "model.dropout=0.2",
        "data=text_csv",
        "data.path={files}/reviews.csv",
        "data.tokens=syllable",
        "callbacks=[default,ema]",
        "callbacks.ema.decay=0.9",
        "trainer.batch_size=16",
        "trainer.max_epochs=7",
    ],
    "augmented_images": [
        "model=mlp",
        "model.hidden=[16]",
        "model.norm=batch",
        "data=image_folder",
        "data.path={files}/images",
        "data.augmentation={{crop_padding: 2, flip: true, rotation: 20, cutout: 3, brightness: 0.2, mixup: 0.4}}",
        "trainer.batch_size=12",
        "trainer.max_epochs=6",
    ],
}

# What else keeps a state of its own.
OTHERS = {
    "lbfgs": [
        "model=linear",
        "data=iris",
        "optimizer=lbfgs",
        "trainer.batch_size=40",
        "trainer.max_epochs=4",
    ],
    "drawn_rows": [
        "model=mlp",
        "model.hidden=[8]",
        "data=csv",
        "data.path={files}/table.csv",
        "data.target=sold",
        "data.sampling=balanced",
        "trainer.batch_size=8",
        "trainer.max_epochs=6",
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
    "streamed": [
        "model=mlp",
        "model.hidden=[8]",
        "data=parquet_shards",
        "data.path={files}/shards",
        "data.target=y",
        "data.columns=[x0,x1,city]",
        "data.buffer=60",
        "data.workers=0",
        "trainer.batch_size=64",
        "trainer.max_epochs=6",
    ],
}


def overrides_of(family: str, files: Path) -> list[str]:
    """Returns the command line of a family.

    Args:
        files: the folder that ``write_files`` filled.
    """
    return [word.format(files=files) for word in {**FAMILIES, **OTHERS}[family]]


def write_files(folder: Path) -> Path:
    """Writes a table, images, texts and shards."""
    from PIL import Image
    from shards import write_parquet

    generator = np.random.default_rng(0)
    table, reviews = ["age,kind,price,sold"], ["text,label"]
    for number in range(90):
        sold = "yes" if number % 4 == 0 else "no"
        table.append(f"{generator.normal(40, 9):.2f},{['집', '땅', '배'][number % 3]},{generator.normal(9):.3f},{sold}")
        codes = generator.integers(0, 20, generator.integers(2, 20)) + 10 * (number % 2)
        reviews.append(f"{''.join(chr(0xAC00 + code) for code in codes)},{number % 2}")
        image = Image.fromarray(generator.integers(60 * (number % 3), 136 + 60 * (number % 3), (12, 12, 3), np.uint8))
        path = folder / "images" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (folder / "table.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    (folder / "reviews.csv").write_text("\n".join(reviews) + "\n", encoding="utf-8")
    write_parquet(folder / "shards", shards=2, rows=200, row_group=25)
    return folder
