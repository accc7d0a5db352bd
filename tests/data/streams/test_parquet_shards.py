"""Tables in many Parquet files: what a model sees of them, and what is wrong with files that cannot be used."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from shards import write_parquet

from dltrain import registry
from dltrain.errors import ConfigError, DataError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def load(settings_of, folder, **changes):
    values = {"path": str(folder), "target": "y", "workers": 0, **changes}
    return registry.build("data", settings_of("data", "parquet_shards", **values))


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, **options)
    return path


def everything(source):
    """Returns all samples of a source in their own order."""
    batches = list(source.split(batch_size=7, seed=None, device=CPU).batches(0))
    return torch.cat([batch.inputs for batch in batches]), torch.cat([batch.targets for batch in batches])


def test_numbers_are_standardised_by_the_training_rows_and_words_are_coded_by_their_counts(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data", shards=4, rows=100, row_group=10)
    data = load(settings_of, folder, ignore=["id"])
    inputs, targets = everything(data.train)
    assert (len(data.train), len(data.validation), len(data.test)) == (320, 40, 40)
    assert data.task.inputs.shape == (2 + 4,) and inputs.shape == (320, 6)
    torch.testing.assert_close(inputs[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs[:, :2].std(0, unbiased=False), torch.ones(2))
    torch.testing.assert_close(targets.mean(0), torch.zeros(1), atol=1e-5, rtol=0)
    assert (inputs[:, 2:].sum(1) == 1).all() and inputs[:, 2].sum() == 0  # no cell is empty, and all words are known
    counts = inputs[:, 3:].sum(0)
    assert (counts[:-1] >= counts[1:]).all()
    table = pa.concat_tables([parquet.read_table(path) for path in sorted(folder.iterdir())])
    rows = np.concatenate([np.arange(10 * block, 10 * block + 10) for block in data.train.members])
    (shift,), (scale,) = data.task.target_shift, data.task.target_scale
    np.testing.assert_allclose(targets[:, 0] * scale + shift, table["y"].to_numpy()[rows], rtol=1e-5)
    first = data.preprocessing["numbers"][0]
    np.testing.assert_allclose(inputs[:, 0] * first["scale"] + first["shift"], table["x0"].to_numpy()[rows], rtol=1e-4)
    assert data.notes[1] == "sees 2 columns of numbers and 1 column of words; predicts y, a number"


def test_embedding_leaves_codes_in_the_last_columns(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data")
    data = load(settings_of, folder, categories="embedding", max_categories=2)
    assert data.task.inputs.shape == (4,) and data.task.inputs.categories == (3,)
    inputs, _ = everything(data.train)
    assert set(inputs[:, 3].tolist()) == {0, 1, 2}  # 0 is the third word, which was not to be told apart


def test_what_no_model_can_use_is_left_out_and_said(settings_of, tmp_path):
    rows = 300
    columns = {
        "x": np.arange(rows) % 7,
        "same": np.ones(rows),
        "day": pa.array([datetime.date(2026, 1, 1)] * rows),
        "key": [f"k{i}" for i in range(rows)],
        "list": [[1.0]] * rows,
        "y": np.arange(rows) * 0.5,
    }
    write(tmp_path / "data" / "a.parquet", columns, row_group_size=30)
    data = load(settings_of, tmp_path / "data")
    assert data.task.inputs.shape == (1,)
    assert data.notes[2] == (
        "left out: day (date32[day]), list (list<element: double>), same (one value), key (nearly all different)"
    )


@pytest.mark.parametrize(
    ("target", "kind", "names"),
    [
        (["b", "a", "c"] * 40, "multiclass", ("a", "b", "c")),
        ([True, False, False] * 40, "binary", ("false", "true")),
        ([10, 9, 2] * 40, "multiclass", ("2", "9", "10")),
        ([1, 0, 1] * 40, "binary", ("0", "1")),
    ],
)
def test_a_target_becomes_classes_by_its_kind(settings_of, tmp_path, target, kind, names):
    write(tmp_path / "data" / "a.parquet", {"x": np.arange(120), "y": target}, row_group_size=12)
    data = load(settings_of, tmp_path / "data", scaling="none")
    assert (data.task.kind, data.task.class_names) == (kind, names)
    inputs, targets = everything(data.train)
    expected = [names.index(str(value).lower()) for value in target]
    assert targets.flatten().tolist() == [expected[int(row)] for row in inputs[:, 0]]
    assert targets.shape[1:] == ((1,) if kind == "binary" else ())


def test_empty_cells_become_the_training_mean_or_are_refused(settings_of, tmp_path):
    values = [None if row % 10 == 3 else float(row % 10) for row in range(100)]
    write(tmp_path / "data" / "a.parquet", {"x": values, "y": np.arange(100.0)}, row_group_size=10)
    inputs, _ = everything(load(settings_of, tmp_path / "data").train)
    assert (inputs[3::10] == 0).all()
    with pytest.raises(DataError, match=r"a\.parquet: row group 1, row 4: column 'x' is empty$"):
        everything(load(settings_of, tmp_path / "data", empty="error").train)


def test_the_test_rows_change_nothing_that_is_learned(settings_of, tmp_path):
    learned = []
    for factor in (1, 1000):
        folder = tmp_path / f"data-{factor}"
        write(folder / "train.parquet", {"x": np.arange(100.0), "y": np.arange(100.0)}, row_group_size=10)
        write(folder / "test" / "t.parquet", {"x": np.arange(50.0) * factor, "y": np.arange(50.0)})
        data = load(settings_of, folder, test_path=str(folder / "test"), test_fraction=0)
        assert len(data.test) == 50
        learned.append((data.preprocessing, data.task))
    assert learned[0] == learned[1]


def test_row_groups_and_shards_without_rows_do_no_harm(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data")
    schema = parquet.read_schema(folder / "part-000.parquet")
    parquet.write_table(schema.empty_table(), folder / "part-001.parquet")
    data = load(settings_of, folder)
    assert len(data.train) + len(data.validation) + len(data.test) == 200


def test_the_second_start_reads_what_was_learned_from_the_cache(settings_of, tmp_path, monkeypatch):
    folder = write_parquet(tmp_path / "data")
    before = load(settings_of, folder)
    monkeypatch.setattr("dltrain.data.streams.parquet_shards.gather", None)  # which it would call
    after = load(settings_of, folder)
    assert after.preprocessing == before.preprocessing and after.task == before.task
    assert b"".join(map(bytes, after.train.content())) == b"".join(map(bytes, before.train.content()))


def test_a_stream_trains_for_two_epochs_and_is_evaluated_by_the_command(dltrain, tmp_path):
    write_parquet(tmp_path / "data")
    short = ("trainer.max_epochs=2", "device=cpu", "report=false", "~callbacks.tensorboard")
    answer = dltrain("data=parquet_shards", "data.path=data", "data.target=city", *short)
    assert answer.code == 0, answer.err
    assert "reached max_epochs=2" in answer.out
    assert dltrain("evaluate", "last", "--resamples", 100, "--no-pictures").code == 0


def test_a_damaged_shard_ends_the_command_with_the_code_of_bad_data(dltrain, tmp_path):
    (write_parquet(tmp_path / "data") / "part-001.parquet").write_bytes(b"PAR1 and no more")
    answer = dltrain("data=parquet_shards", "data.path=data", "data.target=y")
    assert answer.code == 3
    assert answer.err == (
        "error: data/part-001.parquet: the end of the Parquet file is missing: it was not written or copied to its "
        "end\n"
    )
    assert not (tmp_path / "runs").exists()


# --- what cannot be used ----------------------------------------------------------------------------------


def refused(settings_of, folder, **changes):
    with pytest.raises((DataError, ConfigError)) as caught:
        load(settings_of, folder, **changes)
    return str(caught.value).replace(str(folder), "DATA")


def test_no_path_and_no_target(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data")
    assert refused(settings_of, folder, path=None) == (
        "data.path: no value. Give a folder of shards (*.parquet or *.pq): data.path=FOLDER"
    )
    assert refused(settings_of, folder, target=None) == (
        "data.target: no value. Name the column to predict; there is: id, x0, x1, city, y"
    )


def test_no_shards(settings_of, tmp_path):
    folder = tmp_path / "data"
    assert refused(settings_of, folder) == "data.path=DATA: there is no such file or folder."
    folder.mkdir()
    assert refused(settings_of, folder) == "data.path=DATA: no shard is there (*.parquet or *.pq): it is empty"
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    assert refused(settings_of, folder) == ("data.path=DATA: no shard is there (*.parquet or *.pq): it holds notes.txt")


def test_a_foreign_file_and_truncated_ones(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data")
    path = folder / "part-001.parquet"
    whole = path.read_bytes()
    path.write_bytes(b"id,x0\n1,2\n")
    assert refused(settings_of, folder) == (
        "DATA/part-001.parquet: this is no Parquet file. Move it elsewhere, or name the shards by a pattern"
    )
    path.write_bytes(whole[:-100])
    assert refused(settings_of, folder) == (
        "DATA/part-001.parquet: the end of the Parquet file is missing: it was not written or copied to its end"
    )
    path.write_bytes(whole[:200] + whole[-400:])
    assert refused(settings_of, folder).startswith("DATA/part-001.parquet: ")


def test_shards_that_differ(settings_of, tmp_path):
    folder = tmp_path / "data"
    write(folder / "a.parquet", {"x": [1.0], "y": [1.0]})
    write(folder / "b.parquet", {"x": ["1"], "y": [1.0]})
    assert refused(settings_of, folder) == (
        "data.path=DATA: column 'x' is double in DATA/a.parquet and string in DATA/b.parquet: write the shards with "
        "the same types"
    )
    write(folder / "b.parquet", {"x": [1.0], "z": [1.0], "y": [1.0]})
    assert refused(settings_of, folder) == (
        "data.path=DATA: DATA/b.parquet has a column 'z' and DATA/a.parquet has not: shards of one data set have the "
        "same columns"
    )


def test_columns_that_are_not_there_or_cannot_be_used(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data")
    assert refused(settings_of, folder, target="yy") == (
        "data.path=DATA: there is no column 'yy'. Did you mean 'y'? The columns are: id, x0, x1, city, y"
    )
    assert refused(settings_of, folder, columns=["x0", "towns"]) == (
        "data.path=DATA: there is no column 'towns'. The columns are: id, x0, x1, city, y"
    )
    assert refused(settings_of, folder, columns=["y"]) == (
        "data.columns: 'y' is the target, so the model must not see it"
    )
    assert refused(settings_of, folder, target="city", task="regression") == (
        "data.path=DATA: column 'city' holds words: data.task=regression needs numbers"
    )


def test_too_few_row_groups_to_split(settings_of, tmp_path):
    folder = write_parquet(tmp_path / "data", shards=2, row_group=100)
    assert refused(settings_of, folder) == (
        "data.path=DATA: 2 row groups: too few to keep some for validation and test. Write more and smaller ones, "
        "name shards in data.validation_path and data.test_path, or give data.validation_fraction=0 "
        "data.test_fraction=0"
    )
    data = load(settings_of, folder, validation_fraction=0, test_fraction=0)
    assert data.evaluates_training_data and data.test is None


def test_no_rows(settings_of, tmp_path):
    write(tmp_path / "data" / "a.parquet", {"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())})
    assert refused(settings_of, tmp_path / "data") == "data.path=DATA: there are columns and no row"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1.0, None] * 50, "data.path=DATA: column 'y', the target, is empty in 40 of 80 training rows: remove them"),
        (["a"] * 100, "data.path=DATA: column 'y' is 'a' in all training rows, so there is nothing to tell apart"),
    ],
)
def test_targets_that_teach_nothing(settings_of, tmp_path, target, message):
    write(tmp_path / "data" / "a.parquet", {"x": np.arange(100), "y": target}, row_group_size=10)
    assert refused(settings_of, tmp_path / "data") == message


def test_an_infinite_number_and_an_unseen_class(settings_of, tmp_path):
    x = np.arange(100.0)
    x[57] = np.inf
    write(tmp_path / "data" / "a.parquet", {"x": x, "y": np.arange(100.0)}, row_group_size=10)
    assert refused(settings_of, tmp_path / "data", validation_fraction=0, test_fraction=0) == (
        "DATA/a.parquet: row group 6, row 8: column 'x' holds inf, which is no finite number"
    )
    x[57] = 1e300
    write(tmp_path / "data" / "a.parquet", {"x": x, "y": np.arange(100.0)}, row_group_size=10)
    assert refused(settings_of, tmp_path / "data", validation_fraction=0, test_fraction=0) == (
        "DATA/a.parquet: row group 6, row 8: column 'x' holds 1e+300, which is too large beside the others for float32"
    )
    write(tmp_path / "data" / "a.parquet", {"x": np.arange(100), "y": ["a", "b"] * 50}, row_group_size=10)
    write(tmp_path / "v" / "v.parquet", {"x": np.arange(4), "y": ["a", "c", "b", "a"]})
    message = refused(settings_of, tmp_path / "data", validation_path=str(tmp_path / "v"))
    assert message.endswith(
        "v.parquet: row group 1: class 'c' of column 'y' is in the validation data and never in the training data, "
        "which have 2 classes. Another data.split_seed may deal it out better"
    )


@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8), st.booleans()
)
@settings(max_examples=150)
def test_damaged_bytes_are_a_message_or_do_no_harm(settings_of, tmp_path_factory, changes, at_the_end):
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    if not folder.exists():
        write_parquet(folder, shards=1, rows=60, row_group=10)
        (folder / "part-000.parquet").rename(folder / "whole")
    content = bytearray((folder / "whole").read_bytes())
    for share, value in changes:
        place = len(content) - 1 - int(share * 1500) if at_the_end else int(share * len(content))
        content[place % len(content)] = value
    (folder / "part-000.parquet").write_bytes(content)
    try:
        data = load(settings_of, folder)
        inputs, targets = everything(data.train)
    except DataError as error:
        assert re.search(r"part-000\.parquet|data\.path=", str(error))
    else:
        assert inputs.isfinite().all() and targets.isfinite().all()


def test_of_two_classes_the_positive_one_is_that_of_a_table(settings_of, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    words = ["good" if row % 5 else "bad" for row in range(100)]
    (tmp_path / "data").mkdir()
    for shard in range(5):
        rows = slice(shard * 20, shard * 20 + 20)
        table = pa.table({"a": list(range(20)), "y": words[rows]})
        parquet.write_table(table, tmp_path / "data" / f"{shard}.parquet", row_group_size=5)
    streamed = load(settings_of, tmp_path / "data", target="y")
    whole = parquet.read_table(tmp_path / "data")
    parquet.write_table(whole, tmp_path / "whole.parquet")
    settings = settings_of("data", "csv", path=str(tmp_path / "whole.parquet"), target="y")
    assert streamed.task.class_names == registry.build("data", settings).task.class_names == ("good", "bad")
