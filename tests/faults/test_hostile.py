"""R10: what strangers send runs nothing, touches nothing outside of its folder, and takes little memory and time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from commandline import QUICK
from containment import MEMORY, SECONDS, contained, contents
from pictures import cifar_batch, cifar_contents, encoded, pixels, write_folder, write_mnist, write_tar
from shards import png
from shards import write_tar as write_plain_tar

from dltrain import cli

pytestmark = pytest.mark.faults

REFUSED = {2, 3, 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run of a good person."""
    folder = tmp_path_factory.mktemp("good") / "run"
    quiet = ["~callbacks.progress", "~callbacks.summary", "callbacks.checkpoint.min_seconds=0"]
    assert cli.run([*QUICK, *quiet, f"run_dir={folder}"]) == 0
    return folder


class Place:
    """Where an attack happens: ``inside`` is the working directory, ``canary`` the file that must never be.

    Everything else below ``root`` must stay as it is: ``outside.txt``, the home folder.
    """

    def __init__(self, root: Path, trained: Path) -> None:
        self.root, self.inside, self.canary = root, root / "inside", root / "canary"
        self.scratch = root / "scratch"
        for folder in (self.inside, self.scratch, root / "home"):
            folder.mkdir()
        (root / "outside.txt").write_text("precious\n")
        (root / "home" / ".profile").write_text("precious\n")
        self._trained = trained
        self.before: dict[str, Any] = {}

    def stranger(self) -> Path:
        """Returns a run folder as a stranger sends it."""
        shutil.rmtree(self.inside / "run", ignore_errors=True)
        shutil.copytree(self._trained, self.inside / "run")
        return self.inside / "run"

    def survives(self, *arguments: object, codes: set[int] = REFUSED, says: str = "", runs: bool = False) -> str:
        """Runs a command line and checks all that is promised; returns what it printed.

        Args:
            runs: the run folder may change, as it does where the run is gone on with.
        """
        run = self.inside / "run"
        allowed = {self.scratch, run / "run.lock"} | ({run} if runs else set())
        before = self.outside(allowed)
        answer = contained(
            *arguments,
            folder=self.inside,
            scratch=self.scratch,
            HOME=str(self.root / "home"),
            DLTRAIN_CACHE=str(self.scratch / "cache"),
        )
        assert not self.canary.exists(), answer.text
        assert answer.code in codes, answer
        assert "Traceback" not in answer.text, answer.text
        assert says in answer.text, answer.text
        assert answer.megabytes < MEMORY >> 20, answer
        assert answer.seconds < SECONDS, answer
        assert self.outside(allowed) == before
        return answer.text

    def outside(self, allowed: set[Path]) -> dict[str, Any]:
        found = contents(self.root)
        names = {str(path.relative_to(self.root)) for path in allowed}
        return {
            name: what for name, what in found.items() if not any(f"{name}/".startswith(f"{here}/") for here in names)
        }


@pytest.fixture
def place(tmp_path, trained) -> Iterator[Place]:
    yield Place(tmp_path, trained)


# --- pickles ----------------------------------------------------------------------------------------------


class Runs:
    """A pickle of this calls a function when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def payloads(canary: Path) -> dict[str, Runs]:
    """Returns what a stranger may want to run, by name."""
    touch, opens = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": Runs(os.system, touch),
        "eval": Runs(eval, opens),
        "exec": Runs(exec, opens),
        "open": Runs(open, str(canary), "w"),
        "subprocess": Runs(subprocess.check_call, ["touch", str(canary)]),
        "__import__": Runs(__import__, "antigravity"),
        "torch.load": Runs(torch.load, str(canary.with_name("second.pt"))),
    }


def test_a_payload_is_one(tmp_path):
    """The control: read as Python reads pickles, each of them does what it is refused for."""
    for name, payload in payloads(tmp_path / "canary").items():
        if name in ("open", "__import__", "torch.load"):  # which stays open; a browser; a file that is not there
            continue
        pickle.loads(pickle.dumps(payload))
        assert (tmp_path / "canary").exists(), name
        (tmp_path / "canary").unlink()


def nested(evil: object) -> dict[str, object]:
    """Returns shapes of a checkpoint with the payload deep in it."""
    weight = torch.zeros(4, 4)
    return {
        "bare": evil,
        "in a dict": {"weight": weight, "evil": evil},
        "in a list": {"weight": weight, "more": [[[[evil]]]]},
        "as a key": {"weight": weight, "more": {("a", "b"): {"c": evil}}},
        "in the optimizer": {"state_dict": {"weight": weight}, "optimizer": {"state": {0: {"momentum_buffer": evil}}}},
    }


def as_zip(content: object, protocol: int) -> bytes:
    """Returns what torch.save writes, with the pickle of whatever protocol."""
    written, plain = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(4, 4)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            given = pickle.dumps(content, protocol) if name.endswith("data.pkl") else source.read(name)
            target.writestr(name, given)
    return written.getvalue()


def as_legacy(content: object, protocol: int) -> bytes:
    """Returns what torch.save wrote before 1.6: pickles one after the other."""
    parts = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    return b"".join(pickle.dumps(part, 2) for part in parts) + pickle.dumps(content, protocol) + pickle.dumps([], 2)


def as_legacy_tar(content: object, protocol: int) -> bytes:
    """Returns what torch.save wrote before 0.1.10: a tar of pickles."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            part = pickle.dumps(content, protocol)
            member = tarfile.TarInfo(name)
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    return file.getvalue()


def bare(content: object, protocol: int) -> bytes:
    return pickle.dumps(content, protocol)


FORMATS = {"pickle": bare, "zip": as_zip, "legacy": as_legacy, "legacy tar": as_legacy_tar}


def test_pickles_as_first_weights_run_nothing(place, tally, full_size):
    line = tally("R10", "pickles as weights, of every protocol, format and depth")
    place.before = contents(place.root, place.scratch)
    endings = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
    attacks = [
        (name, kind, protocol, depth)
        for name in payloads(place.canary)
        for kind in FORMATS
        for protocol in range(6)
        for depth in ("bare", "in a dict", "in a list", "as a key", "in the optimizer")
        if full_size or name == "os.system" or (protocol in (2, 4) and depth in ("bare", "in the optimizer"))
    ]
    os.chdir(place.inside)
    from dltrain.errors import CheckpointError, ConfigError
    from dltrain.transfer import load_first_weights

    model = torch.nn.Linear(4, 4)
    for number, (name, kind, protocol, depth) in enumerate(attacks):
        content = FORMATS[kind](nested(payloads(place.canary)[name])[depth], protocol)
        path = place.inside / f"weights{endings[number % len(endings)]}"
        path.write_bytes(content)
        line.tried += 1
        with pytest.raises((CheckpointError, ConfigError)):
            load_first_weights(model, path)
        assert not place.canary.exists(), (name, kind, protocol, depth)
        if number % 100 == 0:  # and once in a while the whole way, which is the same
            place.survives("check", "data=iris", f"model.init_from={path.name}")
        path.unlink()
        line.survived += 1


def vouch(path: Path, content: bytes) -> None:
    """Writes a checkpoint's content with a manifest that fits."""
    path.write_bytes(content)
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(manifest))


def test_pickles_in_a_strangers_run_folder_run_nothing(place, tally):
    line = tally("R10", "pickles in a stranger's run folder")
    evil = payloads(place.canary)["os.system"]
    for protocol in range(6):
        for kind in FORMATS if protocol == 2 else ("pickle",):
            content = FORMATS[kind](evil, protocol)
            folder = place.stranger()
            for path in (folder / "checkpoints").glob("*.safetensors"):
                vouch(path, content)
            for words in (("evaluate", "run"), ("resume", "run", "trainer.max_epochs=2")):
                line.tried += 1
                place.survives(*words, codes={4})
                line.survived += 1
    for name in ("task.json", "result.json", "config.yaml", "overrides.yaml", "checkpoints/last.json", "metrics.jsonl"):
        for words in (("evaluate", "run"), ("resume", "run", "trainer.max_epochs=2")):
            folder = place.stranger()
            (folder / name).write_bytes(bare(evil, 0))
            line.tried += 1
            place.survives(*words, codes={0, 2, 4}, runs=True)
            line.survived += 1


def test_pickles_as_data_run_nothing(place, tally, full_size):
    line = tally("R10", "pickles, npy and npz files as data sets")
    evil = payloads(place.canary)["os.system"]
    for protocol in range(6) if full_size else (0, 5):
        objects = np.empty(1, dtype=object)
        objects[0] = evil
        npy, npz = io.BytesIO(), io.BytesIO()
        np.save(npy, objects, allow_pickle=True)
        np.savez(npz, x=objects)
        for content in (bare(evil, protocol), npy.getvalue(), npz.getvalue()):
            for words in (
                ("data=csv", "data.path=x", "data.target=y"),
                ("data=text_csv", "data.path=x"),
                ("data=text", "data.path=x", "model=lstm"),
                ("data=series_csv", "data.path=x", "data.target=y"),
            ):
                if not full_size and protocol != 0:
                    continue
                (place.inside / "x").write_bytes(content)
                line.tried += 1
                place.survives("check", *words, codes={0, 3})
                line.survived += 1
            (place.inside / "x").unlink(missing_ok=True)
        write_mnist(place.inside / "m")
        (place.inside / "m" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bare(evil, protocol)))
        write_folder(place.inside / "p", {"a": 6, "b": 6})
        (place.inside / "p" / "a" / "evil.png").write_bytes(bare(evil, protocol))
        contents_ = cifar_contents(4, binary=False)
        contents_["cifar-10-batches-py/data_batch_2"] = bare({b"data": evil, b"labels": [1]}, protocol)
        write_tar(place.inside / "c" / "cifar-10-python.tar.gz", contents_)
        members = [
            (f"{i:03d}.{e}", c)
            for i in range(8)
            for e, c in (("png", png(i)), ("cls", b"1"), ("pyd", bare(evil, protocol)))
        ]
        write_plain_tar(
            place.inside / "t" / "a.tar",
            [*members, ("009.png", bare(evil, protocol)), ("009.cls", bare(evil, protocol))],
        )
        for words in (
            ("data=mnist", "data.root=m"),
            ("data=image_folder", "data.path=p"),
            ("data=cifar10", "data.root=c"),
            ("data=tar_shards", "data.path=t", "data.workers=0"),
        ):
            line.tried += 1
            place.survives("check", *words, codes={3})
            line.survived += 1
        for name in "mpct":
            shutil.rmtree(place.inside / name)


# --- bombs ------------------------------------------------------------------------------------------------


def header(tensors: dict[str, Any], body: bytes = b"", length: int | None = None) -> bytes:
    """Returns a safetensors file of whatever header."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def of_shape(shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


def deep_list() -> bytes:
    """Returns a pickle of 10^6 lists in one another."""
    return b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."


def zip_bomb() -> bytes:
    """Returns what torch.save might have written, with 4 GB of zeros packed to 4 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        plain = io.BytesIO()
        torch.save({"weight": torch.zeros(4, 4)}, plain)
        with zipfile.ZipFile(plain) as source:
            for name in source.namelist():
                if name.endswith("/data/0"):
                    with archive.open(name, "w", force_zip64=True) as member:
                        for _ in range(2**10):
                            member.write(bytes(2**22))
                else:
                    archive.writestr(name, source.read(name))
    return file.getvalue()


def huge_bytearray() -> bytes:
    return b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R."


FILES: dict[str, Callable[[], bytes]] = {
    "a header longer than the file": lambda: header({"a": of_shape([1], 0, 4)}, bytes(4), length=2**40),
    "a header of 2^63 bytes": lambda: header({}, length=2**63 - 1),
    "overlapping tensors": lambda: header({"a": of_shape([2], 0, 8), "b": of_shape([2], 4, 12)}, bytes(12)),
    "a tensor beyond the end": lambda: header({"a": of_shape([2**40], 0, 2**42)}, bytes(8)),
    "a shape that overflows": lambda: header({"a": of_shape([2**62, 2**62], 0, 4)}, bytes(4)),
    "a negative offset": lambda: header({"a": of_shape([1], -4, 0)}, bytes(4)),
    "a header that is no JSON": lambda: struct.pack("<Q", 8) + b"\x80\x04]]]]]]",
    "a header 10^6 deep": lambda: struct.pack("<Q", 2 * 10**6) + b"[" * 10**6 + b"]" * 10**6,
    "metadata 10^6 deep": lambda: header({"__metadata__": {"dltrain": "[" * 10**6 + "]" * 10**6}}),
    "metadata of a tensor that is not there": lambda: header({"__metadata__": {"dltrain": '{"$tensor": "x"}'}}),
    "a pickle 10^6 deep": deep_list,
    "a zip bomb": zip_bomb,
    "a bytearray of 2^40 bytes": huge_bytearray,
    "a tuple 10^6 deep": lambda: b"\x80\x02)" + b"\x85" * 10**6 + b".",
    "a dict with a key 10^6 deep": lambda: b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.",
    "nothing": lambda: b"",
    "zeros": lambda: bytes(10**6),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bomb_as_weights_or_checkpoint_goes_out(name, place, tally):
    line = tally("R10", "bombs and lying headers as weights and as checkpoints")
    content = FILES[name]()
    for ending in ("pt", "safetensors"):
        (place.inside / f"weights.{ending}").write_bytes(content)
        line.tried += 1
        place.survives("check", "data=iris", f"model.init_from=weights.{ending}", codes={2, 4})
        line.survived += 1
    folder = place.stranger()
    for path in (folder / "checkpoints").glob("*.safetensors"):
        vouch(path, content)
    line.tried += 1
    place.survives("evaluate", "run", codes={4})
    line.survived += 1


ODD_TENSORS: dict[str, Callable[[], object]] = {
    "meta": lambda: torch.empty(4, 4, device="meta"),
    "sparse": lambda: torch.eye(4).to_sparse(),
    "compressed": lambda: torch.eye(4).to_sparse_csr(),
    "complex": lambda: torch.zeros(4, 4, dtype=torch.complex64),
    "float8": lambda: torch.zeros(4, 4).to(torch.float8_e4m3fn),
    "expanded to 2^60": lambda: torch.zeros(1).expand(2**30, 2**30),
    "expanded to fit": lambda: torch.zeros(1).expand(4, 4),
    "a parameter": lambda: torch.nn.Parameter(torch.zeros(4, 4)),
    "no dimension": lambda: torch.tensor(1.0),
    "no element": lambda: torch.zeros(0, 4),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", ODD_TENSORS)
def test_tensors_of_odd_kinds_are_taken_or_refused(name, place, tally):
    line = tally("R10", "tensors of odd kinds as weights")
    torch.save({"layers.1.weight": ODD_TENSORS[name]()}, place.inside / "weights.pt")
    line.tried += 1
    place.survives("check", "data=iris", "model.hidden=[4]", "model.init_from=weights.pt", codes={0, 2, 4})
    line.survived += 1


# --- YAML -------------------------------------------------------------------------------------------------

TARGET = "{_target_: os.system, command: 'touch CANARY'}"
HANDLER = "{x: {(): os.system, command: 'touch CANARY'}}"
LOGGING = f"{{version: 1, root: {{handlers: [x]}}, handlers: {HANDLER}}}"
GROUPS = ("data", "model", "loss", "optimizer", "scheduler", "callbacks", "device", "trainer", "sweep")
PYTHON = (
    "!!python/object/apply:os.system ['touch CANARY']",
    "!!python/object/new:os.system ['touch CANARY']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:os._wrap_close {}",
    "!!python/tuple [!!python/object/apply:os.system ['touch CANARY']]",
)


def hostile_words() -> dict[str, list[str]]:
    """Returns command lines that try to have something run, as a web page may have them to copy."""
    words = {
        f"_target_ in {group}": [f"++{group}._target_=os.system", f"++{group}.command='touch CANARY'"]
        for group in GROUPS
    }
    words |= {f"_target_ deep in {group}": [f"++{group}.a.b.c._target_=os.system"] for group in GROUPS}
    words |= {
        "_target_ at the top": ["++_target_=os.system"],
        "_target_ in a list": ["model.hidden=[{_target_: os.system, command: 'touch CANARY'}]"],
        "_target_ in a callback": [f"++callbacks.evil={TARGET}"],
        "launcher": ["++hydra.launcher._target_=os.system", "++hydra.launcher.command='touch CANARY'"],
        "sweeper": ["++hydra.sweeper._target_=os.system", "++hydra.sweeper.command='touch CANARY'"],
        "hydra callback": [f"++hydra.callbacks.evil={TARGET}"],
        "job logging": [f"++hydra.job_logging={LOGGING}"],
        "hydra logging": [f"++hydra.hydra_logging={LOGGING}"],
        "job logging class": [
            "++hydra.job_logging={version: 1, root: {handlers: [x]}, "
            "handlers: {x: {class: subprocess.Popen, args: [touch, CANARY]}}}"
        ],
        "decode": ["model.hidden='${oc.decode:\"!!python/object/apply:os.system [touch CANARY]\"}'"],
        "create": ["+x='${oc.create:{_target_: os.system}}'"],
        "eval resolver": ['seed=\'${eval:__import__("os").system("touch CANARY")}\''],
    }
    return words


@pytest.mark.parametrize("many", [False, True], ids=["one run", "multirun"])
def test_command_lines_run_nothing(many, place, tally, full_size):
    line = tally("R10", "_target_, logging callables and resolvers on the command line")
    (place.inside / "evil.py").write_text(f"open({str(place.canary)!r}, 'w')\n")
    flags = ["-m"] if many else []
    for name, words in hostile_words().items():
        if many and not full_size and "_target_" in name and "callback" not in name:
            continue  # which one run has shown already
        written = [word.replace("CANARY", str(place.canary)) for word in words]
        line.tried += 1
        place.survives(*flags, *QUICK, *written, codes={2})
        line.survived += 1


def hostile_files() -> dict[str, tuple[str, str, list[str]]]:
    """Returns YAML files of a stranger's config folder: their path, their text, and what chooses them."""
    files = {}
    for group in GROUPS:
        choose = [f"{group}=evil"]
        files[f"_target_ in {group}"] = (f"{group}/evil.yaml", "_target_: os.system\ncommand: touch CANARY\n", choose)
        files[f"object in {group}"] = (f"{group}/evil.yaml", f"name: x\nvalue: {PYTHON[0]}\n", choose)
    for number, text in enumerate(PYTHON):
        files[f"python {number}"] = ("model/evil.yaml", f"name: mlp\nhidden: {text}\n", ["model=evil"])
    above = "# @package _global_\n"
    files |= {
        "hydra in an experiment": (
            "experiment/evil.yaml",
            f"{above}hydra:\n  job_logging: {LOGGING}\n  hydra_logging: {LOGGING}\n  callbacks: {{evil: {TARGET}}}\n",
            ["experiment=evil"],
        ),
        "launcher in an experiment": (
            "experiment/evil.yaml",
            f"{above}hydra:\n  launcher: {TARGET}\n  sweeper: {TARGET}\n",
            ["experiment=evil"],
        ),
        "job logging of its own": ("hydra/job_logging/evil.yaml", LOGGING, ["hydra/job_logging=evil"]),
        "launcher of its own": ("hydra/launcher/evil.yaml", TARGET, ["hydra/launcher=evil"]),
        "sweeper of its own": ("hydra/sweeper/evil.yaml", TARGET, ["hydra/sweeper=evil"]),
        "callbacks of its own": ("hydra/callbacks/evil.yaml", f"evil: {TARGET}", ["+hydra/callbacks=evil"]),
        "another default": (
            "hydra/default.yaml",
            f"# @package hydra\nlauncher: {TARGET}\nsweeper: {TARGET}\njob_logging: {LOGGING}\n",
            [],
        ),
        "another entry": ("train.yaml", f"hydra:\n  job_logging: {LOGGING}\n  launcher: {TARGET}\n", []),
        "a billion laughs": ("model/evil.yaml", laughs(), ["model=evil"]),
        "a list 10^5 deep": ("model/evil.yaml", "name: mlp\nhidden: " + "[" * 10**5 + "]" * 10**5, ["model=evil"]),
        "an endless merge": ("model/evil.yaml", "a: &a\n  <<: *a\n", ["model=evil"]),
    }
    return files


def laughs() -> str:
    """Returns a kilobyte of YAML that stands for 10^9 words."""
    lines = ["name: mlp", "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\nhidden: *a8\n"


@pytest.mark.parametrize("many", [False, True], ids=["one run", "multirun"])
def test_config_folders_run_nothing(many, place, tally, full_size):
    line = tally("R10", "YAML files of a stranger's config folder")
    flags = ["-m"] if many else []
    for name, (path, text, words) in hostile_files().items():
        if not full_size and (" in " in name and "experiment" not in name and (many or "object" in name)):
            continue
        shutil.rmtree(place.inside / "theirs", ignore_errors=True)
        file = place.inside / "theirs" / path
        file.parent.mkdir(parents=True)
        file.write_text(text.replace("CANARY", str(place.canary)))
        (place.inside / "theirs" / "evil.py").write_text(f"open({str(place.canary)!r}, 'w')\n")
        line.tried += 1
        print(name)
        place.survives(*flags, "--config-dir", "theirs", *QUICK, *words, codes={2})
        line.survived += 1


def test_configs_of_strangers_run_nothing(place, tally, full_size):
    line = tally("R10", "a stranger's config.yaml, and the modules that it names")
    saved = (place.stranger() / "config.yaml").read_text()
    texts = [f"{saved}evil: {text}\n" for text in PYTHON] + [
        f"{saved}{group}:\n  _target_: os.system\n" for group in GROUPS
    ]
    texts += [saved.replace("hidden:\n", f"hidden: {TARGET}\n  old:\n"), laughs(), "[" * 10**5, saved + laughs()]
    texts += [saved + f"hydra:\n  job_logging: {LOGGING}\n", saved + f"_target_: {TARGET}\n"]
    for text in texts:
        folder = place.stranger()
        (folder / "config.yaml").write_text(text.replace("CANARY", str(place.canary)))
        verbs = [("evaluate", "run"), ("--config", "run/config.yaml"), ("resume", "run", "trainer.max_epochs=2")]
        for words in verbs if full_size or "lol" in text else verbs[:1]:
            line.tried += 1
            place.survives(*words, codes={2, 4})
            line.survived += 1


def test_a_module_of_the_run_folder_itself_is_never_imported(place, tally, full_size):
    """A run that is gone on with imports the user's own modules; never one that came with the run."""
    line = tally("R10", "a stranger's config.yaml, and the modules that it names")
    for name in ("evil", "evil.deep", "checkpoints", "antigravity2"):
        folder = place.stranger()
        text = (folder / "config.yaml").read_text().replace("imports: []", f"imports: [{name}]")
        (folder / "config.yaml").write_text(text)
        module = f"open({str(place.canary)!r}, 'w')\n"
        (folder / "evil.py").write_text(module)
        (folder / "antigravity2").mkdir()
        (folder / "antigravity2" / "__init__.py").write_text(module)
        (folder / "checkpoints" / "__init__.py").write_text(module)
        for words in (
            ("evaluate", "."),
            ("resume", ".", "trainer.max_epochs=2"),
            ("--config", "config.yaml"),
        ):
            line.tried += 1
            inside, place.inside = place.inside, folder
            place.survives(*words, codes={2, 4}, says="imports")
            place.inside = inside
            if full_size or name == "evil":
                place.survives(
                    words[0], "run" if words[0] != "--config" else "run/config.yaml", *words[2:], codes={2, 4}
                )
            line.survived += 1


# --- archives and links -----------------------------------------------------------------------------------


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0, mode: int = 0o644
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, target, size, mode
    return made


def hostile_members(name: str, content: bytes, outside: Path) -> dict[str, list[tuple[tarfile.TarInfo, bytes]]]:
    """Returns members that take the place of one named ``name``, or stand beside it."""
    plain = member(name, size=len(content))
    return {
        "above": [(member(f"../../{name}", size=len(content)), content)],
        "absolute": [(member(f"{outside}/{name}", size=len(content)), content)],
        "symbolic link": [(member(name, tarfile.SYMTYPE, str(outside / "outside.txt")), b"")],
        "hard link": [(member(name, tarfile.LNKTYPE, str(outside / "outside.txt")), b"")],
        "link, then through it": [
            (member("link", tarfile.SYMTYPE, str(outside)), b""),
            (member(f"link/{name}", size=len(content)), content),
        ],
        "character device": [(member(name, tarfile.CHRTYPE), b"")],
        "block device": [(member(name, tarfile.BLKTYPE), b"")],
        "pipe": [(member(name, tarfile.FIFOTYPE), b"")],
        "setuid": [(member(name, size=len(content), mode=0o6755), content)],
        "huge": [(member(name, size=2**40), content)],
        "long": [(member("a/" * 5000 + name, size=len(content)), content)],
        "twice": [(plain, content), (plain, content)],
    }


def archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], *, packed: bool) -> None:
    """Writes headers and contents as they are, whatever the headers say of the size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for info, body in members:
        content += info.tobuf(tarfile.PAX_FORMAT) + body + bytes(-len(body) % 512)
    content += bytes(1024)
    path.write_bytes(gzip.compress(content, 1) if packed else content)


def test_archives_leave_nothing_outside(place, tally, full_size):
    line = tally("R10", "archives with ../, absolute names, links, devices, setuid, huge members")
    batch = cifar_batch("x", 4, 0, binary=True)
    good = [(member(n, size=len(c)), c) for n, c in cifar_contents(4, binary=True).items() if isinstance(c, bytes)]
    attacks = hostile_members("cifar-10-batches-bin/data_batch_2.bin", batch, place.root)
    for members in attacks.values():
        kept = [(info, body) for info, body in good if not info.name.endswith("data_batch_2.bin")]
        archive(place.inside / "c" / "cifar-10-binary.tar.gz", [*kept, *members], packed=True)
        for verb in (("check",), ("data", "prepare")) if full_size else (("check",),):
            line.tried += 1
            place.survives(*verb, "data=cifar10", "data.root=c", codes={0, 3})
            line.survived += 1
    picture = encoded(pixels(0, 6, 6, 3))
    samples = [(f"{i:03d}.{e}", c) for i in range(20) for e, c in (("png", picture), ("cls", str(i % 2).encode()))]
    for members in hostile_members("009x.png", picture, place.root).values():
        plain = [(member(n, size=len(c)), c) for n, c in samples]
        label = (member("009x.cls", size=1), b"1")
        archive(place.inside / "t" / "a.tar", [*plain, *members, label], packed=False)
        for verb in (("check",), ("data", "prepare")) if full_size else (("check",),):
            line.tried += 1
            place.survives(*verb, "data=tar_shards", "data.path=t", "data.workers=0", "model=mlp", codes={0, 3})
            line.survived += 1


@pytest.mark.parametrize("kind", ["one line", "zeros", "cells"])
def test_data_that_unpack_to_far_more_are_refused(kind, place, tally):
    line = tally("R10", "bombs as data sets")
    bombs = {"one line": b"a" * 2**22, "zeros": bytes(2**22), "cells": b"," * 2**22}
    for piece in (bombs[kind],):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        with (place.inside / "x.gz").open("wb") as file:
            for _ in range(2**8):
                file.write(packer.compress(piece))
            file.write(packer.flush())
        for words in (
            ("data=csv", "data.path=x.gz", "data.target=y"),
            ("data=text_csv", "data.path=x.gz"),
            ("data=text", "data.path=x.gz", "model=lstm"),
            ("data=series_csv", "data.path=x.gz", "data.target=y"),
        ):
            line.tried += 1
            place.survives("check", *words, codes={3})
            line.survived += 1
        write_mnist(place.inside / "m")
        shutil.copy(place.inside / "x.gz", place.inside / "m" / "train-images-idx3-ubyte.gz")
        write_tar(place.inside / "c" / "cifar-10-python.tar.gz", {})
        shutil.copy(place.inside / "x.gz", place.inside / "c" / "cifar-10-python.tar.gz")
        for words in (("data=mnist", "data.root=m"), ("data=cifar10", "data.root=c")):
            line.tried += 1
            place.survives("check", *words, codes={3})
            line.survived += 1


LINKED = (
    "run.lock",
    "train.log",
    "metrics.jsonl",
    "result.json",
    "overrides.yaml",
    "environment.json",
    "evaluation.json",
)


@pytest.mark.parametrize("name", LINKED)
def test_a_link_in_a_strangers_run_folder_is_not_written_through(name, place, tally):
    line = tally("R10", "links in a stranger's run folder")
    for words in (("resume", "run", "trainer.max_epochs=2"), ("evaluate", "run")):
        folder = place.stranger()
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(place.root / "outside.txt")
        line.tried += 1
        place.survives(*words, codes={0, 2, 4, 5}, runs=True)
        assert (place.root / "outside.txt").read_text() == "precious\n"
        line.survived += 1


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard"])
def test_a_folder_that_is_a_link_is_not_written_through(name, place, tally):
    line = tally("R10", "links in a stranger's run folder")
    other = place.root / "other"
    shutil.copytree(place.stranger() / "checkpoints", other)
    (other / "step-00000001.json").write_text("{}")
    folder = place.stranger()
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    (folder / name).symlink_to(other)
    line.tried += 1
    place.survives(
        "resume", "run", "trainer.max_epochs=2", "callbacks.checkpoint.min_seconds=0", codes={2, 4, 5}, runs=True
    )
    line.survived += 1


def test_safetensors_of_dltrain_cannot_hold_what_is_no_tensor(tmp_path, tally):
    """The control of the format: what a hostile file may say in its JSON becomes plain values only."""
    line = tally("R10", "bombs and lying headers as weights and as checkpoints")
    from dltrain.checkpoint import unpack

    text = json.dumps({"a": {"__class__": "os.system"}, "b": {"$keys": [1], "values": ["!!python/name:os.system"]}})
    content = safetensors.torch.save({"x": torch.zeros(1)}, {"dltrain": text})
    line.tried += 1
    assert unpack(content, tmp_path) == {"a": {"__class__": "os.system"}, "b": {1: "!!python/name:os.system"}}
    line.survived += 1
