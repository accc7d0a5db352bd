"""Windows over a series: what is seen, what is predicted, and where the borders of time lie."""

from __future__ import annotations

import itertools
import re
from datetime import datetime, timedelta

import numpy as np
import pytest
import realdata
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain import registry
from dltrain.errors import ConfigError, DataError

CPU = torch.device("cpu")


def load(settings_of, path, **changes):
    return registry.build("data", settings_of("data", "series_csv", **{"path": path and str(path), **changes}))


def write(folder, columns, name="series.csv"):
    path = folder / name
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def hours(count, start=datetime(2026, 1, 1)):
    return [f"{start + timedelta(hours=hour):%Y-%m-%d %H:%M:%S}" for hour in range(count)]


def counted(folder, rows=100, **more):
    """A series whose value is its row."""
    return write(folder, {"time": hours(rows), "a": range(rows), **more})


def everything(source):
    batches = list(source.split(batch_size=7, seed=None, device=CPU).batches(0))
    return torch.cat([batch.inputs for batch in batches]), torch.cat([batch.targets for batch in batches])


@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.2]),
    st.booleans(),
)
def test_windows_and_targets_lie_where_they_should_and_no_border_is_crossed(
    settings_of, tmp_path_factory, window, horizon, skip, stride, test_fraction, differences
):
    folder = tmp_path_factory.getbasetemp() / "counted"
    folder.mkdir(exist_ok=True)
    path = counted(folder, a2=[row * row for row in range(100)])
    data = load(
        settings_of,
        path,
        columns=["a"],
        target=["a", "a2"],
        scaling="none",
        window=window,
        horizon=horizon,
        skip=skip,
        stride=stride,
        differences=differences,
        validation_fraction=0.2,
        test_fraction=test_fraction,
    )
    borders = [0, 80, 100] if test_fraction == 0 else [0, 60, 80, 100]
    assert data.task.inputs.shape == (window, 1) and data.task.output_size == 2 * horizon
    for source, (first, end) in zip(data.splits.values(), itertools.pairwise(borders), strict=True):
        inputs, targets = everything(source)
        begins = list(range(first + differences, end - window - skip - horizon + 1, stride))
        assert len(inputs) == len(begins) == len(source)
        for begin, seen, target in zip(begins, inputs, targets, strict=True):
            last = begin + window - 1
            expected = [(row, row * row) for row in range(last + skip + 1, last + skip + horizon + 1)]
            if differences:
                assert (seen == 1).all()
                expected = [(row - last, square - last * last) for row, square in expected]
            else:
                assert seen[:, 0].tolist() == list(range(begin, last + 1))
            assert target.reshape(horizon, 2).tolist() == [list(pair) for pair in expected]


def test_scaling_is_learned_from_the_training_part_alone(settings_of, tmp_path):
    values = [float(row % 10) for row in range(80)] + [1000.0 * row for row in range(20)]
    one = load(
        settings_of, write(tmp_path, {"a": values}), window=5, date=None, validation_fraction=0.1, test_fraction=0.1
    )
    values[85:] = [-5.0] * 15
    path = write(tmp_path, {"a": values}, "other.csv")
    other = load(settings_of, path, window=5, date=None, validation_fraction=0.1, test_fraction=0.1)
    assert one.preprocessing == other.preprocessing and one.task == other.task
    assert torch.equal(one.train.series, other.train.series)
    assert one.train.series.mean().abs() < 1e-6 and one.train.series.std(unbiased=False) == pytest.approx(1, abs=1e-6)
    (shift,), (scale,) = one.task.target_shift, one.task.target_scale
    inputs, targets = everything(one.train)
    following = [values[row] for row in range(5, 80)]
    np.testing.assert_allclose(targets[:, 0] * scale + shift, following, atol=1e-5)
    assert inputs.dtype == torch.float32


def test_windows_are_kept_once_and_come_out_as_if_each_were_kept(settings_of, tmp_path):
    data = load(settings_of, counted(tmp_path), window=10)
    samples = data.train.samples()
    assert samples.inputs.untyped_storage().nbytes() == data.train.series.nbytes == 70 * 4
    shuffled = torch.cat([b.inputs for b in data.train.split(batch_size=8, seed=1, device=CPU).batches(0)])
    assert sorted(map(tuple, shuffled[:, :, 0].tolist())) == sorted(map(tuple, samples.inputs[:, :, 0].tolist()))
    assert data.train.head(3).inputs.shape == (3, 10, 1)


def test_what_repeating_the_last_value_would_reach_is_said(settings_of, tmp_path):
    data = load(settings_of, counted(tmp_path), window=4, horizon=3)
    assert data.notes == (
        "sees a; predicts a; time time",
        "repeating the window's last value would give a validation mae of 2 and rmse of 2.16",
    )
    changes = load(settings_of, counted(tmp_path), window=4, horizon=3, differences=True)
    assert changes.notes[1] == data.notes[1]


# --- classification ---------------------------------------------------------------------------------------


def test_rise_is_whether_the_value_is_higher_later(settings_of, tmp_path):
    values = [0, 1, 3, 2, 2, 5, 4] * 10
    path = write(tmp_path, {"time": hours(70), "a": values})
    data = load(settings_of, path, task="classification", window=3, horizon=2, scaling="none", test_fraction=0)
    assert (data.task.kind, data.task.class_names) == ("binary", ("falls or stays", "rises"))
    inputs, targets = everything(data.train)
    for begin, (seen, target) in enumerate(zip(inputs, targets, strict=True)):
        assert seen[:, 0].tolist() == values[begin : begin + 3]
        assert target.tolist() == [float(values[begin + 4] > values[begin + 2])]
    share = (everything(data.validation)[1] == 1).float().mean()
    assert data.notes[-1] == f"always 'rises' would give a validation accuracy of {share:.4f}"


def test_a_label_column_gives_the_class_of_the_last_row(settings_of, tmp_path):
    labels = ["walk", "run", "", "sit"] * 25
    path = counted(tmp_path, label=labels)
    data = load(settings_of, path, task="classification", label="label", window=3, scaling="none", empty="previous")
    assert (data.task.kind, data.task.class_names) == ("multiclass", ("run", "sit", "walk"))
    inputs, targets = everything(data.train)
    assert inputs.shape[2] == 1  # the label is not among the inputs
    assert len(inputs) == len(data.train) == 51  # of 68, those whose last row has a label
    for seen, target in zip(inputs, targets, strict=True):
        assert labels[int(seen[-1, 0])] == data.task.class_names[target]


def test_classes_that_only_later_parts_have_are_refused(settings_of, tmp_path):
    path = counted(tmp_path, label=["a", "b"] * 40 + ["c", "a"] * 10)
    with pytest.raises(DataError) as caught:
        load(settings_of, path, task="classification", label="label", window=3)
    assert str(caught.value) == (
        f"data.path={path}: class 'c' of 'label' is in the validation part and never in the training part, which comes "
        "before it. Change data.validation_fraction and data.test_fraction, or leave those rows out"
    )


# --- times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y-%m-%d %H:%M:%S",
        "%Y/%m/%d %H:%M",
        "%d.%m.%Y %H:%M",
        "%m/%d/%Y %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y%m%d%H%M%S",
    ],
)
def test_times_are_found_however_they_are_written(settings_of, tmp_path, pattern):
    times = [f"{datetime(2026, 1, 1) + timedelta(hours=7 * row):{pattern}}" for row in range(100)]
    data = load(settings_of, write(tmp_path, {"a": range(100), "when": times}), window=4, gaps="error")
    assert data.notes[0] == "sees a; predicts a; time when"


def test_rows_out_of_order_are_sorted_and_it_is_said(settings_of, tmp_path):
    times, values = hours(100), list(range(100))
    times[40], times[41], values[40], values[41] = times[41], times[40], values[41], values[40]
    data = load(settings_of, write(tmp_path, {"time": times, "a": values}), window=4, scaling="none")
    assert data.notes[1] == (
        "rows are not in the order of 'time' (row 43 is earlier than the one before it): they are sorted"
    )
    assert data.train.series[:, 0].tolist() == list(range(70))


def test_times_that_are_stored_as_such_are_those_that_are_written(settings_of, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"when": pd.to_datetime(hours(100)), "a": range(100)}).iloc[::-1]
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(when=frame["when"].astype(str)).to_csv(tmp_path / "a.csv", index=False)
    stored, written = (load(settings_of, tmp_path / name, window=4) for name in ("a.parquet", "a.csv"))
    assert stored.notes[0] == written.notes[0] == "sees a; predicts a; time when"
    assert torch.equal(stored.train.series, written.train.series)
    frame.iloc[50, 0] = frame.iloc[51, 0]
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"rows 51 and 52 have the same time in 'when', 2026-01-03: a series"):
        load(settings_of, tmp_path / "a.parquet", window=4)
    frame.iloc[50, 0] = None
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 51: column 'when' has no time\. Fill it in"):
        load(settings_of, tmp_path / "a.parquet", window=4)


def test_two_rows_of_one_time_are_refused(settings_of, tmp_path):
    times = hours(100)
    times[50] = times[49]
    path = write(tmp_path, {"time": times, "a": range(100)})
    with pytest.raises(DataError) as caught:
        load(settings_of, path, window=4)
    assert str(caught.value) == (
        f"data.path={path}: rows 51 and 52 have the same time in 'time', 2026-01-03 01:00:00: a series has one row for "
        "each. Remove one, or, where the file holds several series, give each a file of its own; data.date=null takes "
        "the rows as they stand"
    )
    assert len(load(settings_of, path, window=4, date=None).train) == 66


def test_gaps_are_kept_filled_or_refused(settings_of, tmp_path):
    times, values = hours(104), [float(row) for row in range(104)]
    del times[50:54], values[50:54]
    path = write(tmp_path, {"time": times, "a": values})
    found = (
        "one step of 'time' is longer than the usual 1:00:00, the first between 2026-01-03 01:00:00 and "
        "2026-01-03 06:00:00 (row 52)"
    )
    kept = load(settings_of, path, window=4)
    assert kept.notes[1] == f"{found}: windows go over it as if there were no gap (data.gaps)"
    filled = load(settings_of, path, window=4, gaps="fill", empty="interpolate", scaling="none")
    assert filled.notes[1] == f"{found}: 4 rows are added (data.gaps=fill)"
    assert filled.train.series[:, 0].tolist() == list(range(len(filled.train.series)))
    with pytest.raises(DataError) as caught:
        load(settings_of, path, window=4, gaps="error")
    assert str(caught.value) == (
        f"data.path={path}: {found}. data.gaps=keep takes the rows as if there were no gap, data.gaps=fill fills them"
    )


@pytest.mark.parametrize(("how", "expected"), [("interpolate", [3, 4, 5, 6]), ("previous", [3, 3, 3, 6])])
def test_empty_cells_are_filled_within_their_part_or_refused(settings_of, tmp_path, how, expected):
    values = [str(row) for row in range(100)]
    values[4] = values[5] = values[69] = ""
    path = write(tmp_path, {"time": hours(100), "a": values})
    data = load(settings_of, path, window=4, empty=how, scaling="none")
    assert data.train.series[3:7, 0].tolist() == expected
    assert data.train.series[69, 0] == 68  # and nothing of row 70, which is validation
    with pytest.raises(DataError) as caught:
        load(settings_of, path, window=4)
    assert str(caught.value) == (
        f"data.path={path}: column 'a' has 3 empty cells, the first in row 6. Fill them with data.empty=interpolate "
        "or data.empty=previous, or remove those rows"
    )


@pytest.mark.parametrize("how", ["interpolate", "previous"])
@pytest.mark.parametrize("changes", [{}, {"differences": True}, {"horizon": 2, "stride": 3}])
def test_no_window_knows_what_comes_after_it_and_only_what_was_measured_is_predicted(
    settings_of, tmp_path, how, changes
):
    generator = np.random.default_rng(0)
    measured = generator.normal(size=200).round(4)
    empty = generator.random(200) < 0.2
    empty[0] = True  # of a part that begins with an empty cell, that one is filled from a later one
    other = np.where(empty, measured, measured + 5)  # each value that is there is another one

    def load_with(values):
        cells = ["" if is_empty else str(value) for is_empty, value in zip(empty, values, strict=True)]
        path = write(tmp_path, {"time": hours(200), "a": cells})
        common = {"window": 4, "empty": how, "scaling": "none", "validation_fraction": 0, "test_fraction": 0}
        return load(settings_of, path, **{**common, **changes})

    data = load_with(measured)
    samples = data.train.samples()
    assert 0 < len(samples) < len(data.train.series)
    assert any(note.endswith("they end with an empty cell, or have one in what is predicted") for note in data.notes)
    ends = np.arange(3 + changes.get("differences", False), 200, changes.get("stride", 1))[data.train.kept]
    for row, window, target in zip(ends, samples.inputs, samples.targets, strict=True):
        later = measured.copy()
        later[row + 1 :] = other[row + 1 :]  # what comes after this window changes
        changed = load_with(later).train.samples() if row % 40 == 0 else None
        steps = measured[row + 1 : row + 1 + changes.get("horizon", 1)]
        assert not empty[row + 1 : row + 1 + len(steps)].any()
        expected = steps - measured[row] if changes.get("differences") else steps
        np.testing.assert_allclose(target.numpy(), expected, atol=1e-5)
        if changed is not None:
            place = int(np.flatnonzero(ends == row)[0])
            np.testing.assert_array_equal(changed.inputs[place].numpy(), window.numpy())


# --- what cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, "data.path: no value. Give the file of your series: data.path=FILE"),
        ({"target": ["b"]}, "FILE: there is no column 'b'. The columns are: time, a, word"),
        ({"columns": []}, "data.columns is an empty list: name each column once, or give null"),
        ({"columns": ["a", "a"]}, "data.columns names 'a' twice: name each column once, or give null"),
        ({"date": "word"}, "FILE: column 'word' is to hold times, and its cells, such as 'x', are none that can be "
         "read. Write them as 2026-01-31 or 2026-01-31 23:59:59, or give data.date=null to take the rows as they "
         "stand"),
        ({"task": "classification", "label": "up"}, "FILE: data.label=up is no column, and not rise. The columns are: "
         "time, a, word"),
        ({"task": "classification", "label": "word"}, "FILE: all windows of the training part are of 'x', so there is "
         "nothing to tell apart"),
        ({"window": 20}, "FILE: the validation part has 15 of 100 rows, and one window with what is predicted takes "
         "21. Give a smaller data.window=20, or change data.validation_fraction and data.test_fraction"),
    ],
)  # fmt: skip
def test_mistakes_are_named(settings_of, tmp_path, changes, message):
    path = counted(tmp_path, word=["x"] * 100)
    with pytest.raises((DataError, ConfigError)) as caught:
        load(settings_of, **{"path": path, "window": 4, **changes})
    assert str(caught.value).replace(f"data.path={path}", "FILE") == message


def test_a_column_of_words_is_no_series(settings_of, tmp_path):
    path = counted(tmp_path, word=["x"] * 100)
    with pytest.raises(DataError, match=r"row 2: column 'word' holds numbers, and 'x' is none"):
        load(settings_of, path, window=4, columns=["word"])


# --- real series ------------------------------------------------------------------------------------------

QUICK = ("device=cpu", "device.threads=1", "report=false", "~callbacks.tensorboard")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("series/sf_temps.csv", ["data.window=50", "data.task=classification", "model=lstm", "model.hidden=10"]),
        ("series/sf_temps.csv", ["data.horizon=6", "data.differences=true", "data.gaps=fill", "data.empty=previous"]),
        ("series/airline_passengers.csv", ["data.window=12", "model=mlp"]),
    ],
)
def test_real_series_train_for_two_epochs_by_the_command(dltrain, name, overrides):
    path = realdata.need(name)
    short = ["trainer.max_epochs=2", "trainer.batch_size=128"]
    answer = dltrain("data=series_csv", f"data.path={path}", *overrides, *short, *QUICK)
    assert answer.code == 0, answer.err
    assert "reached max_epochs=2" in answer.out


def test_a_network_foretells_airline_passengers_better_than_the_last_value(dltrain):
    path = realdata.need("series/airline_passengers.csv")
    answer = dltrain(
        *("data=series_csv", f"data.path={path}", "data.window=12", "data.differences=true", "data.test_fraction=0"),
        *("model=mlp", "trainer.max_epochs=60", *QUICK),
    )
    assert answer.code == 0, answer.err
    naive = float(re.search(r"would give a validation mae of ([\d.]+)", answer.err)[1])
    reached = float(re.search(r"mae +│ +[\d.]+ │ +([\d.]+) │", answer.out)[1])
    assert reached < 0.7 * naive


def test_written_numbers_empty_words_and_korean_dates_are_read(settings_of, tmp_path):
    days = [f"{datetime(2026, 1, 1) + timedelta(days=day):%Y년 %m월 %d일}" for day in range(100)]
    sales = [f'"{1000 + day:,}"' if day != 5 else "NA" for day in range(100)]
    path = write(tmp_path, {"일자": days, "sales": sales})
    data = load(settings_of, path, window=4, empty="previous", scaling="none")
    assert data.notes[:2] == ("sees sales; predicts sales; time 일자", "read as numbers (sales: '1,000' is 1000)")
    assert data.train.series[3:7, 0].tolist() == [1003, 1004, 1004, 1006]


def test_a_series_that_never_changes_is_refused(settings_of, tmp_path):
    path = write(tmp_path, {"time": hours(100), "a": [5] * 100})
    for differences in (False, True):
        with pytest.raises(DataError, match=r"what is predicted \(a\) never changes in the training part"):
            load(settings_of, path, window=4, differences=differences)
