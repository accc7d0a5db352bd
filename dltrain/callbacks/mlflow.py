"""``mlflow``: config, figures and result of a run for MLflow."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dltrain import config_files, registry
from dltrain.callbacks.tracker import Point, Tracker
from dltrain.config import Config, setting
from dltrain.console import log
from dltrain.data import Data
from dltrain.redaction import redacted
from dltrain.run_folder import RUNS, json_text, read_json

if TYPE_CHECKING:
    from torch import nn

    from dltrain.losses import Loss

_STATUS = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}

# Parameters and tags of one call, as MLflow allows.
_MOST_AT_ONCE = 100


@dataclass(frozen=True)
class MLflowSettings:
    name: str = setting("Name of the callback.")
    tracking_uri: str | None = setting(
        "Where the runs are kept, such as http://127.0.0.1:5000 or sqlite:////home/me/mlflow.db; null takes the "
        "environment's MLFLOW_TRACKING_URI, else runs/mlflow.db."
    )
    experiment: str = setting("Experiment of MLflow in which the run stands; it is made where there is none.")
    flush_seconds: float = setting("Longest time until MLflow gets a figure.", above=0)


@registry.register("callbacks", "mlflow", MLflowSettings)
class MLflow(Tracker):
    """Logs each setting as a parameter, each row of figures as metrics, and ``config.yaml`` and the result as files.

    MLflow keeps a parameter as it was first: what a run that goes on has changed stands in tags, ``changed.KEY``.
    """

    settings: MLflowSettings
    title: ClassVar[str] = "MLflow"
    package: ClassVar[str] = "mlflow"
    environment: ClassVar[dict[str, str]] = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A server that is gone holds up the training once, for as long as these say, and not for minutes.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        problems = super().mistakes(key, settings, config=config, data=data, model=model, loss=loss)
        uri = _given_uri(settings)
        allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("1", "true")
        if not problems and uri is not None and _is_folder(uri) and not allowed:
            problems.append(
                f"{key}.tracking_uri = '{uri}': MLflow writes no folders of files any more, unless the environment has "
                "MLFLOW_ALLOW_FILE_STORE=true. Name a database (sqlite:///mlflow.db) or a server (http://...)"
            )
        return problems

    def open(self, known: str | None) -> str:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        uri = self._uri()
        if (database := _database(uri)) is not None:
            _make_database(database)
        self._client = MlflowClient(tracking_uri=uri)
        if known is not None:
            try:
                self._client.update_run(known, status="RUNNING")
                self._id = known
                self._log_parameters(self._client.get_run(known).data.params)
                return known
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                log.warning("MLflow no longer has the run %s: it begins anew there", known)
        folder = self.context.folder.path
        tags = {"mlflow.source.name": "dltrain", "dltrain.folder": str(folder.absolute())}
        self._id = self._client.create_run(self._experiment(), run_name=folder.name, tags=tags).info.run_id
        self._log_parameters({})
        self._client.log_artifact(self._id, str(self.context.folder.config))
        return self._id

    def send(self, points: list[Point]) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.validation import MAX_METRICS_PER_BATCH

        metrics = [
            Metric(_name(name), value, int(1000 * point.seconds), point.step)
            for point in points
            for name, value in point.figures.items()
        ]
        for start in range(0, len(metrics), MAX_METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=metrics[start : start + MAX_METRICS_PER_BATCH])

    def finish(self, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        test = [Metric(_name(name), value, now, result["steps"]) for name, value in result.get("test", {}).items()]
        self._client.log_batch(self._id, metrics=test)
        git = (
            read_json(self.context.folder.environment).get("git") if self.context.folder.environment.exists() else None
        )
        if git is not None:
            self._client.set_tag(self._id, "mlflow.source.git.commit", git["commit"])
            self._client.set_tag(self._id, "dltrain.git_changed", str(git["changed"]).lower())
        self._client.log_text(self._id, redacted(json_text(result, indent=2)), "result.json")
        self._client.set_terminated(self._id, _STATUS[result["status"]])
        if _given_uri(self.settings) is None:
            log.info("mlflow  the run is in %s", _database(self._uri()))

    def _uri(self) -> str:
        """Returns where the runs are kept: as somebody says, else in a database in the folder of runs."""
        uri = _given_uri(self.settings)
        if uri is None:
            parents = self.context.folder.path.absolute().parents
            runs = next((parent for parent in parents if parent.name == RUNS.name), RUNS.absolute())
            runs.mkdir(exist_ok=True)
            uri = f"sqlite:///{runs / 'mlflow.db'}"
        return uri

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name, database = self.settings.experiment, _database(self._uri())
        files = None if database is None else str(database.absolute().with_name(f"{database.stem}-artifacts"))
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=files))
            except MlflowException:  # another process was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _log_parameters(self, logged: dict[str, str]) -> None:
        """Logs each setting; of those that are logged already with another value, what they are now.

        Args:
            logged: the parameters that the run has.
        """
        from mlflow.entities import Param, RunTag
        from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

        values = {
            _name(key): _text(value)[:MAX_PARAM_VAL_LENGTH]
            for key, value in config_files.flatten(self.context.container).items()
        }
        new = [Param(key, value) for key, value in values.items() if key not in logged]
        changed = [
            RunTag(f"changed.{key}", f"{logged[key]} -> {value}"[:MAX_PARAM_VAL_LENGTH])
            for key, value in values.items()
            if logged.get(key, value) != value
        ]
        for start in range(0, max(len(new), len(changed)), _MOST_AT_ONCE):
            part = slice(start, start + _MOST_AT_ONCE)
            self._client.log_batch(self._id, params=new[part], tags=changed[part])


def _database(uri: str) -> Path | None:
    """Returns the file of a plain ``sqlite:///`` URI."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") and "?" not in uri else None


def _make_database(path: Path) -> None:
    """Makes a database where there is none, whole or not at all.

    MLflow makes its tables one by one, and two processes that do so at the same time, as the trials of a sweep, fail.
    """
    if path.exists():
        return
    from mlflow.tracking import MlflowClient

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
        try:
            os.link(temporary, path)
        except OSError:  # another process was faster, or the disk has no links
            if not path.exists():
                temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _given_uri(settings: MLflowSettings) -> str | None:
    return settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def _is_folder(uri: str) -> bool:
    scheme = re.match(r"([A-Za-z][\w+.-]*):", uri)
    return scheme[1] == "file" if scheme else not uri.startswith("databricks")


def _name(key: str) -> str:
    """Returns a key as MLflow allows it: such letters, no parts as of a path that leads elsewhere, and not too long."""
    allowed = re.sub(r"[^/\w.\- :]", "_", key)
    parts = [part if part.strip(".") else part.replace(".", "_") or "_" for part in allowed.split("/")]
    return "/".join(parts)[:250].rstrip("/")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
