"""Checkpoints: nothing is lost on the way, and nothing that is damaged is ever read."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from killing import assert_same

from dltrain import optimizers, registry, steps
from dltrain.checkpoint import SCHEMA, CheckpointStore, pack, unpack
from dltrain.data import Batch
from dltrain.errors import CheckpointError, MachineError

# --- what can stand in a checkpoint -----------------------------------------------------------------------

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


@st.composite
def tensors(draw) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    tensor = torch.tensor(draw(st.lists(st.integers(0, 100), min_size=27, max_size=27)))
    tensor = tensor[: torch.Size(shape).numel()].reshape(shape).to(dtype)
    form = draw(st.sampled_from(["plain", "transposed", "expanded", "slice", "trained"]))
    if form == "transposed":
        return tensor.transpose(0, -1) if tensor.dim() > 1 else tensor
    if form == "expanded":
        return tensor.unsqueeze(0).expand(2, *shape)
    if form == "slice":
        return torch.cat((tensor.flatten(), tensor.flatten()))[tensor.numel() :].reshape(shape)
    return tensor.requires_grad_() if form == "trained" and dtype.is_floating_point else tensor


TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["가는 말이", "$tensor", "$keys", "a/b", "a", "", "1"]))
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.just(-0.0), st.integers(2**60, 2**70))
KEYS = st.one_of(TEXTS, st.integers(-3, 10))
STATES = st.dictionaries(
    KEYS,
    st.recursive(
        PLAIN | tensors(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)
WEIGHT = torch.arange(6.0).reshape(2, 3)


def bits(value):
    """Returns a nested value with its tensors as type, shape and bytes."""
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().flatten().view(torch.uint8)
        return {"dtype": str(value.dtype), "shape": list(value.shape), "bytes": raw.tolist()}
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, (list, tuple)) else value


@given(STATES)
@example({"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan"), "text": "경마장에 있는 말이"})
@example({"one": WEIGHT, "the same": WEIGHT, "its row": WEIGHT[1], "its column": WEIGHT[:, 1], "other": WEIGHT.T})
@example({"a": {"b": torch.zeros(2)}, "a/b": torch.ones(2), "": {"a": {"b": torch.full((2,), 2.0)}}})
@example({1: torch.zeros(2), "1": torch.ones(2)})
@example({"__metadata__": torch.ones(1), "$tensor": "__metadata__", "$keys": [1], "values": [2]})
@example({"": torch.tensor(3)})
@example({})
def test_what_is_packed_comes_back(state):
    content = pack(state)
    assert_same(bits(state), bits(unpack(content, Path("x"))))
    assert pack(state) == content


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_the_state_of_an_optimizer_comes_back(name, settings_of):
    model = FourthPower()
    optimizer = optimizers.build(settings_of("optimizer", name), model.named_parameters())
    step = steps.build(model, lambda out, *_: out, optimizer, clip_norm=None, accumulate=1, autocast=None)
    for _ in range(3):
        step(Batch(torch.ones(1), torch.ones(1)))
    state = {"optimizer": optimizer.state_dict()["state"]}
    assert_same(bits(state), bits(unpack(pack(state), Path("x"))))


class FourthPower(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.output = (torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2))

    def forward(self, inputs):
        return (self.matrix**4).sum() + (self.output**4).sum()


def test_tuples_come_back_as_lists():
    assert unpack(pack({"pair": (1, (2.5, "b"))}), Path("x")) == {"pair": [1, [2.5, "b"]]}


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), 1j, Path("x")])
def test_what_cannot_be_saved_is_named_with_its_place(value):
    with pytest.raises(TypeError, match=r"^callbacks/mine/1: a \w+ cannot stand in a checkpoint"):
        pack({"callbacks": {"mine": [0, value]}})


def test_keys_that_are_neither_text_nor_numbers_are_refused():
    with pytest.raises(TypeError, match="a key of type tuple cannot stand in a checkpoint"):
        pack({"a": {(1, 2): 3}})


@pytest.mark.parametrize("content", [b"", b"x" * 7, b"\xff" * 64, b"PK\x03\x04" * 20, b"\x80\x04}" * 40])
def test_other_bytes_are_no_checkpoint(content):
    with pytest.raises(CheckpointError, match=r"^here is no checkpoint of dltrain: "):
        unpack(content, Path("here"))


def test_what_is_packed_can_be_read_by_others():
    """It is a safetensors file like any: aligned, without holes, each tensor under its path."""
    state = {"model": {"weight": WEIGHT.T, "count": torch.tensor(3), "none": torch.empty(0, 2), "half": WEIGHT.half()}}
    tensors = safetensors.torch.load(bytes(pack(state)))
    assert_same(bits(tensors), bits({f"model/{name}": tensor for name, tensor in state["model"].items()}))


def test_what_is_packed_is_a_copy():
    weight = WEIGHT.clone()
    content = pack({"weight": weight, "row": weight[1]})
    before = bytes(content)
    weight.fill_(9)
    assert bytes(content) == before


@pytest.mark.parametrize("tensor", [torch.eye(2).to_sparse(), torch.zeros(2, dtype=torch.complex128)])
def test_tensors_that_cannot_be_saved_are_named_with_their_place(tensor):
    with pytest.raises(TypeError, match=r"^model/weight: a tensor of torch\.\w+, torch\.\w+ cannot stand in"):
        pack({"model": {"weight": tensor}})


def test_other_safetensors_files_and_endless_nesting_are_no_checkpoint():

    for metadata in (None, {"dltrain": "[1]"}, {"dltrain": "{"}, {"dltrain": '{"a": {"$tensor": "gone"}}'}):
        with pytest.raises(CheckpointError, match="is no checkpoint of dltrain"):
            unpack(safetensors.torch.save({"a": WEIGHT}, metadata), Path("x"))
    for deep in ('{"a":' * 100_000, "[" * 100_000 + "]" * 100_000):
        with pytest.raises(CheckpointError, match="is no checkpoint of dltrain"):
            unpack(safetensors.torch.save({"a": WEIGHT}, {"dltrain": deep}), Path("x"))


# --- the store --------------------------------------------------------------------------------------------


def state(step: int) -> dict:
    return {"progress": {"step": step}, "model": {"weight": torch.full((40,), float(step))}}


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    """Holds steps 1 to 3, the last one pointed to."""
    store = CheckpointStore(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        store.save(f"step-{step:08d}", state(step), pointer="last")
    return store


def newest(store: CheckpointStore) -> tuple[int, list[str]]:
    loaded, notes = store.load_newest()
    return (loaded["progress"]["step"] if loaded else 0), notes


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_the_newest_checkpoint_is_loaded(store):
    assert newest(store) == (3, [])
    assert store.names() == ["step-00000001", "step-00000002", "step-00000003"]
    assert store.pointed("last") == "step-00000003" and store.pointed("best") is None
    assert names(store) == sorted(
        ["last.json", *[f"step-0000000{n}.{end}" for n in (1, 2, 3) for end in ("json", "safetensors")]]
    )


def test_a_folder_without_checkpoints_has_no_state(tmp_path):
    assert CheckpointStore(tmp_path / "none").load_newest() == (None, [])


def test_the_best_weights_are_no_state_to_go_on_from(store):
    store.save("best-step-00000009", {"model": {}}, pointer="best")
    assert newest(store) == (3, [])
    assert "best-step-00000009" in store.names()


def test_every_flipped_bit_is_detected(store):
    for end in ("safetensors", "json"):
        path = store.folder / f"step-00000003.{end}"
        whole = path.read_bytes()
        for place in [*range(0, len(whole), 97 if end == "safetensors" else 5), len(whole) - 2]:
            for bit in (1, 128):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
                try:
                    same = store.load("step-00000003")
                except CheckpointError as error:
                    assert "step-00000003" in str(error)
                else:  # white space of the manifest, or the name of a field that is not read
                    assert end == "json"
                    assert_same(same, state(3))
        path.write_bytes(whole)
    assert newest(store) == (3, [])


def test_every_truncation_and_every_zeroed_block_is_detected(store):
    path = store.folder / "step-00000003.safetensors"
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 41)]
    damaged += [whole[:start] + bytes(8) + whole[start + 8 :] for start in range(0, len(whole) - 8, 53)]
    damaged += [whole + b"\0"]
    for content in damaged:
        if content == whole:
            continue
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged: it does not match its SHA-256"):
            store.load("step-00000003")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(store):
    damage(store.folder / "step-00000003.safetensors")
    step, notes = newest(store)
    assert step == 2 and len(notes) == 1
    assert notes[0].endswith(
        "step-00000003.safetensors is damaged: it does not match its SHA-256 in step-00000003.json. "
        "Falling back to the one before"
    )


def test_a_checkpoint_without_its_manifest_is_none(store):
    (store.folder / "step-00000003.json").unlink()
    step, notes = newest(store)
    assert step == 2 and "last.json is damaged: taking step-00000002" in notes[0]
    with pytest.raises(CheckpointError, match="there is no such checkpoint, or its saving was cut off"):
        store.load("step-00000003")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"checkpoint": 3}', '{"checkpoint": "../step-00000001"}', "{}"])
def test_a_damaged_pointer_is_passed_over(content, store):
    (store.folder / "last.json").write_text(content)
    assert store.pointed("last") is None
    step, notes = newest(store)
    assert step == 3 and notes == [f"the pointer {store.folder / 'last.json'} is damaged: taking step-00000003"]


def test_a_save_that_was_cut_off_before_its_pointer_leaves_the_one_before(store):
    store.save("step-00000004", state(4))
    assert newest(store) == (3, [])


def test_when_all_are_damaged_nothing_is_loaded(store):
    for step in (1, 2, 3):
        damage(store.folder / f"step-0000000{step}.safetensors")
    with pytest.raises(CheckpointError) as caught:
        store.load_newest()
    message = str(caught.value)
    assert message.count("is damaged") == 3 and message.endswith(f"no checkpoint in {store.folder} is whole")
    assert caught.value.exit_code == 4


def test_checkpoints_that_somebody_deleted_are_missed(store):
    """A run that had a state must not start from the beginning without being told to."""
    for step in (1, 2, 3):
        store.remove(f"step-0000000{step}")
    with pytest.raises(CheckpointError, match=r"last\.json points to step-00000003, which is gone"):
        store.load_newest()


def write_as(store: CheckpointStore, name: str, schema: str) -> None:
    """Writes a whole checkpoint of another schema, as another version of dltrain would."""
    content = bytes(pack(state(int(name[5:]))))
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["schema"] = schema
    head = json.dumps(header).encode().ljust(length + 64 - length % 64)
    content = len(head).to_bytes(8, "little") + head + content[8 + length :]
    (store.folder / f"{name}.safetensors").write_bytes(content)
    manifest = {"schema": int(schema), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (store.folder / f"{name}.json").write_text(json.dumps(manifest))


def test_a_newer_schema_asks_for_the_dltrain_that_wrote_it(store):
    write_as(store, "step-00000003", str(SCHEMA + 1))
    expected = (
        rf"step-00000003\.safetensors has schema {SCHEMA + 1}, this dltrain reads up to {SCHEMA}: a newer version "
        r"wrote it\. Install that one, which environment\.json in the run's folder names, or a later one"
    )
    with pytest.raises(CheckpointError, match=expected):
        store.load("step-00000003")
    with pytest.raises(CheckpointError, match=expected):
        store.load_newest()  # nothing is wrong with it: to go on from the one before would lose what it holds


@pytest.mark.parametrize("schema", ["0", "-1"])
def test_a_schema_that_never_was_is_refused(schema, store):
    write_as(store, "step-00000003", schema)
    with pytest.raises(CheckpointError, match=f"is no checkpoint of dltrain: it has the schema {schema}"):
        store.load("step-00000003")


@pytest.mark.parametrize("schema", [SCHEMA + 1, SCHEMA - 1, None, True, "2"])
def test_a_manifest_with_another_schema_than_its_checkpoint_is_damaged(schema, store):
    path = store.folder / "step-00000003.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema}))
    with pytest.raises(CheckpointError, match=r"\.json is damaged: it gives step-00000003\.safetensors another schema"):
        store.load("step-00000003")
    assert newest(store)[0] == 2


def test_sweeping_removes_what_a_killed_process_left(store):
    for name in (".step-00000004.safetensors.123.tmp", ".last.json.77.tmp"):
        (store.folder / name).write_bytes(b"half")
    (store.folder / "step-00000004.safetensors").write_bytes(b"no manifest yet")
    store.save("best-step-00000002", {"model": {}}, pointer="best")
    store.sweep(keep={"step-00000003", "best-step-00000002"})
    assert names(store) == [
        "best-step-00000002.json", "best-step-00000002.safetensors", "best.json", "last.json",
        "step-00000003.json", "step-00000003.safetensors",
    ]  # fmt: skip


def test_a_removal_that_is_cut_off_leaves_no_half_checkpoint(store, monkeypatch):
    removed = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **_: (removed.append(path.suffix), unlink(path)))
    store.remove("step-00000001")
    assert removed == [".json", ".safetensors"]


# --- a full disk ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; tests that need it are skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("filled", [100, 200, 300, 400, 440])
def test_a_full_disk_leaves_the_checkpoint_before(filled, small_disk):
    store = CheckpointStore(small_disk)
    first = {"progress": {"step": 1}, "model": torch.zeros(70_000)}  # 0.27 MB
    store.save("step-00000001", first, pointer="last")
    (small_disk / "other").write_bytes(bytes(filled * 1024))
    with pytest.raises(MachineError, match=r"the disk is full: needs \d\.\d MB, 0\.\d MB are free") as caught:
        for step in (2, 3, 4):
            store.save(f"step-{step:08d}", {**first, "progress": {"step": step}}, pointer="last")
    assert caught.value.exit_code == 5
    step, notes = newest(store)
    assert step >= 1 and not notes
    assert not list(small_disk.glob(".*.tmp"))


@pytest.fixture
def small_files():
    """Files of this process cannot grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_be_written_leaves_the_checkpoint_before(store, small_files):
    before = names(store)
    with pytest.raises(MachineError, match="cannot be written: File too large"):
        store.save("step-00000004", {"model": torch.zeros(70_000)}, pointer="last")
    assert newest(store) == (3, []) and names(store) == before


def test_a_folder_that_may_not_be_written_is_the_machines_mistake(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(MachineError, match="cannot be"):
        CheckpointStore(tmp_path / "checkpoints").save("step-00000001", state(1))
