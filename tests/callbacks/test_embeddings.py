"""What the projector is given: the vectors are the model's, each with its own label, and a run has them once."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from killing import assert_same
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from training import build_trainer, resume, train

from dltrain.errors import ConfigError

IRIS = ("data=iris", "model=mlp", "model.hidden=[7]", "trainer.batch_size=32", "trainer.max_epochs=2")


def shown(folder: Path) -> dict[str, tuple[np.ndarray, list[dict[str, str]], Image.Image | None]]:
    """Returns the vectors, labels and picture that the projector shows, by their title, as its server reads them."""
    config = text_format.Parse(
        (folder / "tensorboard" / "projector_config.pbtxt").read_text("utf-8"), ProjectorConfig()
    )
    found = {}
    for entry in config.embeddings:
        lines = (folder / "tensorboard" / entry.tensor_path).read_text("utf-8").splitlines()
        vectors = np.array([[float(cell) for cell in line.split("\t")] for line in lines], dtype="float32")
        assert vectors.shape == tuple(entry.tensor_shape) and np.isfinite(vectors).all()
        text = (folder / "tensorboard" / entry.metadata_path).read_text("utf-8")
        labels = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
        assert len(labels) == len(vectors) and all(line.strip() and "\t" in line for line in text.splitlines())
        picture = None
        if entry.sprite.image_path:
            picture = Image.open(io.BytesIO((folder / "tensorboard" / entry.sprite.image_path).read_bytes()))
            columns = picture.width // entry.sprite.single_image_dim[0]
            assert columns * columns >= len(vectors) and picture.width % columns == 0
        assert entry.tensor_name not in found
        found[entry.tensor_name] = (vectors, labels, picture)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted((folder / "tensorboard" / "projector").iterdir())}
    return {**found, "list": (folder / "tensorboard" / "projector_config.pbtxt").read_bytes()}


def test_samples_stand_where_the_last_hidden_layer_puts_them(tmp_path):
    trainer = build_trainer(tmp_path, *IRIS, callbacks=("embeddings",))
    trainer.fit()
    ((title, (vectors, labels, picture)),) = shown(tmp_path).items()
    assert title == "last hidden layer, before layers.3 (epoch 2, the newest)" and picture is None
    (batch,) = trainer.validation.batches(0)
    hidden = trainer.model.layers[:3](batch.inputs)
    assert vectors == pytest.approx(hidden.detach().numpy(), rel=1e-5, abs=1e-6)
    names = ("setosa", "versicolor", "virginica")
    chances, predicted = trainer.model(batch.inputs).softmax(dim=1).max(dim=1)
    for place, label in enumerate(labels):
        assert list(label)[:3] == ["true", "predicted", "probability"] and label["index"] == str(place)
        assert label["true"] == names[batch.targets[place]] and label["predicted"] == names[predicted[place]]
        assert float(label["probability"]) == pytest.approx(chances[place].item(), abs=1e-4)
        assert label["right"] == ("right" if label["true"] == label["predicted"] else "wrong")
        assert len(label) == 9  # the four features, too


CITIES = ("서울", "부산", "대구", "제주")


def tables() -> str:
    rows = (f"{i},{CITIES[i % 4]},{'ab'[i % 2]},{i % 3},{i * 2}\n" for i in range(80))
    return "나이,도시,kind,class,price\n" + "".join(rows)


def pairs() -> str:
    rows = (
        f"{'가나다라마'[i % 5]}{'바사아'[i % 3]} {i % 7},{'네' if i % 2 else '아니요'} {'가나'[i % 2]}\n"
        for i in range(40)
    )
    return "Q,A\n" + "".join(rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "표.csv").write_text(tables(), encoding="utf-8")
    (folder / "짝.csv").write_text(pairs(), encoding="utf-8")
    lines = [" ".join("가나다라마바사"[(i * k) % 7] for k in range(1, 6)) for i in range(30)]
    (folder / "줄.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


TABLE = ("data=csv", "data.path={files}/표.csv")
KINDS = {
    "regression": ((*TABLE, "data.target=price", "model=mlp", "model.dropout=0.5"), 1),
    "several targets": ((*TABLE, "data.target=[kind, class]", "data.task=classification", "model=mlp"), 1),
    "several inputs": (
        (
            *TABLE, "data.target=price", "data.inputs={{wide: [나이], deep: [나이, kind, 도시]}}",
            "data.categories=embedding", "model=wide_deep",
        ),
        3,
    ),
    "series": (("data=sine", "model=lstm"), 1),
    "convolutions": (
        (
            "data=digits", "model=convnet", "model.blocks=[8]", "model.block.norm=batch", "model.block.dropout=0.1",
            "model.hidden=[16]",
        ),
        1,
    ),
    "language model": (("data=korean_text", "model=lstm", "model.dropout=0.5"), 2),
    "stream": (
        (
            "data=text", "data.path={files}/줄.txt", "data.tokens=word", "data.form=stream", "data.block=4",
            "data.min_count=1", "model=gru", "model.hidden=8",
        ),
        2,
    ),
    "pairs": (
        (
            "data=pairs_csv", "data.path={files}/짝.csv", "data.source=Q", "data.target=A", "data.min_count=1",
            "model=seq2seq", "model.hidden=8", "model.embedding=4", "model.dropout=0.5",
        ),
        3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_and_the_training_does_not_notice(kind, files, tmp_path):
    words, count = KINDS[kind]
    words = (*(word.format(files=files) for word in words), "trainer.max_epochs=2")
    run = train(tmp_path / "with", *words, "callbacks.embeddings.every_epochs=1", callbacks=("embeddings",))
    plain = train(tmp_path / "without", *words)
    assert_same(run.trainer.model.state_dict(), plain.trainer.model.state_dict())
    assert_same(run.trainer.state_dict()["random"], plain.trainer.state_dict()["random"])
    titles = list(shown(tmp_path / "with"))
    assert len(titles) == 2 * count and sum(title.startswith("last hidden layer") for title in titles) == 2


def test_a_model_without_layers_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, "data=iris", "model=knn", callbacks=("embeddings",))
    assert str(caught.value) == (
        "callbacks.embeddings: model.name = 'knn' has neither layers nor embeddings, so that there is nothing to "
        "show. Leave it out, or take another model"
    )


def test_tokens_stand_at_their_own_vectors(tmp_path):
    outcome = train(
        tmp_path, "data=korean_text", "data.tokens=syllable", "model=gru", "trainer.max_epochs=1",
        "callbacks.embeddings.samples=0", callbacks=("embeddings",),
    )  # fmt: skip
    ((title, (vectors, labels, _)),) = shown(tmp_path).items()
    assert title == "tokens (epoch 1, the newest)"
    weights = outcome.trainer.model.embedding.weight.detach()
    known = outcome.parts.data.preprocessing["vocabulary"]
    assert len(vectors) == len(known) and " " in known
    for label, vector in zip(labels, vectors, strict=True):
        number = int(label["number"])
        assert vector == pytest.approx(weights[number].numpy(), rel=1e-5, abs=1e-7)
        assert label["token"] == known[number - 1].replace(" ", "␣")  # a space alone would shift all labels behind it


def test_the_most_frequent_tokens_are_shown_where_there_are_many(tmp_path):
    train(
        tmp_path, "data=korean_text", "model=gru", "trainer.max_epochs=1", "callbacks.embeddings.tokens=4",
        "callbacks.embeddings.samples=0", callbacks=("embeddings",),
    )  # fmt: skip
    ((_, labels, _),) = shown(tmp_path).values()
    assert [label["number"] for label in labels] == ["1", "2", "3", "4"]


def test_categories_stand_at_their_own_vectors(files, tmp_path):
    outcome = train(
        tmp_path, "data=csv", f"data.path={files}/표.csv", "data.target=class", "data.task=classification",
        "data.categories=embedding", "model=mlp", "trainer.max_epochs=1", callbacks=("embeddings",),
    )  # fmt: skip
    found = shown(tmp_path)
    vectors, labels, _ = found["values of 도시 (epoch 1, the newest)"]
    assert labels[0]["도시"] == "any other" and {label["도시"] for label in labels[1:]} == set(CITIES)
    columns = next(m for m in outcome.trainer.model.modules() if type(m).__name__ == "Columns")
    weight = columns.embeddings[0].weight.detach().numpy()
    assert vectors[:, : weight.shape[1]] == pytest.approx(weight, rel=1e-5, abs=1e-7)
    assert "values of kind (epoch 1, the newest)" in found


def test_images_have_their_own_picture(tmp_path):
    trainer = build_trainer(
        tmp_path, "data=digits", "model=lenet5", "trainer.max_epochs=1", "callbacks.embeddings.samples=50",
        callbacks=("embeddings",),
    )  # fmt: skip
    trainer.fit()
    ((_, (vectors, labels, picture)),) = shown(tmp_path).items()
    places = [int(label["index"]) for label in labels]
    images = trainer.callbacks["embeddings"].context.data.validation.inputs
    assert len(vectors) == 50 and places[0] == 0 and places[-1] == len(images) - 1
    assert picture.size == (64, 64)  # 8 x 8 images of 8 x 8
    for number in (0, 9, 49):
        left, top = number % 8 * 8, number // 8 * 8
        shade = np.asarray(picture.crop((left, top, left + 8, top + 8)))[..., 0].astype(float)
        own = images[places[number], 0].float().numpy()
        assert np.corrcoef(shade.flatten(), own.flatten())[0, 1] > 0.999


# --- when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", ["null", "1", "2"])
def test_a_resumed_or_extended_run_has_what_an_uninterrupted_one_has(every, tmp_path):
    common = (*IRIS[:4], f"callbacks.embeddings.every_epochs={every}", "callbacks.checkpoint.min_seconds=0")
    callbacks = ("embeddings", "checkpoint")
    train(tmp_path / "parts", *common, "trainer.max_steps=5", callbacks=callbacks)  # in the middle of an epoch
    for limit in (5, 6, 12):
        resume(tmp_path / "parts", f"trainer.max_steps={limit}")
    train(tmp_path / "whole", *common, "trainer.max_steps=12", callbacks=callbacks)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    epochs = {"null": [4], "1": [4, 3, 2, 1], "2": [4, 2]}[every]
    titles = list(shown(tmp_path / "parts"))
    assert titles[0].endswith(f"(epoch {epochs[0]}, the newest)")
    assert titles[1:] == [f"last hidden layer, before layers.3, epoch {epoch}" for epoch in epochs[1:]]


def test_at_the_end_the_average_of_the_weights_is_shown(tmp_path):
    trainer = build_trainer(tmp_path, *IRIS, "callbacks.ema.decay=0.9", callbacks=("embeddings", "ema"))
    trainer.test = None
    trainer.fit()  # which ends with the average in place
    (batch,) = trainer.validation.batches(0)
    ((vectors, _, _),) = shown(tmp_path).values()
    assert vectors == pytest.approx(trainer.model.layers[:3](batch.inputs).detach().numpy(), rel=1e-5, abs=1e-6)


def test_a_model_of_one_layer_shows_what_goes_into_it(tmp_path):
    train(tmp_path, "data=iris", "model=linear", "trainer.max_epochs=1", callbacks=("embeddings",))
    assert list(shown(tmp_path)) == ["inputs of layer (epoch 1, the newest)"]


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(
            tmp_path, *IRIS, "callbacks.embeddings.samples=0", "callbacks.embeddings.tokens=0",
            callbacks=("embeddings",),
        )  # fmt: skip
    assert str(caught.value) == (
        "callbacks.embeddings: with samples = 0 and tokens = 0 there is nothing to show. Give one of them, or leave it "
        "out"
    )


def test_a_folder_that_cannot_be_written_is_said_and_does_not_end_the_training(tmp_path, caplog):
    trainer = build_trainer(tmp_path, *IRIS, "callbacks.embeddings.every_epochs=1", callbacks=("embeddings",))
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "projector").write_text("a file where the folder should be")
    trainer.fit()
    assert trainer.state.epoch == 2
    (warning,) = caplog.messages
    assert warning.startswith(f"nothing more is written to {tmp_path}/tensorboard/projector: ")
