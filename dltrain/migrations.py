"""What checkpoints hold, by version: each schema has a function that makes of its state that of the next one.

A checkpoint is brought to the present schema when it is read, so that all other code knows that one alone. A change
of what a state holds comes with a new line of ``_MIGRATIONS``, and with a checkpoint of the version before in
tests/assets/checkpoints, which must resume.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dltrain.errors import CheckpointError

State = dict[str, Any]


class NewerSchemaError(CheckpointError):
    """The checkpoint is whole, but of a later version of dltrain."""


def migrated(state: State, schema: int) -> State:
    """Returns what a checkpoint of an older schema holds as the present one has it."""
    for number in range(schema, SCHEMA):
        state = _MIGRATIONS[number](state)
    return state


def check_schema(schema: object, path: Path) -> int:
    """Returns the schema of a checkpoint that can be read.

    Raises:
        NewerSchemaError: it is of a later version.
        CheckpointError: there never was such a schema.
    """
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise CheckpointError(f"{path} is no checkpoint of dltrain: it has the schema {schema!r}")
    if schema > SCHEMA:
        raise NewerSchemaError(
            f"{path} has schema {schema}, this dltrain reads up to {SCHEMA}: a newer version wrote it. Install that "
            "one, which environment.json in the run's folder names, or a later one"
        )
    return schema


def _from_1(state: State) -> State:
    """In the first schema there came, commit by commit, counts and terms of batches that are not summed yet, schedules
    that look at figures, and counters of optimizers. New in the second are the names of the callbacks, the learning
    rate that the training has set itself, batches that were left out, the data's fingerprint, and checkpoints that
    are kept for ever.
    """
    if "progress" not in state:  # weights that were best, which are as they were
        return state
    callbacks = {key: {"kept": [], **own} if "saved" in own else own for key, own in state["callbacks"].items()}
    return {
        "schedule": {},
        "optimizer_counters": [],
        "learning_rate": None,
        "mishaps": {},
        "callback_names": {},
        **state,
        "made_with": {"rates": None, "data": None, **state["made_with"]},
        "metrics": _with_terms(state["metrics"]),
        "callbacks": callbacks,
    }


def _with_terms(metrics: State) -> State:
    """Batches that were not summed yet had no terms of their loss at first, and counted as many as they had targets."""
    return {
        **metrics,
        "kept": [{"terms": {}, "count": len(kept["targets"]), **kept} for kept in metrics["kept"]],
        "heads": {name: _with_terms(head) for name, head in metrics.get("heads", {}).items()},
    }


_MIGRATIONS: dict[int, Callable[[State], State]] = {1: _from_1}

# Of the checkpoints that this version writes.
SCHEMA = 1 + len(_MIGRATIONS)
