"""dltrain's sweeper: hands what is to be tried to ``dltrain.sweeps``, and the jobs to Hydra's launcher.

Hydra executes this file at the start of every Hydra program in the environment, so it imports nothing heavy.
"""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="dltrain",
    node={"_target_": "hydra_plugins.dltrain.sweeper.DltrainSweeper"},
    provider="dltrain",
)


class DltrainSweeper(Sweeper):
    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the trials of the sweep whose folder ``hydra.sweep.dir`` is; its plan stands there."""
        from pathlib import Path

        from dltrain.sweeps.driver import launch
        from dltrain.sweeps.folder import SweepFolder

        assert self.config is not None and self.launcher is not None  # setup comes first
        launch(SweepFolder(Path(self.config.hydra.sweep.dir)), self.launcher)
