"""Scalars out of TensorBoard's files."""

from __future__ import annotations

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from dltrain.report import event_file


@pytest.fixture
def written(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(1, 4):
            writer.add_scalar("gradient_norm/all", step / 2, step)
            writer.add_scalar("gradient_norm/층.weight", step * 2, step)
            writer.add_scalar("other", 7, step)
            writer.add_histogram("gradient_norm/histogram", torch.randn(5000), step)
    (path,) = tmp_path.glob("events*")
    return path


def test_those_whose_tags_begin_so_are_found(written):
    assert event_file.scalars(written.parent, "gradient_norm/") == {
        "all": [(1.0, 0.5), (2.0, 1.0), (3.0, 1.5)],
        "층.weight": [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)],
    }


def test_what_a_resumed_run_writes_again_takes_the_place_of_what_was(written):
    with SummaryWriter(str(written.parent), filename_suffix=".later") as writer:
        writer.add_scalar("gradient_norm/all", 9, 3)
    assert event_file.scalars(written.parent, "gradient_norm/")["all"][-1] == (3.0, 9.0)


def test_a_damaged_file_is_read_as_far_as_it_is_whole(written):
    content = written.read_bytes()
    place = content.index("gradient_norm/층".encode())
    written.write_bytes(content[:place])
    assert event_file.scalars(written.parent, "gradient_norm/") == {"all": [(1.0, 0.5)]}
    written.write_bytes(b"\xff" * 1000)
    assert event_file.scalars(written.parent, "gradient_norm/") == {}


def test_a_run_without_the_folder_has_none(tmp_path):
    assert event_file.scalars(tmp_path / "none", "x") == {}
