"""R5: a damaged checkpoint is found out: refused, or passed over for the one before, and said."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import pytest
from families import overrides_of
from killing import EVERY_STEP, assert_same, train, what_counts

from dltrain.checkpoint import CheckpointStore, load_state
from dltrain.errors import CheckpointError
from dltrain.run_folder import RunFolder

pytestmark = pytest.mark.faults

KEPT = ["callbacks.checkpoint.keep_last=3", "callbacks.checkpoint.keep_best=3"]


@pytest.fixture(scope="module")
def overrides(files: Path) -> list[str]:
    return [*EVERY_STEP, *overrides_of("bidirectional_gru", files), *KEPT]


@pytest.fixture(scope="module")
def whole(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three states and three best weights."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    assert train(folder, overrides) == 0
    return folder


class Intact:
    """What all checkpoints of a run give while nothing is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self.store = CheckpointStore(self.folder.checkpoints)
        self.states = {name: self.store.load(name) for name in self.store.names()}
        self.pointed = {pointer: self.store.pointed(pointer) or "" for pointer in ("last", "best")}

    def detects(self) -> bool:
        """Tells whether something is refused or noted now; what is not must be as it was.

        Raises:
            AssertionError: something else is loaded than what was saved, and nothing is said of it.
        """
        said = False
        for name, before in self.states.items():
            with _refused() as refusal:
                assert_same(before, self.store.load(name), name)
            said |= bool(refusal)
        with _refused() as refusal:
            state, notes = self.store.load_newest()
            name = self.pointed["last"] if not notes else f"step-{state['progress']['step']:08d}"
            assert_same(self.states[name], state, "newest")
            said |= bool(notes)
        said |= bool(refusal)
        for pointer, expected in self.pointed.items():
            with _refused() as refusal:
                name, state = load_state(self.folder, pointer)
                assert name == expected, f"{pointer} is {name} and not {expected}"
                assert_same(self.states[expected], state, pointer)
            said |= bool(refusal)
        return said


@contextlib.contextmanager
def _refused():
    refusal: list[CheckpointError] = []
    try:
        yield refusal
    except CheckpointError as error:
        refusal.append(error)


def targets(folder: Path) -> dict[str, tuple[list[Path], float]]:
    """Returns the kinds of files, and how often each is damaged."""
    found = folder / "checkpoints"
    return {
        "header": (sorted(found.glob("*.safetensors")), 1),
        "content": (sorted(found.glob("*.safetensors")), 3),
        "manifest": (sorted(found.glob("*step-*.json")), 1.5),
        "pointer": ([found / "last.json", found / "best.json"], 1.5),
    }


def flip(content: bytes, generator: random.Random, end: int) -> bytes:
    place = generator.randrange(end)
    return content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :]


def truncate(content: bytes, generator: random.Random, end: int) -> bytes:
    return content[: generator.randrange(end)]


def zero(content: bytes, generator: random.Random, end: int) -> bytes:
    size = min(512, len(content))
    place = generator.randrange(0, end, size)
    return content[:place] + bytes(len(content[place : place + size])) + content[place + size :]


DAMAGES = {"flipped bits": (flip, 300, 6000), "truncations": (truncate, 100, 2000), "zeroed blocks": (zero, 50, 1000)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_out(damage: str, whole: Path, tmp_path: Path, tally, full_size) -> None:
    line = tally("R5", f"{damage} in content, manifests and pointers of checkpoints are found out")
    harm, few, many = DAMAGES[damage]
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    intact, generator, kinds = Intact(folder), random.Random(damage), targets(folder)
    assert not intact.detects()
    while line.tried < (many if full_size else few):
        (kind,) = generator.choices([*kinds], [weight for _, weight in kinds.values()])
        path = generator.choice(kinds[kind][0])
        before = path.read_bytes()
        end = 8 + int.from_bytes(before[:8], "little") if kind == "header" else len(before)
        after = harm(before, generator, end)
        if after == before:  # zeros that were zeros already
            continue
        line.tried += 1
        path.write_bytes(after)
        detected = intact.detects()
        # A manifest or pointer may lose its last line feed and mean the same.
        assert detected or (path.suffix == ".json" and after.strip() == before.strip()), (path.name, after[:200])
        path.write_bytes(before)
        line.survived += 1


def test_each_bit_of_the_pointers_counts(whole: Path, tmp_path: Path, tally) -> None:
    """One wrong bit in a number may name another checkpoint that is there."""
    line = tally("R5", "each bit of the pointers, flipped, is found out")
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    intact = Intact(folder)
    for pointer in ("last", "best"):
        path = folder / "checkpoints" / f"{pointer}.json"
        before = path.read_bytes()
        for bit in range(8 * len(before.strip())):
            line.tried += 1
            place, mask = bit // 8, 1 << bit % 8
            path.write_bytes(before[:place] + bytes([before[place] ^ mask]) + before[place + 1 :])
            name = intact.store.pointed(pointer)
            # A wrong key of the checksum leaves a pointer as older versions wrote them, to the same checkpoint.
            assert name is None or name == intact.pointed[pointer], f"{pointer}.json points to {name}"
            line.survived += 1
        path.write_bytes(before)


def test_a_resumed_run_passes_over_what_is_damaged_and_says_so(whole, overrides, tmp_path, tally, full_size) -> None:
    """It goes on from the checkpoint before, to the same bits."""
    line = tally("R5", "runs whose newest checkpoint is damaged say so, and go on to the same bits from the one before")
    assert train(tmp_path / "longer", [*overrides, "trainer.max_epochs=12"]) == 0
    longer = what_counts(tmp_path / "longer")
    generator = random.Random(0)
    for number in range(60 if full_size else 6):
        line.tried += 1
        folder, says = tmp_path / f"damaged-{number}", tmp_path / "says"
        shutil.copytree(whole, folder)
        newest = CheckpointStore(folder / "checkpoints").pointed("last")
        path = folder / "checkpoints" / (f"{newest}.safetensors", f"{newest}.json", "last.json")[number % 3]
        content = path.read_bytes()
        path.write_bytes(flip(content, generator, len(content.strip())))
        code = train(folder, overrides, resume_with=["trainer.max_epochs=12"], says=says)
        text = says.read_text(encoding="utf-8")
        assert code == 0 and ("damaged" in text or "cannot be read" in text), (path.name, text)
        assert_same(longer, what_counts(folder))
        line.survived += 1


@pytest.mark.parametrize("ending", [".safetensors", ".json"])
def test_where_nothing_is_whole_the_verbs_refuse(ending: str, whole: Path, overrides, tmp_path: Path, dltrain, tally):
    """With exit 4, and change nothing."""
    line = tally("R5", "verbs refuse where no checkpoint is whole")
    folder, says, generator = tmp_path / "run", tmp_path / "says", random.Random(0)
    shutil.copytree(whole, folder)
    for path in (folder / "checkpoints").glob(f"*step-*{ending}"):
        content = path.read_bytes()
        path.write_bytes(flip(content, generator, len(content.strip())))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}
    line.tried += 1
    assert train(folder, overrides, resume_with=["trainer.max_epochs=12"], says=says) == 4
    text = says.read_text(encoding="utf-8")
    assert "no checkpoint in" in text and "is whole" in text and "Traceback" not in text, text
    for checkpoint in ("best", "last"):
        assert dltrain("evaluate", folder, "--checkpoint", checkpoint).code == 4
        assert dltrain("generate", folder, "경", "--checkpoint", checkpoint).code == 4
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}
    assert before == after
    line.survived += 1
