"""Where trackers write in tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def mlflow_store(tmp_path_factory: pytest.TempPathFactory):
    """Keeps MLflow's runs out of the working directory: in one database, for it takes seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
