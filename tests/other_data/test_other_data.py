"""Data that a run was not trained on get what the run learned: their figures are those of its test split."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import training
from pictures import write_folder, write_mnist
from shards import write_parquet, write_tars

from dltrain import saved
from dltrain.data import IGNORED
from dltrain.data.images import idx
from dltrain.data.text.tokens import TextCodec
from dltrain.run_folder import RunFolder
from dltrain.trained import load_trained


@pytest.fixture
def evaluated(dltrain, work):
    """Returns a function that evaluates the run and gives what is written."""

    def evaluate(*words):
        answer = dltrain("evaluate", "run", "--json", "--no-pictures", "--resamples", 0, *words)
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return evaluate


@pytest.fixture
def train(work):
    """Returns a function that trains the run: without the command line, whose composing takes longer than it."""
    return lambda *words: learn(work / "run", *words)


def learn(run, *words):
    training.train(run, *words, "trainer.max_epochs=2", callbacks=("checkpoint",))


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A folder with a run of iris, and with a table of three classes and its run."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_table(folder / "old.csv", 80, 0)
    learn(folder / "of_table", "data=csv", f"data.path={path}", "data.target=반", "model=linear")
    learn(folder / "of_iris", "data=iris", "model=mlp", "model.hidden=[6]")
    return folder


@pytest.fixture
def of_table(trained_once, work):
    """The working directory has a table of three classes and its run."""
    shutil.copy(trained_once / "old.csv", work)
    shutil.copytree(trained_once / "of_table", work / "run")


@pytest.fixture
def of_iris(trained_once, work):
    """The working directory has a run of iris."""
    shutil.copytree(trained_once / "of_iris", work / "run")


def same(one, other):
    """Compares two evaluations but for what the split is called."""
    assert one["samples"] == other["samples"]
    assert one["figures"] == pytest.approx(other["figures"], rel=1e-5)
    assert one.get("confusion") == other.get("confusion")


# --- tables -----------------------------------------------------------------------------------------------


def write_table(path, rows, seed, *, header=True, shift=0.0):
    generator = np.random.default_rng(seed)
    lines = ["나이,도시,흡연,점수,반"] if header else []
    for _ in range(rows):
        age, score = generator.normal(40 + shift, 9), generator.normal(3, 1)
        city, smokes = generator.choice(["서울", "부산", "대구"]), generator.choice(["yes", "no"])
        kind = "가" if age + 4 * score > 52 else generator.choice(["나", "다"])
        cells = [f"{age:.2f}" if generator.random() > 0.1 else "", city, smokes, f"{score:.3f}", kind]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("target", ["점수", "반", "[반, 점수]"])
def test_a_table(target, header, work, train, evaluated):
    write_table(work / "old.csv", 120, 0, header=header)
    write_table(work / "new.csv", 60, 1, header=header, shift=15)
    if not header:
        target = target.replace("점수", "column_4").replace("반", "column_5")
    train("data=csv", "data.path=old.csv", "data.test_path=new.csv", f"data.target={target}", "model=linear")
    as_test = evaluated()
    assert as_test["split"] == "test"
    shutil.copy(work / "new.csv", work / "newer.csv")
    as_other = evaluated("data.path=newer.csv")
    assert as_other["split"] == "all" and as_other["overrides"] == ["data.path=newer.csv"]
    same(as_other, as_test)
    if "," in target:
        assert as_other["targets"].keys() == as_test["targets"].keys()


def test_a_table_with_some_of_the_classes_keeps_their_order(of_table, work, evaluated):
    lines = (work / "old.csv").read_text(encoding="utf-8").splitlines()
    (work / "new.csv").write_text("\n".join([lines[0], *(line for line in lines[1:] if line[-1] != "가")]) + "\n")
    matrix = evaluated("data.path=new.csv")["confusion"]
    assert matrix["classes"] == ["가", "나", "다"]
    assert sum(matrix["rows_true_columns_predicted"][0]) == 0


def test_a_table_of_one_row(work, train, evaluated):
    write_table(work / "old.csv", 80, 0)
    train("data=csv", "data.path=old.csv", "data.target=점수", "model=mlp", "model.norm=batch")
    (work / "new.csv").write_text("나이,도시,흡연,점수,반\n30,대구,yes,2.5,가\n", encoding="utf-8")
    assert evaluated("data.path=new.csv")["samples"] == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("나이,도시,흡연,반\n30,서울,no,가\n", "data.path=new.csv: there is no column '점수'"),
        ("나이,도시,흡연,점수,반\n30,서울,no,2,라\n", "column '반' has the class '라', which no training row has"),
        ("나이,도시,흡연,점수,반\n3,서울,no,2,\n4,부산,no,2,가\n", "row 2: the target '반' is empty"),
        ("나이,도시,흡연,점수,반\n30,서울,maybe,2,가\n", "words such as yes and no, and 'maybe' is none"),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_told(content, expected, of_table, work, dltrain):
    (work / "new.csv").write_text(content, encoding="utf-8")
    answer = dltrain("evaluate", "run", "data.path=new.csv")
    assert answer.code == 3 and answer.out == ""
    assert expected in answer.err


def test_rows_with_empty_cells_are_dropped_where_the_run_drops_them(work, train, evaluated):
    write_table(work / "old.csv", 120, 0)
    write_table(work / "new.csv", 60, 1)
    train("data=csv", "data.path=old.csv", "data.target=반", "data.empty=drop", "model=linear")
    full = [line for line in (work / "new.csv").read_text(encoding="utf-8").splitlines() if line[0] != ","]
    assert evaluated("data.path=new.csv")["samples"] == len(full) - 1 < 60


def test_shards_of_parquet(work, train, evaluated, dltrain):
    from pyarrow import parquet

    write_parquet(work / "old")
    write_parquet(work / "new", shards=1, rows=50)
    train(
        "data=parquet_shards", "data.path=old", "data.test_path=new", "data.target=y", "data.ignore=[id]",
        "data.workers=0", "model=linear",
    )  # fmt: skip
    as_test = evaluated()
    shutil.copytree(work / "new", work / "newer")
    same(evaluated("data.path=newer"), as_test)
    path = work / "newer" / "part-000.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns("city"), path)
    assert "there is no column 'city'" in dltrain("evaluate", "run", "data.path=newer").err


# --- images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["image_folder", "image_list"])
def test_a_folder_of_images(data, work, train, evaluated, dltrain):
    for part, count, seed in (("train", 12, 0), ("validation", 5, 1), ("test", 7, 2)):
        write_folder(work / "images" / part, {"개": count, "고양이": count, "새": count}, seed=seed)
    train(f"data={data}", "data.path=images", "model=mlp", *(["data.workers=0"] if data == "image_list" else []))
    as_test = evaluated()
    same(evaluated("data.path=images/test"), as_test)
    shutil.rmtree(work / "images" / "test" / "고양이")
    matrix = evaluated("data.path=images/test")["confusion"]
    assert [sum(row) for row in matrix["rows_true_columns_predicted"]] == [7, 0, 7]
    assert matrix["rows_true_columns_predicted"][2] == as_test["confusion"]["rows_true_columns_predicted"][2]
    (work / "images" / "test" / "새").rename(work / "images" / "test" / "세")
    answer = dltrain("evaluate", "run", "data.path=images/test")
    assert answer.code == 3 and "the class '세' is none that the run was trained on" in answer.err


@pytest.mark.parametrize("data", ["image_folder", "image_list"])
def test_images_of_one_class_alone(data, work, train, evaluated):
    write_folder(work / "images", {"개": 9, "고양이": 9}, seed=0)
    train(f"data={data}", "data.path=images", "model=mlp", *(["data.workers=0"] if data == "image_list" else []))
    write_folder(work / "new", {"고양이": 5}, seed=1)
    found = evaluated("data.path=new")
    assert found["samples"] == 5 and [row["support"] for row in found["classes"]] == [0, 5]


def test_images_of_another_size_are_brought_to_the_size_of_the_run(work, train, evaluated):
    write_folder(work / "old", {"a": 12, "b": 12}, size=(8, 8, 3))
    write_folder(work / "new", {"a": 5, "b": 5}, size=(16, 12, 3), seed=1)
    train(
        "data=image_folder", "data.path=old", "data.augmentation.flip=true", "data.augmentation.mixup=0.3",
        "model=mlp",
    )  # fmt: skip
    assert evaluated("data.path=new")["samples"] == 10


def test_images_in_tars(work, train, evaluated):
    write_tars(work / "old", shards=1, samples=60)
    write_tars(work / "new", shards=1, samples=20)
    train("data=tar_shards", "data.path=old", "data.test_path=new", "data.workers=0", "model=mlp")
    as_test = evaluated()
    shutil.copytree(work / "new", work / "newer")
    same(evaluated("data.path=newer"), as_test)


def test_a_well_known_data_set_from_another_folder_has_its_own_splits(work, train, evaluated):
    write_mnist(work / "old", train=120, test=20)
    write_mnist(work / "new", train=60, test=30)
    train("data=mnist", "data.root=old", "model=mlp")
    other = evaluated("data.root=new")
    assert other["split"] == "test" and other["samples"] == 30
    parts = own_parts(work)
    images = idx.read_images(work / "new" / "t10k-images-idx3-ubyte.gz")[:, None]
    labels = torch.from_numpy(idx.read_labels(work / "new" / "t10k-labels-idx1-ubyte.gz", 30, 10))
    kept = parts.data.preprocessing
    scaled = (torch.from_numpy(images).float() - kept["shift"][0]) / kept["scale"][0]
    loss = torch.nn.functional.cross_entropy(parts.model.eval()(scaled), labels)
    assert other["figures"]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert evaluated("data.root=new", "--split", "validation")["samples"] == 5


def own_parts(work):
    folder = RunFolder(work / "run")
    return load_trained(folder, saved.load_config(saved.saved_config(folder), folder), "best")[0]


# --- texts ------------------------------------------------------------------------------------------------

WORDS = ("정말", "영화", "재미", "있다", "없다", "배우", "연기", "좋다", "나쁘다", "지루", "최고", "음악")


def texts(count, seed, more=()):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice([*WORDS, *more], generator.integers(2, 7))) for _ in range(count)]


def write_reviews(path, count, seed, more=()):
    lines = [f'"{text}",{"좋음" if "좋다" in text else "나쁨"}' for text in texts(count, seed, more)]
    path.write_text("\n".join(["문장,평", *lines]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "words", [["data.tokens=word"], ["data.tokens=bpe", "data.vocabulary_size=40"], ["data.form=counts"]]
)
def test_texts_with_classes(words, work, train, evaluated, dltrain):
    write_reviews(work / "old.csv", 120, 0)
    write_reviews(work / "new.csv", 50, 1, more=["처음", "<unk>"])
    model = ["model=mlp"] if "data.form=counts" in words else ["model=gru", "model.hidden=8"]
    train(
        "data=text_csv",
        "data.path=old.csv",
        "data.test_path=new.csv",
        "data.text=문장",
        "data.target=평",
        *model,
        *words,
    )
    as_test = evaluated()
    shutil.copy(work / "new.csv", work / "newer.csv")
    same(evaluated("data.path=newer.csv", "data.test_path=null"), as_test)
    (work / "newer.csv").write_text("문장,평\n영화,보통\n", encoding="utf-8")
    answer = dltrain("evaluate", "run", "data.path=newer.csv")
    assert answer.code == 3 and "row 2 has the 평 '보통', which the run was not trained on" in answer.err


def perplexity(parts, rows):
    """Returns the perplexity of (tokens before, token) pairs, one by one."""
    losses = []
    for before, target in rows:
        outputs = parts.model.eval()(torch.tensor([before]))
        losses.append(torch.nn.functional.cross_entropy(outputs, torch.tensor([target])).item())
    return float(np.exp(np.mean(losses)))


def test_windows_of_a_text(work, train, evaluated):
    (work / "old.txt").write_text("\n".join(texts(60, 0)) + "\n", encoding="utf-8")
    lines = texts(20, 1, more=["처음"])
    (work / "new.txt").write_text("\n".join([*lines, "하나", "", "  "]) + "\n", encoding="utf-8")
    train(
        "data=text",
        "data.path=old.txt",
        "data.tokens=word",
        "data.window=3",
        "data.min_count=1",
        "model=lstm",
        "model.hidden=8",
    )
    found = evaluated("data.path=new.txt")
    parts = own_parts(work)
    codec = TextCodec.from_dict(parts.data.preprocessing)
    rows = []
    for line in lines:
        numbers = codec.encode(line)
        for place in range(1, len(numbers)):
            if numbers[place] != codec.vocabulary.unknown:
                before = numbers[max(0, place - codec.context) : place]
                rows.append(([0] * (codec.context - len(before)) + before, numbers[place]))
    assert found["samples"] == len(rows)
    assert found["figures"]["perplexity"] == pytest.approx(perplexity(parts, rows), rel=1e-4)


def test_a_stream_of_text(work, train, evaluated):
    old, new = texts(60, 0), texts(12, 1)
    (work / "both.txt").write_text("\n".join([*old, *new]) + "\n", encoding="utf-8")
    (work / "new.txt").write_text("\n".join(new) + "\n", encoding="utf-8")
    train(
        "data=text", "data.path=both.txt", "data.tokens=word", "data.form=stream", "data.block=8", "data.min_count=1",
        f"data.test_fraction={12 / 72}", "model=lstm", "model.hidden=8",
    )  # fmt: skip
    same(evaluated("data.path=new.txt"), evaluated())


def test_a_vocabulary_without_a_token_for_others_refuses_them(work, train, dltrain):
    (work / "old.txt").write_text("\n".join(texts(12, 0)) + "\n", encoding="utf-8")
    train("data=text", "data.path=old.txt", "data.tokens=word", "data.min_count=1", "model=lstm", "model.hidden=8")
    (work / "new.txt").write_text("정말 처음 영화\n", encoding="utf-8")
    answer = dltrain("evaluate", "run", "data.path=new.txt")
    assert answer.code == 3
    assert "the run's vocabulary has no '처음', nor a token for what is not in it" in answer.err


def test_pairs_of_texts(work, train, evaluated):
    def write(name, count, seed, more=()):
        rows = [f'"{text}","{text.split()[-1]} 그래 {text.split()[0]}"' for text in texts(count, seed, more)]
        (work / name).write_text("\n".join(["Q,A", *rows, '"",없음']) + "\n", encoding="utf-8")

    write("old.csv", 80, 0)
    write("new.csv", 15, 1, more=["처음"])
    train(
        "data=pairs_csv",
        "data.path=old.csv",
        "data.source=Q",
        "data.target=A",
        "data.min_count=1",
        "model=seq2seq",
        "model.hidden=8",
    )
    found = evaluated("data.path=new.csv")
    assert found["samples"] == 15
    parts = own_parts(work)
    source, target = (TextCodec.from_dict(parts.data.preprocessing[side]) for side in ("source", "target"))
    start, end = target.vocabulary.encode(("<s>", "</s>"))
    total, count = 0.0, 0
    for text in texts(15, 1, more=["처음"]):
        answer = target.encode(f"{text.split()[-1]} 그래 {text.split()[0]}")[: target.context]
        inputs = {
            "source": torch.tensor([source.encode(text)[: source.context]]),
            "target": torch.tensor([[start, *answer]]),
        }
        labels = torch.tensor([*answer, end])
        labels[labels == target.vocabulary.unknown] = IGNORED
        outputs = parts.model.eval()(inputs)[0]
        total += torch.nn.functional.cross_entropy(outputs, labels, reduction="sum").item()
        count += int((labels != IGNORED).sum())
    assert found["figures"]["perplexity"] == pytest.approx(float(np.exp(total / count)), rel=1e-4)


# --- series -----------------------------------------------------------------------------------------------


def write_series(path, days):
    rows = [
        f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},{20 + (day * 7) % 11},{'오름' if day % 3 else '내림'}"
        for day in days
    ]
    path.write_text("\n".join(["날,값,추세", *rows]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ["data.columns=[값]", "data.horizon=2"],
        ["data.columns=[값]", "data.differences=true"],
        ["data.columns=[값]", "data.task=classification", "data.label=추세"],
        ["data.columns=[값]", "data.task=classification", "data.label=rise"],
    ],
)
def test_windows_of_a_series(words, work, train, evaluated):
    write_series(work / "both.csv", range(120))
    write_series(work / "new.csv", range(90, 120))
    train("data=series_csv", "data.path=both.csv", "data.test_fraction=0.25", "data.window=5", "model=linear", *words)
    same(evaluated("data.path=new.csv"), evaluated())


def test_a_series_that_does_not_fit_is_told(work, train, dltrain):
    write_series(work / "old.csv", range(120))
    train("data=series_csv", "data.path=old.csv", "data.columns=[값]", "data.window=5", "model=linear")
    write_series(work / "new.csv", range(4))
    answer = dltrain("evaluate", "run", "data.path=new.csv")
    assert answer.code == 3 and "has 4 rows, and one window with what is predicted takes 6" in answer.err
    (work / "new.csv").write_text("날,양\n2024-01-01,3\n2024-01-02,4\n", encoding="utf-8")
    assert dltrain("evaluate", "run", "data.path=new.csv").code == 3


# --- what else may change, and what may not ---------------------------------------------------------------


def test_the_own_data_in_another_place_are_the_own_data(work, train, evaluated):
    write_table(work / "old.csv", 120, 0)
    train("data=csv", "data.path=old.csv", "data.target=반", "model=linear")
    before = evaluated()
    (work / "elsewhere").mkdir()
    (work / "old.csv").rename(work / "elsewhere" / "moved.csv")
    moved = evaluated("data.path=elsewhere/moved.csv")
    assert moved["split"] == "test"
    same(moved, before)


def test_the_training_data_may_be_gone(work, train, evaluated, dltrain):
    write_table(work / "old.csv", 120, 0)
    write_table(work / "new.csv", 40, 1)
    train("data=csv", "data.path=old.csv", "data.target=반", "model=linear")
    (work / "old.csv").unlink()
    assert evaluated("data.path=new.csv")["samples"] == 40
    answer = dltrain("evaluate", "run", "data.path=new.csv", "--baselines")
    assert answer.code == 3 and "old.csv" in answer.err


def test_baselines_learn_from_what_the_run_was_trained_on(work, train, evaluated):
    write_table(work / "old.csv", 120, 0)
    write_table(work / "new.csv", 40, 1)
    train("data=csv", "data.path=old.csv", "data.test_path=new.csv", "data.target=반", "model=linear")
    shutil.copy(work / "new.csv", work / "newer.csv")
    one, other = evaluated("--baselines"), evaluated("data.path=newer.csv", "--baselines")
    assert [b["figures"] for b in one["baselines"]] == [pytest.approx(b["figures"]) for b in other["baselines"]]


def test_a_split_of_what_is_evaluated_as_a_whole_is_refused(of_table, work, dltrain):
    write_table(work / "new.csv", 40, 1)
    answer = dltrain("evaluate", "run", "data.path=new.csv", "--split", "train")
    assert answer.code == 2
    assert "--split train: other data are evaluated as a whole. Leave --split out" in answer.err


def test_what_would_be_learned_anew_is_refused(of_table, dltrain):
    answer = dltrain("evaluate", "run", "data.split_seed=1")
    assert answer.code == 2
    assert "data.split_seed: with these the data set learns other means, classes or words" in answer.err
    assert "Name the file to evaluate, as data.path=FILE" in answer.err


def test_other_samples_of_what_learns_nothing_have_their_splits(train, evaluated):
    train("data=sine", "model=mlp", "data.scaling=none")
    one, other = evaluated(), evaluated("data.points_seed=7")
    assert other["split"] == one["split"] and other["figures"] != one["figures"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.hidden=[7]", "model.hidden: [6] -> [7]"),
        ("optimizer.lr=0.5", "optimizer.lr: "),
        ("data=digits", "data: iris -> digits"),
        ("trainer.batch_size=7", "trainer.batch_size: "),
        ("seed=3", "seed: "),
    ],
)
def test_anything_else_is_refused(override, expected, of_iris, dltrain):
    answer = dltrain("evaluate", "run", override)
    assert answer.code == 2 and answer.out == ""
    assert expected in answer.err
    assert (
        "it takes other data of the same kind (data.path, data.root, ...), device.* and trainer.evaluation_"
        in answer.err
    )


def test_the_device_and_the_size_of_batches_change_nothing(of_iris, evaluated):
    same(evaluated("device.threads=2", "trainer.evaluation_batch_size=7"), evaluated())


def test_a_file_that_is_not_there_is_told(of_table, dltrain):
    answer = dltrain("evaluate", "run", "data.path=olt.csv")
    assert answer.code == 3 and "data.path=olt.csv" in answer.err
    answer = dltrain("evaluate", "run", "data.pat=old.csv")
    assert answer.code == 2 and "no setting 'data.pat'. Did you mean 'data.path'?" in answer.err
