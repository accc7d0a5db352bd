"""What is told of a run's circumstances that are no longer what they were."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dltrain.circumstances import Circumstances, differences, of_run
from dltrain.errors import CheckpointError
from dltrain.run_folder import RunFolder

CONTAINER = {
    "seed": 0,
    "run_dir": None,
    "device": {"name": "auto", "threads": None},
    "data": {"name": "csv", "path": "/data/a.csv"},
    "optimizer": {"name": "adam", "lr": 0.1},
    "trainer": {"max_epochs": 3},
}
ENVIRONMENT = {
    "dltrain": "0.1.0",
    "python": "3.11.7 (main, Jan  1 2026) [GCC]",
    "platform": "Linux-6.1.0-13-amd64-x86_64-with-glibc2.36",
    "cpu": "AVX2",
    "threads": 2,
    "cuda": None,
    "gpu": None,
    "git": {"commit": "0123456789abcdef", "changed": False, "diff": ""},
    "packages": {"torch": "2.13.0", "numpy": "2.4.0", "Pillow": "12.0", "dltrain": "0.1.0"},
}
TASK = {
    "fingerprint": "aaaaaaaaaaaa",
    "fingerprints": {"preprocessing": "1" * 64, "train": "2" * 64, "test": "3" * 64},
    "samples": {"train": 1000, "test": 10},
}


def changed(kind: str, **changes: Any) -> Circumstances:
    """Returns the circumstances with other values of one of their parts, by dotted key with __ for the dot."""
    parts = {"container": CONTAINER, "environment": ENVIRONMENT, "task": TASK}
    parts = copy.deepcopy(parts)
    for key, value in changes.items():
        *parents, last = key.split("__")
        group = parts[kind]
        for parent in parents:
            group = group[parent]
        group[last] = value
    return Circumstances(**parts)


SAME = changed("task")


def test_nothing_differs():
    assert differences(SAME, SAME) == []


@pytest.mark.parametrize(
    ("kind", "changes", "lines"),
    [
        ("container", {"run_dir": "b", "resume": True}, []),
        ("container", {"optimizer__lr": 0.2}, ["settings: optimizer.lr: 0.1 -> 0.2"]),
        ("container", {"data__path": "/elsewhere/a.csv"}, []),  # with the same fingerprint
        ("environment", {"dltrain": "0.2.0"}, ["dltrain: 0.1.0 -> 0.2.0"]),
        ("environment", {"python": "3.12.1 (main)"}, ["Python: 3.11.7 -> 3.12.1"]),
        ("environment", {"platform": "Linux-6.9.9-99-generic-x86_64-with-glibc2.36"}, []),
        (
            "environment",
            {"platform": "macOS-15.1-arm64-arm-64bit"},
            ["platform: Linux x86_64-with-glibc2.36 -> macOS arm64-arm-64bit"],
        ),
        ("environment", {"cpu": "AVX512"}, ["CPU instructions: AVX2 -> AVX512"]),
        ("environment", {"gpu": "NVIDIA H200"}, ["device: cpu -> NVIDIA H200"]),
        ("environment", {"threads": 8}, ["threads: 2 -> 8 (device.threads=2 keeps them)"]),
        ("environment", {"packages__jupyter": "1.0"}, []),  # the run did without
        (
            "environment",
            {"packages": {"pillow": "13.0", "torch": "2.14.0", "numpy": "2.4.0"}},
            ["packages: pillow 12.0 -> 13.0, torch 2.13.0 -> 2.14.0"],
        ),
        (
            "environment",
            {"packages": {"torch": "2.13.0", "numpy": "2.4.0"}},
            ["packages: pillow 12.0 -> not installed"],
        ),
        (
            "environment",
            {"git__commit": "fedcba9876543210", "git__changed": True, "git__diff": "diff --git a/m.py b/m.py\n+1\n"},
            ["git: commit 0123456789 -> fedcba9876 with changes", "git: what is not committed has changed in m.py"],
        ),
        ("environment", {"git": None}, ["git: the run was made at commit 0123456789, and here is no repository"]),
        (
            "environment",
            {"git__diff": "2000000 characters, not kept"},
            ["git: what is not committed has changed, and is too long to have been kept"],
        ),
        (
            "task",
            {"fingerprint": "bbbbbbbbbb", "fingerprints__train": "4" * 64, "samples__train": 999},
            ["data: the train split had 1,000 samples and has 999 (fingerprint 22222222, now 44444444)"],
        ),
        (
            "task",
            {"fingerprint": "bbbbbbbbbb", "fingerprints__test": "4" * 64, "fingerprints__preprocessing": "5" * 64},
            [
                "data: the preprocessing is another (fingerprint 11111111, now 55555555)",
                "data: the test split has other values (fingerprint 33333333, now 44444444)",
            ],
        ),
        (
            "task",
            {"fingerprint": "bbbbbbbbbb", "fingerprints": {"preprocessing": "1" * 64, "train": "2" * 64}},
            ["data: there is no test split (fingerprint 33333333, now none)"],
        ),
    ],
)
def test_what_differs_is_told(kind, changes, lines):
    assert differences(SAME, changed(kind, **changes)) == lines


def test_a_path_is_told_where_the_data_are_others_too():
    now = changed("container", data__path="/elsewhere/a.csv")
    now.task["fingerprint"], now.task["fingerprints"]["train"] = "b", "9" * 64
    assert differences(SAME, now) == [
        "settings: data.path: /data/a.csv -> /elsewhere/a.csv",
        "data: the train split has other values (fingerprint 22222222, now 99999999)",
    ]


def test_a_gpu_that_is_not_used_is_none_of_its_circumstances():
    on_cpu = changed("container", device__name="cpu")
    with_gpu = changed("container", device__name="cpu")
    with_gpu.environment["gpu"] = "NVIDIA H200"
    assert differences(on_cpu, with_gpu) == []


def test_files_that_are_lost_are_told():
    assert differences(Circumstances(CONTAINER, {}, {}), SAME) == [
        "data: the run has no task.json, so whether its data are still the same is not known",
        "environment: the run has no environment.json, so what it was made with is not known",
    ]


def test_of_many_packages_the_first_are_named():
    packages = {**ENVIRONMENT["packages"], **{f"p{number}": "1" for number in range(20)}}
    (line,) = differences(changed("environment", packages=packages), SAME)
    assert line.startswith("packages: p0 1 -> not installed, p1 1 -> not installed, ")
    assert line.endswith(" and 12 more")


def test_a_run_keeps_them(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text("seed: 3\n")
    assert of_run(folder).environment == {} and of_run(folder).container["seed"] == 3
    folder.environment.write_text("{")
    with pytest.raises(CheckpointError, match=r"environment\.json cannot be read"):
        of_run(folder)
