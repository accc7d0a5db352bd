"""dltrain's sweeper: hands what is to be tried to ``dltrain.sweeps``, and to Hydra's launcher where one is chosen.

Hydra executes this file at the start of every Hydra program in the environment, so it imports nothing heavy.
"""

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
        self.config, self.launcher = config, None
        # With Hydra's basic launcher, dltrain has workers of its own: the launcher takes no next trial when one ends.
        if config.hydra.runtime.choices["hydra/launcher"] != "basic":
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

    def sweep(self, arguments: list[str]) -> None:
        """Trains the trials of the sweep whose folder ``hydra.sweep.dir`` is; its plan stands there."""
        from pathlib import Path

        from dltrain.sweeps import crew
        from dltrain.sweeps.folder import SweepFolder

        assert self.config is not None  # setup comes first
        crew.train(SweepFolder(Path(self.config.hydra.sweep.dir)), self.config.device.name, self.launcher)
