"""Small runs of every family of data, and the figures of what was predicted, for the tests of predictions."""

from __future__ import annotations

import contextlib
import csv
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import training

# By name: the settings of a run that trains in a second or two. Files stand in {files}.
RUNS = {
    "iris": ["data=iris"],
    "one_species": ["data=iris", "data.species=virginica"],
    "knn": ["data=iris", "model=knn"],
    "wine": ["data=wine", "model=mlp", "model.hidden=[8]"],
    "diabetes": ["data=diabetes", "model=ridge"],
    "digits": ["data=digits", "model=lenet5"],
    "gate": ["data=gate"],
    "line": ["data=line_noise", "model=linear"],
    "korean": ["data=csv", "data.path={files}/사람.csv", "data.test_path={files}/사람_시험.csv", "data.target=등급"],
    "no_header": ["data=csv", "data.path={files}/plain.csv", "data.target=-1"],
    "strict_cells": ["data=csv", "data.path={files}/사람.csv", "data.target=소득", "data.empty=drop"],
    "poisson": ["data=csv", "data.path={files}/counts.csv", "data.target=n", "data.target_scaling=none",
                "loss=poisson"],
    "two_targets": ["data=csv", "data.path={files}/사람.csv", "data.target=[소득,등급]"],
    "wide_deep": [
        "data=csv", "data.path={files}/사람.csv", "data.target=등급", "data.categories=embedding", "model=wide_deep",
        "data.inputs={{wide: [나이], deep: [나이, 도시, 회원]}}", "model.hidden=[8]",
    ],
    "reviews": ["data=text_csv", "data.path={files}/평.csv", "data.test_path={files}/평_시험.csv",
                "data.tokens=syllable", "model=lstm", "model.hidden=8"],
    "bag": ["data=text_csv", "data.path={files}/평.csv", "data.test_path={files}/평_시험.csv", "data.form=counts"],
    "next": ["data=text", "data.path={files}/lines.txt", "data.tokens=syllable", "model=gru", "model.hidden=8"],
    "three_lines": ["data=korean_text", "model=rnn", "model.hidden=8"],
    "stream": ["data=text", "data.path={files}/lines.txt", "data.tokens=syllable", "data.form=stream", "data.block=16",
               "model=gru", "model.hidden=8"],
    "pairs": ["data=pairs_csv", "data.path={files}/pairs.csv", "data.min_count=1", "model=seq2seq", "model.hidden=16",
              "model.embedding=8"],
    "images": ["data=image_folder", "data.path={files}/images", "model=convnet", "model.blocks=[4]",
               "model.hidden=[8]"],
    "image_list": ["data=image_list", "data.path={files}/images", "data.size=8", "data.channels=1", "data.workers=0",
                   "model=mlp", "model.hidden=[8]"],
    "shards": ["data=parquet_shards", "data.path={files}/shards", "data.test_path={files}/new_shards", "data.target=y",
               "data.workers=0", "data.ignore=[id]", "model=mlp", "model.hidden=[8]"],
    "embedded_shards": ["data=parquet_shards", "data.path={files}/shards", "data.test_path={files}/new_shards",
                        "data.target=city", "data.workers=0", "data.ignore=[id]", "data.categories=embedding",
                        "model=mlp", "model.hidden=[8]"],
    "tars": ["data=tar_shards", "data.path={files}/tars", "data.test_path={files}/new_tars", "data.workers=0",
             "model=mlp", "model.hidden=[8]"],
    "series": ["data=series_csv", "data.path={files}/series.csv", "data.window=5", "data.horizon=2", "model=lstm",
               "model.hidden=8"],
    "changes": ["data=series_csv", "data.path={files}/series.csv", "data.window=5", "data.columns=[온도]",
                "data.target=[전력]", "data.differences=true", "model=lstm", "model.hidden=8"],
    "rises": ["data=series_csv", "data.path={files}/series.csv", "data.window=5", "data.task=classification",
              "model=mlp", "model.hidden=[8]"],
}  # fmt: skip

# What ``configs/train.yaml`` chooses where a run says nothing else.
_DEFAULTS = ("model=mlp", "optimizer=adam")


def train(name: str, files: Path, folder: Path) -> None:
    """Trains a run into a folder; without the command line, whose composing takes longer than most of them."""
    words = (word.format(files=files) for word in RUNS[name])
    training.train(folder, *_DEFAULTS, *words, "trainer.max_epochs=2", callbacks=("checkpoint",))


def rows_of(text: str) -> list[dict[str, str]]:
    """Returns the rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def figures(rows: list[dict[str, Any]], head: str = "") -> dict[str, float]:
    """Returns the accuracy, and the mean absolute error where numbers are predicted, of a split that was predicted."""
    before = f"{head}: " if head else ""
    if "steps" in rows[0]:
        return {"accuracy": sum(int(row["right"]) for row in rows) / sum(int(row["steps"]) for row in rows)}
    pairs = [
        (row[name], row[name.replace("true", "prediction")])
        for row in rows
        for name in row
        if name == f"{before}true" or name.startswith(f"{before}true: ")
    ]
    found = {"accuracy": float(np.mean([true == own for true, own in pairs]))}
    with contextlib.suppress(ValueError):
        found["mae"] = float(np.mean([abs(float(true) - float(own)) for true, own in pairs]))
    return found


# --- files ------------------------------------------------------------------------------------------------


def write_files(folder: Path) -> Path:
    """Writes a table, texts, images, shards and a series, each with a part for the test."""
    from shards import write_parquet, write_tars

    generator = np.random.default_rng(7)
    for name, count in (("사람.csv", 150), ("사람_시험.csv", 60)):
        (folder / name).write_text("\n".join(people(generator, count)) + "\n", encoding="utf-8")
    plain = (f"{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for a, b in generator.normal(0, 1, (80, 2)))
    (folder / "plain.csv").write_text("\n".join(plain) + "\n", encoding="utf-8")
    counts = (f"{a:.3f},{generator.poisson(np.exp(1 + a)) / 2}" for a in generator.normal(0, 0.5, 90))
    (folder / "counts.csv").write_text("a,n\n" + "\n".join(counts) + "\n", encoding="utf-8")
    for name, count in (("평.csv", 120), ("평_시험.csv", 50)):
        (folder / name).write_text("\n".join(["text,label", *reviews(generator, count)]) + "\n", encoding="utf-8")
    lines = ("".join(map(_letter, generator.integers(0, 30, generator.integers(3, 12)))) for _ in range(60))
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = (f"질문{k % 7} 왜{k % 5} 가,대답{k % 7} 그냥{k % 3}" for k in range(60))
    (folder / "pairs.csv").write_text("source,target\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    _write_images(folder / "images", generator)
    write_parquet(folder / "shards", shards=2, rows=100, row_group=25)
    write_parquet(folder / "new_shards", shards=1, rows=70, row_group=30)
    write_tars(folder / "tars", shards=2, samples=30)
    write_tars(folder / "new_tars", shards=1, samples=20)
    _write_series(folder / "series.csv", generator)
    return folder


def people(generator: np.random.Generator, count: int) -> list[str]:
    """Returns a table in Korean: numbers with empty cells, categories, yes and no, and three classes."""
    rows = ["이름,나이,도시,소득,회원,등급"]
    for number in range(count):
        age = "" if number % 20 == 7 else str(generator.integers(20, 70))
        city = ["서울", "부산", "대 구", '"인천, 남동"'][int(generator.integers(0, 4))]
        income = f"{generator.normal(300, 50):.1f}"
        member, grade = ["Y", "N"][number % 2], ["하", "중", "상"][int(generator.integers(0, 3))]
        rows.append(f"사람{number},{age},{city},{income},{member},{grade}")
    return rows


def reviews(generator: np.random.Generator, count: int) -> list[str]:
    """Returns rows of a text and its class: bad ones have other letters than good ones."""
    rows = []
    for number in range(count):
        codes = generator.integers(0, 20, generator.integers(2, 20)) + 10 * (number % 2)
        rows.append(f"{''.join(map(_letter, codes))},{['나쁨', '좋음'][number % 2]}")
    return rows


def _letter(code: int) -> str:
    return chr(0xAC00 + int(code))


def _write_images(folder: Path, generator: np.random.Generator) -> None:
    from PIL import Image

    for part, count in (("train", 40), ("test", 25)):
        for number in range(count):
            shade = number % 2
            pixels = generator.integers(80 * shade, 176 + 80 * shade, (12, 12, 3), np.uint8)
            path = folder / part / f"종류{shade}" / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def _write_series(path: Path, generator: np.random.Generator) -> None:
    rows = ["날짜,온도,전력"]
    for number in range(120):
        day, heat = date(2025, 1, 1) + timedelta(number), 20 + 5 * np.sin(number / 5) + generator.normal()
        rows.append(f"{day},{heat:.2f},{100 + number + generator.normal():.2f}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
