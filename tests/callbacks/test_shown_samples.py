"""``predictions`` and ``worst_errors``: what they show is what the model says, and the training does not notice."""

from __future__ import annotations

import csv
import html
import io
import itertools
import math

import markdown as tensorboard_markdown
import pytest
import torch
from families import overrides_of, write_files
from killing import assert_same
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import NameOnly, build_trainer, resume, train, without_times

from dltrain import registry
from dltrain.data import IGNORED, Data, InputSpec, Samples, Task
from dltrain.errors import ConfigError
from dltrain.evaluate import outputs_of
from dltrain.text_tables import markdown

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
NO_GRAPH = "callbacks.tensorboard.graph=false"
BOTH = ("predictions", "worst_errors", "loss_ratio")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("files"))
    pairs = [
        f"{'가나다라마'[i % 5]}{'바사아'[i % 3]} {i % 7},{'네' if i % 2 else '아니요'} {'가나다라마'[i % 5]}"
        for i in range(40)
    ]
    (folder / "pairs.csv").write_text("Q,A\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    lines = [" ".join("가나다라마바사"[(i * k) % 7] for k in range(1, 6)) for i in range(30)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def steps():
    """Data with a class at each step, as ``data=steps``."""

    def build(settings) -> Data:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(40, 6, 3, generator=generator)
        targets = (inputs[:, :, 0] > 0).long() + 1
        targets[::4, 3:] = IGNORED
        task = Task("sequence_labels", InputSpec((6, 3)), 3, ("-", "짝", "홀"), per_step=True)
        return Data(task, Samples(inputs, targets), Samples(inputs[:20], targets[:20]), None)

    registry.register("data", "steps", NameOnly)(build)


def read_csv(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def events(folder) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "tensors": 0}).Reload()


def texts(folder, tag) -> dict[int, str]:
    """Returns each text by its step, read by the part of TensorBoard that serves them."""
    found = plugin_event_accumulator.EventAccumulator(str(folder / "tensorboard"), tensor_size_guidance={"text": 0})
    found = found.Reload().Tensors(f"{tag}/text_summary")
    assert len({event.step for event in found}) == len(found)
    return {event.step: event.tensor_proto.string_val[0].decode() for event in found}


def files_of(folder) -> dict[str, bytes]:
    return {
        f"{kind}/{path.name}": path.read_bytes()
        for kind in ("predictions", "worst_errors")
        for path in sorted((folder / kind).iterdir())
    }


# --- the training does not notice -------------------------------------------------------------------------

SMALL = {
    "table": ["data=iris", "model=mlp", "model.dropout=0.5", "model.norm=batch", "trainer.batch_size=32"],
    "regression": ["data=diabetes", "model=mlp", "model.dropout=0.5", "loss=huber"],
    "seq2seq": ["data=pairs_csv", "data.path={files}/pairs.csv", "data.source=Q", "data.target=A", "data.min_count=1",
                "model=seq2seq", "model.hidden=8", "model.embedding=4", "model.dropout=0.5"],
    "language_model": ["data=text", "data.path={files}/lines.txt", "data.tokens=word", "data.form=stream",
                       "data.block=4", "model=lstm", "model.hidden=8", "data.min_count=1"],
    "sequence_labels": ["data=steps", "model=gru", "model.hidden=8", "model.dropout=0.5"],
    "ctc": ["data=steps", "model=gru", "model.hidden=8", "loss=ctc", "loss.zero_infinity=true"],
    "fitted": ["data=iris", "model=knn"],
}  # fmt: skip
FROM_FAMILIES = ("wide_and_deep", "cnn_with_batch_norm", "lstm", "text_classes", "augmented_images", "streamed")


def family(name, files) -> list[str]:
    words = [word.format(files=files) for word in SMALL[name]] if name in SMALL else overrides_of(name, files)
    words = [word for word in words if not word.startswith(("callbacks", "trainer.max_epochs", "data.augmentation="))]
    words += ["data.augmentation.flip=true", "data.augmentation.mixup=0.4"] if name == "augmented_images" else []
    return [*words, "trainer.max_epochs=2"]


@pytest.mark.parametrize("name", [*SMALL, *FROM_FAMILIES])
def test_a_training_with_them_has_the_same_bits(name, files, steps, tmp_path, monkeypatch):
    if name in ("sequence_labels", "ctc"):
        monkeypatch.setattr("dltrain.config_files.options", with_steps(files, monkeypatch))
    words = family(name, files)
    run = train(tmp_path / "with", *words, "callbacks.predictions.temperature=0.7", callbacks=BOTH)
    plain = train(tmp_path / "without", *words)
    assert_same(run.trainer.model.state_dict(), plain.trainer.model.state_dict())
    assert_same(run.trainer.step.optimizer.state_dict(), plain.trainer.step.optimizer.state_dict())
    assert_same(run.trainer.test_figures, plain.trainer.test_figures)
    state, other = run.trainer.state_dict(), plain.trainer.state_dict()
    assert_same(state["random"], other["random"])
    rows = without_times([run.trainer.row])[0]
    rows.pop("val_to_train/loss")
    assert_same(rows, without_times([plain.trainer.row])[0])
    assert {f.rpartition("/")[0] for f in files_of(tmp_path / "with")} == {"predictions", "worst_errors"}


def with_steps(files, monkeypatch):
    """Returns ``config_files.options`` with a YAML file for ``data=steps``."""
    from dltrain import config_files

    plain = config_files.options
    path = files / "data" / "steps.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("# Steps\nname: steps\n", encoding="utf-8")
    return lambda group, search=(): {**plain(group, search), **({"steps": path} if group == "data" else {})}


@pytest.mark.parametrize("name", ["table", "language_model", "cnn_with_batch_norm"])
def test_the_mode_and_the_buffers_of_the_model_stay(name, files, tmp_path):
    trainer = build_trainer(tmp_path, *family(name, files), callbacks=BOTH)
    trainer.fit()
    trainer.model.train()
    first = next(trainer.model.children())
    first.eval()  # as a frozen layer may be
    modes = [module.training for module in trainer.model.modules()]
    state = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    for callback in trainer.callbacks.values():
        callback.on_validation_end(trainer)
    assert [module.training for module in trainer.model.modules()] == modes
    assert_same(trainer.model.state_dict(), state)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


# --- what is shown is so ----------------------------------------------------------------------------------


def test_the_worst_are_the_samples_with_the_largest_loss(tmp_path):
    words = (*RAGGED, "model=mlp", "trainer.evaluation_batch_size=4", "callbacks.worst_errors.samples=5")
    trainer = build_trainer(tmp_path, *words, "trainer.max_epochs=3", callbacks=("worst_errors",))
    trainer.test = None
    trainer.fit()
    whole = trainer.callbacks["worst_errors"].context.data.validation.head(1000)
    with torch.no_grad():
        outputs = trainer.model.eval()(whole.inputs)
        losses = torch.nn.functional.cross_entropy(outputs, whole.targets, reduction="none")
    order = losses.argsort(descending=True)[:5]
    rows = read_csv(tmp_path / "worst_errors" / "epoch-0003.csv")
    assert [int(row["index"]) for row in rows] == order.tolist()
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses[order].tolist(), rel=1e-4)
    names = ["setosa", "versicolor", "virginica"]
    assert [row["true"] for row in rows] == [names[whole.targets[place]] for place in order]
    assert [row["predicted"] for row in rows] == [names[outputs[place].argmax()] for place in order]
    chances = [float(outputs[place].softmax(dim=0).max()) for place in order]
    assert [float(row["probability"]) for row in rows] == pytest.approx(chances, abs=1e-4)


def test_the_mean_of_the_losses_of_each_is_the_loss_of_all(files, steps, tmp_path, monkeypatch):
    for name in ("table", "regression", "wide_and_deep", "text_classes", "lstm"):
        trainer = build_trainer(tmp_path / name, *family(name, files))
        batch = next(trainer.validation.batches(0))
        outputs = outputs_of(trainer.model.eval().requires_grad_(False), batch.inputs, None)
        each = trainer.step.loss.of_each(outputs, batch.targets)
        assert each.shape == (batch.size,)
        assert float(each.mean()) == pytest.approx(float(trainer.step.loss(outputs, batch.targets)), rel=1e-5), name


@pytest.mark.parametrize("changed", ["ema", "bf16"])
def test_the_weights_and_the_number_format_are_those_of_the_evaluation(changed, tmp_path):
    words = [*RAGGED, "trainer.max_epochs=3", "trainer.evaluation_batch_size=7", "callbacks.worst_errors.samples=99"]
    words += ["device.precision=bf16"] if changed == "bf16" else []
    run = train(tmp_path, *words, callbacks=("worst_errors", *(["ema"] if changed == "ema" else [])))
    losses = [float(row["loss"]) for row in read_csv(tmp_path / "worst_errors" / "epoch-0003.csv")]
    assert len(losses) == 30
    assert sum(losses) / 30 == pytest.approx(run.trainer.row["val/loss"], rel=1e-5)


def test_of_texts_the_place_in_the_split_is_told_and_not_that_in_the_evaluation(files, tmp_path):
    trainer = build_trainer(
        tmp_path, *family("text_classes", files), "trainer.evaluation_batch_size=2",
        "callbacks.worst_errors.samples=50", callbacks=("worst_errors",),
    )  # fmt: skip
    trainer.fit()
    source = trainer.callbacks["worst_errors"].context.data.validation
    rows = read_csv(tmp_path / "worst_errors" / "epoch-0002.csv")
    assert sorted(int(row["index"]) for row in rows) == list(range(len(source)))
    lengths = [int(source.lengths[0][int(row["index"])]) for row in rows]
    assert [len(row["text"].replace("<unk>", "?")) for row in rows] == lengths


def test_not_more_samples_are_looked_through_than_asked_for(tmp_path):
    words = (*RAGGED, "trainer.max_epochs=1", "trainer.evaluation_batch_size=4", "callbacks.worst_errors.samples=50")
    train(tmp_path, *words, "callbacks.worst_errors.max_samples=10", callbacks=("worst_errors",))
    rows = read_csv(tmp_path / "worst_errors" / "epoch-0001.csv")
    assert sorted(int(row["index"]) for row in rows) == list(range(10))


def test_values_stand_in_their_own_unit_and_under_their_own_names(files, tmp_path):
    words = ("data=csv", f"data.path={files}/table.csv", "data.target=[price, sold]", "model=mlp")
    train(tmp_path, *words, "trainer.max_epochs=1", "callbacks.worst_errors.samples=99", callbacks=("worst_errors",))
    table = {row["price"]: row for row in read_csv(files / "table.csv")}
    rows = read_csv(tmp_path / "worst_errors" / "epoch-0001.csv")
    assert list(rows[0]) == [
        "index", "price: true", "price: predicted", "sold: true", "sold: predicted", "sold: probability", "loss",
        "age", "kind",
    ]  # fmt: skip
    for row in rows:
        original = table[f"{float(row['price: true']):.3f}"]
        assert original["sold"] == row["sold: true"] and original["kind"] == row["kind"]
        assert float(original["age"]) == pytest.approx(float(row["age"]), abs=0.01)


def test_of_a_series_the_last_steps_stand_in_their_own_unit(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("value\n" + "".join(f"{100 + 10 * math.sin(i / 5):.4f}\n" for i in range(200)), encoding="utf-8")
    words = ("data=series_csv", f"data.path={path}", "data.window=12", "model=gru", "model.hidden=4")
    run = train(tmp_path, *words, "trainer.max_epochs=1", callbacks=("worst_errors",))
    data = run.parts.data
    shift, scale = data.preprocessing["shift"][0], data.preprocessing["scale"][0]
    for row in read_csv(tmp_path / "worst_errors" / "epoch-0001.csv"):
        series = data.validation.head(10**6).inputs[int(row["index"]), -8:, 0].double() * scale + shift
        assert row["last steps"].startswith("... ")
        assert [float(value) for value in row["last steps"].split()[1:]] == pytest.approx(series.tolist(), abs=1e-4)


def test_texts_stay_what_they_are_in_tensorboard():
    text = "<unk>기사 *해* | 짝_남_ `x` \\ <b>굵게</b> [a](b) &amp; ~~"
    shown = tensorboard_markdown.markdown(markdown(["text"], [[text]]), extensions=["markdown.extensions.tables"])
    assert html.unescape(shown.partition("<td>")[2].partition("</td>")[0]) == text


def test_images_are_shown_with_their_classes(tmp_path, files):
    words = family("augmented_images", files)
    train(tmp_path, *words, NO_GRAPH, callbacks=(*BOTH, "tensorboard"))
    images = events(tmp_path)
    for tag in ("predictions", "worst_errors"):
        found = images.Images(tag)
        assert len(found) == 2
        picture = Image.open(io.BytesIO(found[-1].encoded_image_string))
        assert picture.tobytes() == Image.open(tmp_path / tag / "epoch-0002.png").tobytes()
        assert len(picture.getcolors(picture.width * picture.height)) > 100
    text = (tmp_path / "predictions" / "epoch-0002.txt").read_text(encoding="utf-8")
    assert text.startswith("epoch 2, step ") and "class0" in text


def test_a_language_model_writes_on(files, tmp_path):
    words = ("data=korean_text", "model=gru", "trainer.max_epochs=2", NO_GRAPH, "callbacks.predictions.num_tokens=3")
    train(
        tmp_path, *words, "callbacks.predictions.prompts=[경마장에 있는, 가는 말이]",
        callbacks=("predictions", "tensorboard"),
    )  # fmt: skip
    lines = (tmp_path / "predictions" / "epoch-0002.txt").read_text(encoding="utf-8").splitlines()
    written = {line: after for line, after in itertools.pairwise(lines) if after.startswith("  -> ")}
    assert set(written) == {"경마장에 있는", "가는 말이"}
    assert all(after.startswith(f"  -> {before} ") and len(after.split()) == 6 for before, after in written.items())
    assert set(texts(tmp_path, "generated")) == {1, 2}
    assert "| 경마장에 있는 | 경마장에 있는 " in texts(tmp_path, "generated")[2]


def test_without_prompts_it_goes_on_from_samples_that_begin_differently(files, tmp_path):
    train(tmp_path, *family("language_model", files), callbacks=("predictions",))
    lines = (tmp_path / "predictions" / "epoch-0002.txt").read_text(encoding="utf-8").splitlines()
    prompts = [line for line, after in itertools.pairwise(lines) if after.startswith("  -> ")]
    assert 1 <= len(prompts) == len({prompt.split()[0] for prompt in prompts}) <= 4


def test_a_model_of_pairs_answers_the_samples_and_the_prompts(files, tmp_path):
    words = [*family("seq2seq", files), "trainer.max_epochs=60", "optimizer.lr=0.02"]
    words += ["callbacks.predictions.prompts=[가바 0]", "callbacks.predictions.every_epochs=60"]
    run = train(tmp_path, *words, callbacks=("predictions",))
    from dltrain import generate
    from dltrain.data.text.tokens import TextCodec

    kept = run.parts.data.preprocessing
    source, target = (TextCodec.from_dict(kept[side]) for side in ("source", "target"))
    answer = generate.answer(run.trainer.model, source, target, "가바 0", 9, generate.Choice(beam=3))
    text = (tmp_path / "predictions" / "epoch-0060.txt").read_text(encoding="utf-8")
    if run.trainer.final_weights == "last":
        assert f"가바 0\n  -> {answer}\n" in text
    header, *rows = text.split("\n\n")[1].splitlines()
    assert header.split() == ["index", "true", "predicted", "source"] and len(rows) == 4


# --- mistakes, files and resumes --------------------------------------------------------------------------


def test_prompts_that_mean_nothing_are_refused_together_before_there_is_a_folder(files, tmp_path):
    with pytest.raises(ConfigError) as error:
        train(tmp_path / "a", *RAGGED, "callbacks.predictions.prompts=[hello]", callbacks=("predictions",))
    assert str(error.value) == (
        "callbacks.predictions.prompts: this multiclass data has no model write text. They go with next_token and "
        "seq2seq data; leave them out, and samples of the data are shown"
    )
    with pytest.raises(ConfigError) as error:
        train(
            tmp_path / "a", "data=korean_text", "model=gru", "callbacks.predictions.prompts=['', 경마장]",
            callbacks=("predictions",),
        )  # fmt: skip
    assert len(error.value.problems) == 2
    assert error.value.problems[0] == "callbacks.predictions.prompts: the prompt is empty: give at least one word"
    assert "the model has not seen the word '경마장' of the prompt. Did you mean '경마장에'?" in error.value.problems[1]
    assert not (tmp_path / "a").exists()


def test_a_resumed_run_shows_what_an_uninterrupted_one_does(tmp_path):
    common = (*RAGGED, NO_GRAPH, "callbacks.worst_errors.every_epochs=2")
    callbacks = (*BOTH, "tensorboard", "checkpoint")
    train(tmp_path / "parts", *common, "trainer.max_steps=8", callbacks=callbacks)  # 2 epochs and 2 of 3 batches
    assert "predictions/epoch-0003.txt" in files_of(tmp_path / "parts")
    resume(tmp_path / "parts", "trainer.max_steps=12")
    train(tmp_path / "whole", *common, "trainer.max_steps=12", callbacks=callbacks)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "whole" / "worst_errors").iterdir()) == [
        "epoch-0002.csv", "epoch-0004.csv",
    ]  # fmt: skip
    for tag, steps in (("predictions", [3, 6, 9, 12]), ("worst_errors", [6, 12])):
        parts, whole = texts(tmp_path / "parts", tag), texts(tmp_path / "whole", tag)
        assert parts == whole and list(whole) == steps


def test_without_tensorboard_there_are_files_alone(tmp_path):
    train(tmp_path, *RAGGED, "trainer.max_epochs=1", callbacks=BOTH)
    assert set(files_of(tmp_path)) == {"predictions/epoch-0001.txt", "worst_errors/epoch-0001.csv"}
    assert not (tmp_path / "tensorboard").exists()


def test_a_folder_that_cannot_be_written_does_not_end_the_training(tmp_path, caplog):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=2", callbacks=BOTH)
    (tmp_path / "worst_errors").write_text("a file where the folder should be")
    trainer.fit()
    (warning,) = caplog.messages
    assert trainer.state.epoch == 2 and warning.startswith(f"nothing more is written to {tmp_path}/worst_errors: ")


def test_weights_that_are_no_numbers_are_shown_as_such(tmp_path):
    trainer = build_trainer(tmp_path, "data=korean_text", "model=gru", "trainer.max_epochs=1", callbacks=BOTH)
    trainer.fit()
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.nan)
    for callback in trainer.callbacks.values():
        callback.on_validation_end(trainer)
    assert "(the model gives NaN)" in (tmp_path / "predictions" / "epoch-0001.txt").read_text(encoding="utf-8")
    rows = read_csv(tmp_path / "worst_errors" / "epoch-0001.csv")
    assert len(rows) == 11 and {row["loss"] for row in rows} == {"nan"}
