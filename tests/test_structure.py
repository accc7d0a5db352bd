"""The flow goes one way: who may import whom."""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

import dltrain

PACKAGE = Path(dltrain.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_hydra" not in path.parts
}


@functools.cache
def imports(path: Path, *, at_start: bool = False) -> set[str]:
    """Returns the modules that a file imports, those for type checking aside; at_start: when it is imported."""
    found: set[str] = set()
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if at_start and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        nodes += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]  # holds none
    return found


def uses(path: Path, module: str, *, at_start: bool = False) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in imports(path, at_start=at_start))


def users(names: Iterable[str], module: str, but: Collection[str] = ()) -> list[str]:
    """Returns those modules that import another one, and may not."""
    return [name for name in names if name not in but and uses(MODULES[name], module)]


COMPOSING = (
    "dltrain.compose",
    "dltrain.derivation",
    "dltrain.hydra_config",
    "dltrain.hydra_state",
    "dltrain.multirun",
    "dltrain.overrides",
    "dltrain.sweeps.parsing",
)


def test_hydra_is_imported_where_configs_are_composed_and_nowhere_else():
    others = [name for name in MODULES if name not in COMPOSING]
    assert users(others, "hydra") == []
    assert users(others, "omegaconf", but=["dltrain.interpolation"]) == []


ASSEMBLING = (
    "dltrain.run",
    "dltrain.rollback",
    "dltrain.trained",
    "dltrain.rerun",
    "dltrain.sweeps.planning",
    "dltrain.sweeps.trial",
)


TRAINING_RUNS = ("dltrain.sweeps.trial", "dltrain.rerun", "dltrain.notebook")


def test_nothing_below_the_verbs_imports_the_command_line_or_a_run():
    below = [name for name in MODULES if not name.startswith("dltrain.commands") and name != "dltrain.__main__"]
    assert users(below, "dltrain.cli") == []
    assert users(below, "dltrain.commands", but=["dltrain.cli"]) == []
    assert users(below, "dltrain.run", but=TRAINING_RUNS) == []
    assert users(below, "dltrain.assembly", but=ASSEMBLING) == []


def test_the_trainer_knows_of_callbacks_only_their_contract():
    known = {name for name in imports(MODULES["dltrain.trainer"]) if name.startswith("dltrain.callbacks.")}
    assert all(name.startswith("dltrain.callbacks.base") for name in known)


# What the packages of components, and of what a model looks like, may not know.
TRAINING = ("assembly", "run", "trainer", "steps", "evaluate", "checkpoint", "callbacks", "transfer", "averages")
UNKNOWN = {
    "data": (*TRAINING, "run_folder", "models", "losses", "optimizers", "schedulers", "metrics"),
    "models": (*TRAINING, "run_folder", "losses", "optimizers", "schedulers", "metrics"),
    "losses": (*TRAINING, "run_folder", "models", "optimizers", "schedulers", "metrics"),
    "optimizers": (*TRAINING, "run_folder", "models", "losses", "schedulers", "metrics", "data"),
    "schedulers": (*TRAINING, "run_folder", "models", "losses", "optimizers", "data"),
    "graph": (*TRAINING, "losses", "optimizers", "schedulers", "metrics"),
}


@pytest.mark.parametrize("package", UNKNOWN)
def test_the_packages_of_components_know_nothing_of_each_other_or_of_training(package):
    files = [path for name, path in MODULES.items() if name.startswith(f"dltrain.{package}.")]
    assert files
    for path in files:
        for module in UNKNOWN[package]:
            assert not uses(path, f"dltrain.{module}"), f"{path.name} imports {module}"


def test_a_model_is_drawn_by_the_verbs_and_in_a_report():
    drawing = ("dltrain.commands.", "dltrain.graph.", "dltrain.sketch", "dltrain.report.")
    others = [name for name in MODULES if not name.startswith(drawing)]
    assert users(others, "dltrain.graph") == [] and users(others, "dltrain.sketch") == []


def test_names_of_parameters_are_matched_in_one_place():
    assert [name for name, path in MODULES.items() if uses(path, "fnmatch")] == ["dltrain.patterns"]


@pytest.mark.parametrize("name", ["cli", "config", "config_files", "errors", "registry", "run_folder", "compose"])
def test_what_every_command_needs_starts_without_pytorch(name):
    paths = [path for module, path in MODULES.items() if f"{module}.".startswith(f"dltrain.{name}.")]
    assert paths and not any(uses(path, "torch", at_start=True) for path in paths)


def test_the_verbs_start_without_pytorch_and_hydra():
    for name, path in MODULES.items():
        if name.startswith("dltrain.commands."):
            for heavy in (
                "torch",
                "hydra",
                "rich",
                "numpy",
                "yaml",
                "dltrain.assembly",
                "dltrain.run",
                "dltrain.compose",
            ):
                assert not uses(path, heavy, at_start=True), f"{name} imports {heavy}"
