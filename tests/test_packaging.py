"""What is installed: one version, quick verbs, complete pins, and a wheel that works away from the checkout.

The slow tests build the wheel (through the source distribution, so that this is complete too) and install it
into an environment of its own, which borrows every other package of the running one by a symbolic link:
nothing is downloaded, and the checkout, which an editable install puts on the path, cannot be seen.
"""

import os
import re
import site
import subprocess
import sys
import textwrap
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dltrain
from dltrain import cli

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "hydra", "omegaconf", "numpy", "sklearn", "tensorboard")


def run(*command, **options):
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=600, check=False, **options
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


# --- fast -------------------------------------------------------------------------------------------------


def test_the_version_stands_in_one_place():
    assert metadata.version("dltrain") == dltrain.__version__, "run pip install -e . again"
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_help_as_a_module():
    shown = run(sys.executable, "-m", "dltrain", "--help")
    assert all(f"\n  {verb} " in shown for verb in cli.VERBS)


ANSWERED_AT_ONCE = (
    "--help",
    "--version",
    "list",
    "list model",
    "list --help",
    "completion bash",
    "__complete 1 -- dltrain model=l",
    "__complete 1 -- dltrain optimizer.",
)


@pytest.mark.parametrize("arguments", ANSWERED_AT_ONCE)
def test_what_must_answer_at_once_imports_nothing_heavy(arguments):
    code = f"""
        import sys
        from dltrain.cli import run
        exit_code = run(sys.argv[1:])
        heavy = sorted(set({HEAVY}) & set(sys.modules))
        sys.exit(f"imported: {{heavy}}" if heavy else exit_code)
    """
    assert run(sys.executable, "-c", textwrap.dedent(code), *arguments.split())


def pins():
    """Returns the lines of constraints.txt that hold for this Python, by package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found if pin.marker is None or pin.marker.evaluate()}


def needed(requirement, seen):
    """Yields a requirement and, from what is installed, all that it needs in turn."""
    name = canonicalize_name(requirement.name)
    if (name, *requirement.extras) in seen:
        return
    seen.add((name, *requirement.extras))
    yield requirement
    for inner in map(Requirement, metadata.requires(name) or []):
        if re.match(r"(nvidia|cuda|triton)\b", inner.name):
            continue  # what a CUDA build of torch brings along, torch pins itself
        extras = requirement.extras or {""}
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
            yield from needed(inner, seen)


def test_everything_that_an_install_brings_is_pinned_within_its_range():
    pinned = pins()
    for requirement in needed(Requirement("dltrain[dev]"), set()):
        name = canonicalize_name(requirement.name)
        if name == "dltrain":
            continue
        assert name in pinned, f"constraints.txt has no line for {name}"
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert pin.version in requirement.specifier, f"{pinned[name]} is outside of {requirement}"


# --- slow: the wheel --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Returns the wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Returns the bin folder of an environment that has the wheel and, borrowed, what it needs."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for source in [*site.getsitepackages(), site.getusersitepackages()]:
        for entry in sorted(Path(source).glob("*")):
            own = re.match(r"(_+editable_.*)?dltrain|hydra_plugins$|__pycache__$", entry.name)
            if not own and entry.suffix != ".pth" and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    # Not --no-deps: pip finds what the wheel asks for among what is borrowed, or fails.
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", home / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-index", wheel)
    return home / "bin"


@pytest.fixture
def place(tmp_path, installed):
    """Returns an empty folder to work in, and the environment variables of a user whose home is empty too."""
    for name in ("work", "home", "tmp"):
        (tmp_path / name).mkdir()
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    variables = kept | {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",  # the driver keeps a cache in the home folder
    }
    return {"cwd": tmp_path / "work", "env": variables}


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_wheel_holds_what_it_must_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"dltrain/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dltrain").rglob("*.py")}
    expected |= {name.removeprefix("dltrain/_hydra/") for name in sources}
    assert {
        "dltrain/configs/train.yaml",
        "hydra_plugins/dltrain/search_path.py",
        "dltrain/__main__.py",
    } <= expected
    assert expected <= names
    assert "dltrain/py.typed" in names
    assert "hydra_plugins/__init__.py" not in names, "it would hide the plugins of other packages"
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"dltrain", "hydra_plugins", f"dltrain-{dltrain.__version__}.dist-info"}
    assert not [name for name in names if re.search(r"test|\.pyc$|(^|/)(runs|_hydra)/", name)]


@pytest.mark.slow
def test_modules_and_configs_come_from_the_wheel(place):
    code = """
        import sys
        from importlib.util import find_spec
        from pathlib import Path
        import dltrain
        from dltrain import config_files
        print(dltrain.__file__)
        print(config_files.config_dir() / "train.yaml")
        print(find_spec("hydra_plugins.dltrain.search_path").origin)
        print(*sys.path, sep="\\n")
    """
    package, configs, plugin, *search_path = run("python", "-c", textwrap.dedent(code), **place).splitlines()
    (packages,) = [folder for folder in search_path if folder.endswith("site-packages")]
    assert Path(package) == Path(packages, "dltrain/__init__.py")
    assert Path(configs) == Path(packages, "dltrain/configs/train.yaml")
    assert Path(plugin) == Path(packages, "hydra_plugins/dltrain/search_path.py")
    assert not [folder for folder in search_path if Path(folder).is_relative_to(ROOT)]


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_folder_and_writes_only_runs_and_its_cache(place):
    assert run("python", "-m", "dltrain", "--version", **place) == f"dltrain {dltrain.__version__}\n"
    run("dltrain", "model=lstm", "data=korean_text", "trainer.max_epochs=2", **place)
    run("dltrain", "evaluate", "last", **place)
    work = place["cwd"]
    (result,) = work.glob("runs/*/*/result.json")
    assert (result.parent / "checkpoints").is_dir()
    assert entries(work) == ["runs"]
    assert entries(work.parent / "home") == [".cache"]
    assert entries(work.parent / "home" / ".cache") == ["dltrain"]
    assert entries(work.parent / "tmp") == []


OWN_MODEL = """
from dataclasses import dataclass
from math import prod

from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.models import WithAuxiliary, require_values


@dataclass(frozen=True)
class TinySettings:
    name: str = setting("Name of the model.")
    hidden: int = setting("Hidden units.", min=1)
    activation: str = setting("Function after the hidden layer.", choices=activations.CHOICES)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "tiny", TinySettings)
class Tiny(nn.Module):
    def __init__(self, settings, *, task):
        super().__init__()
        width = prod(require_values("tiny", task).shape)
        self.hidden = nn.Linear(width, settings.hidden * activations.pieces(settings.activation))
        self.function = activations.activation(settings.activation)
        self.output = nn.Linear(settings.hidden, task.output_size)
        self.helper = nn.Linear(width, task.output_size)
        self.notes = ("tiny has a helper in training",)
        initializers.initialize(self, settings.init)

    def forward(self, inputs):
        outputs = self.output(self.function(self.hidden(inputs)))
        if not self.training:
            return outputs
        return WithAuxiliary(outputs, {"helper": self.helper(inputs)}, share=1.0, auxiliary_share=0.3)
"""
OWN_YAML = """
# The smallest
name: tiny
hidden: 3
activation: maxout
init: {"*": he, output.*: normal 0.01}
"""


@pytest.mark.slow
def test_the_wheel_trains_a_users_own_model(place, tmp_path):
    mine, work = tmp_path / "mine", place["cwd"]
    (mine / "model").mkdir(parents=True)
    (mine / "model" / "tiny.yaml").write_text(OWN_YAML.lstrip(), encoding="utf-8")
    (mine / "my_models.py").write_text(OWN_MODEL, encoding="utf-8")
    place["env"]["DLTRAIN_CONFIG_PATH"] = str(mine)
    assert "model=tiny" in run("dltrain", "list", "model", **place)
    words = ("model=tiny", "imports=[my_models]", "data=iris")
    shown = run("dltrain", "summary", *words, "--graph", "tiny.svg", **place)
    assert f"parameters  {4 * 6 + 6 + 3 * 3 + 3 + 4 * 3 + 3}\n" in shown
    assert "note        tiny has a helper in training\n" in shown
    assert "helper" in (work / "tiny.svg").read_text(encoding="utf-8")
    words = (*words, "trainer.max_epochs=2")
    run("dltrain", *words, **place)
    run("dltrain", "evaluate", "last", **place)
    (config,) = work.glob("runs/*/*/config.yaml")
    assert "name: tiny\n" in config.read_text(encoding="utf-8")
    assert "tiny has a helper in training" in (config.parent / "train.log").read_text(encoding="utf-8")
    assert "helper_loss" in (config.parent / "metrics.jsonl").read_text(encoding="utf-8")
    run("dltrain", "-m", *words, "model.hidden=2,3", **place)
    assert len([*work.glob("runs/sweeps/*/trials/*/result.json")]) == 2
    assert entries(work) == ["runs", "tiny.svg"]


@pytest.mark.slow
def test_a_mistake_in_a_users_own_model_is_told_with_its_layer(place):
    work = place["cwd"]
    (work / "model").mkdir()
    (work / "model" / "tiny.yaml").write_text(OWN_YAML.lstrip(), encoding="utf-8")
    wrong = OWN_MODEL.replace("nn.Linear(settings.hidden, task.output_size)", "nn.Linear(7, task.output_size)")
    (work / "my_models.py").write_text(wrong, encoding="utf-8")
    command = ["dltrain", "--config-dir", ".", "model=tiny", "imports=[my_models]", "data=iris"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **place)
    assert (failed.returncode, failed.stderr) == (
        2,
        "error: model: it cannot compute this data, inputs of shape (B, 4), float32: layer output (Linear) takes "
        "(B, 7), and (B, 3) comes to it\n",
    )
    assert "runs" not in entries(work)
