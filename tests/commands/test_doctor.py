"""What is said of a machine that is well, and of one that is not."""

from __future__ import annotations


def test_a_machine_that_is_well(dltrain, work):
    answer = dltrain("doctor")
    assert answer.code == 0, answer.out
    assert all(line.startswith("ok  ") for line in answer.out.splitlines())
    for what in ("torch", "hydra-core", "cpu", "gpu", "disk", "folder", "configs", "hydra plugin"):
        assert f"ok  {what} " in answer.out
    assert list(work.iterdir()) == []


def test_a_config_folder_that_is_missing(dltrain, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", "/no/such/folder")
    answer = dltrain("doctor")
    assert answer.code == 5
    assert "BAD your configs" in answer.out and "-> mend DLTRAIN_CONFIG_PATH" in answer.out
