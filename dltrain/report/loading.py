"""What the report of a finished run is made of, out of the run's folder."""

from __future__ import annotations

from dltrain import saved
from dltrain.errors import ConfigError, DltrainError, MachineError
from dltrain.report.subject import Looking, Subject
from dltrain.run_folder import RunFolder


def load(folder: RunFolder, looking: Looking, checkpoint: str | None, config_dirs: list[str] | None) -> Subject:
    """Builds a run's data and its model with trained weights, as far as they are to be had.

    Args:
        checkpoint: which the user asks for; None takes the best one, and does without where there is none.

    Raises:
        DltrainError: what the user asks for is not there.
        MachineError: the memory or the device does not suffice.
    """
    from dltrain import device
    from dltrain.guards import memory_errors
    from dltrain.trained import load_trained

    container, config = saved.saved_config(folder), None
    try:
        config = saved.load_config(container, folder, config_dirs)
        with memory_errors(config):
            parts, name = load_trained(folder, config, checkpoint or "best")
    except MachineError:
        raise
    except DltrainError as error:
        if checkpoint is not None or looking.split is not None:
            raise
        return Subject(folder, None, "", looking, missing=str(error), config=config)
    if looking.split is not None and looking.split not in parts.data.splits:
        there = ", ".join(parts.data.splits)
        raise ConfigError(f"--split {looking.split}: this data has none. There is: {there}")
    autocast = device.autocast(parts.device, config.device.precision)
    return Subject(folder, parts, f"checkpoint {name}", looking, autocast=autocast, config=config)
