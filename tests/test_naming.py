"""What runs are called by that stand side by side."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from dltrain.naming import alone, differing, labels, read_config, unique

DAY = "runs/2026-07-30"
CONFIG = {
    "seed": 0,
    "run_dir": None,
    "model": {"name": "lstm", "hidden": 16, "dropout": 0.1, "block": {"kernel": 3}},
    "data": {"name": "iris", "path": "/a/한글.txt"},
    "optimizer": {"name": "adam", "lr": 0.01},
    "trainer": {"max_epochs": 3, "clip_norm": None},
    "callbacks": {"early_stopping": {"name": "early_stopping", "patience": None}},
}


def run(folder: str, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """Returns a run with changed settings; model__hidden=3 stands for model.hidden."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *parents, last = key.split("__")
        group = config
        for parent in parents:
            group = group.setdefault(parent, {})
        group[last] = value
    return Path(folder), config


def called(letters: str, time: str = "14-02-11", day: str = DAY) -> str:
    return f"{day}/{time}-iris-lstm-{letters}"


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (
            [run(called("abcd")), run(called("efgh"), optimizer__lr=0.03)],
            ["lstm lr=0.01 · abcd", "lstm lr=0.03 · efgh"],
        ),
        # The same settings: the time tells them apart, and the day where they are of several.
        (
            [run(called("abcd")), run(called("efgh", "14-05-40"))],
            ["lstm · 14-02-11 abcd", "lstm · 14-05-40 efgh"],
        ),
        (
            [run(called("abcd")), run(called("efgh", day="runs/2026-08-01"))],
            ["lstm · 07-30 14-02-11 abcd", "lstm · 08-01 14-02-11 efgh"],
        ),
        # Other data or another model say enough.
        (
            [
                run(called("abcd")),
                run(called("efgh"), data__name="digits", optimizer__lr=0.5),
                run(called("ijkl"), model={"name": "mlp", "hidden": [3, 4]}),
            ],
            ["lstm iris · abcd", "lstm digits · efgh", "mlp iris · ijkl"],
        ),
        # A setting that one optimizer has and another has not is no difference but that of their names.
        (
            [run(called("abcd")), run(called("efgh"), optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9})],
            ["lstm adam · abcd", "lstm sgd · efgh"],
        ),
        # The last part of a key is enough where no other ends with it.
        (
            [run(called("abcd"), model__block__norm="batch"), run(called("efgh"), model__block__norm="none", seed=1)],
            ["lstm norm=batch seed=0 · abcd", "lstm norm=none seed=1 · efgh"],
        ),
        (
            [
                run(called("abcd"), model__block__dropout=0.5, model__dropout=0.0),
                run(called("efgh"), model__block__dropout=0.1),
            ],
            [
                "lstm model.dropout=0 block.dropout=0.5 · abcd",
                "lstm model.dropout=0.1 block.dropout=0.1 · efgh",
            ],
        ),
        # Folders that the user has named, Korean ones too, and paths.
        (
            [run("실험/하나"), run("실험/둘", data__path="/b/둘.txt", trainer__clip_norm=1.0)],
            ["lstm path=한글.txt clip_norm=null · 하나", "lstm path=둘.txt clip_norm=1 · 둘"],
        ),
        (
            [run("a/run"), run("b/run")],
            ["lstm · run", "lstm · run (2)"],
        ),
        # Trials are called by their number, and by the letters of their sweeps where these are several.
        (
            [run(f"runs/sweeps/2026-07-30_14-02-11-grid-abcd/trials/{i}", seed=i) for i in range(2)],
            ["lstm seed=0 · trial 0", "lstm seed=1 · trial 1"],
        ),
        (
            [run(f"runs/sweeps/2026-07-30_14-02-11-grid-{name}/trials/0/seed-3") for name in ("abcd", "efgh")],
            ["lstm · abcd trial 0 seed-3", "lstm · efgh trial 0 seed-3"],
        ),
        (
            [run("runs/sweeps/mine/trials/7"), run(called("abcd"))],
            ["lstm · mine trial 7", "lstm · 14-02-11 abcd"],
        ),
        # A config that cannot be read.
        ([(Path("x/mine"), {}), run(called("abcd"))], ["mine", "lstm · abcd"]),
    ],
)
def test_labels(runs, expected):
    assert labels(runs) == expected


def test_what_is_of_files_alone_is_no_difference():
    runs = [run("a", run_dir="a", imports=["x"]), run("b", run_dir="b", imports=[])]
    assert labels(runs) == ["lstm · a", "lstm · b"]


def test_long_names_are_cut_and_stay_apart():
    keys = [f"model__setting_{number}" for number in range(30)]
    runs = [run(f"run-{i}", **dict.fromkeys(keys, f"{'긴' * 40}{i}")) for i in range(2)]
    for number, label in enumerate(labels(runs)):
        assert label.startswith("lstm setting_0=긴") and label.endswith(f"… · run-{number}")
        assert len(label.encode()) <= 255
    many = [run(f"run-{i}", **{f"model__s{n}": i for n in range(9)}) for i in range(2)]
    assert labels(many)[1] == "lstm s0=1 s1=1 s2=1 s3=1 s4=1 … · run-1"
    assert len(labels([run("x" * 300), run("y" * 300)])[0].encode()) <= 255


def test_no_name_has_what_a_file_may_not_have():
    runs = [run("a", model__cell="x/y\0\n"), run("b", model__cell="..")]
    assert labels(runs) == ["lstm cell=y__ · a", "lstm cell=.. · b"]
    assert labels([(Path("/"), {})]) == ["run"]


def test_one_run_is_called_as_its_folder():
    assert alone(Path(called("abcd"))) == "14-02-11-iris-lstm-abcd"
    assert alone(Path("runs/sweeps/mine/trials/3")) == "mine trial 3"


def test_what_tells_most_stands_first():
    runs = [
        {
            "device.name": "cpu",
            "seed": 0,
            "trainer.max_epochs": 1,
            "optimizer.lr": 1,
            "model.hidden": 1,
            "model.name": "a",
        },
        {
            "device.name": "cuda",
            "seed": 1,
            "trainer.max_epochs": 2,
            "optimizer.lr": 2,
            "model.hidden": 1,
            "model.name": "b",
        },
    ]
    assert differing(runs) == ["model.name", "optimizer.lr", "trainer.max_epochs", "seed", "device.name"]


def test_names_are_unique():
    assert list(unique(["a", "b", "a", "a"], taken=["a (2)", "b"])) == ["a", "b (2)", "a (3)", "a (4)"]


@pytest.mark.parametrize("content", ["", "[1]", "a: [", "a: &a [*a]", "\ud800"])
def test_a_config_that_cannot_be_read_is_none(content, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert read_config(path) == {}
    assert read_config(tmp_path / "missing") == {}


def test_a_thousand_runs_have_a_thousand_names():
    runs = [run(called("abcd"), seed=i, optimizer__lr=i / 7) for i in range(1000)]
    assert len(set(labels(runs))) == 1000


def test_a_config_that_is_nested_too_deep_names_nothing_and_crashes_nothing(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: " + "[" * 50_000, encoding="utf-8")
    assert read_config(path) == {}


def test_names_of_folders_that_are_no_utf_8_can_be_written():
    name = b"runs/2026-01-02/10-20-30_caf\xe9".decode("utf-8", "surrogateescape")
    (label,) = labels([run(name)])
    assert label.encode() and "caf" in label
