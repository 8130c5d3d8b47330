"""MLflow: a database or server that `MLFLOW_TRACKING_URI` names."""

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from .base import TrackedRun, Tracker, TrackerSpec

_RUN_TAG: Final = "thumbline.run_id"
# What MLflow takes in the name of a metric.
_REFUSED: Final = re.compile(r"[^\w\-. :/]")


class _MLflow:
    def __init__(self, mlflow: Any, client: Any, run_id: str, *, goes_on: bool) -> None:
        self._entities, self._client, self._run_id, self._goes_on = mlflow.entities, client, run_id, goes_on
        self._held: dict[str, int] = {}

    def held(self, name: str) -> int:
        if not self._goes_on:
            return -1
        if name not in self._held:
            history = self._client.get_metric_history(self._run_id, _REFUSED.sub("_", name))
            self._held[name] = max((point.step for point in history), default=-1)
        return self._held[name]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(_REFUSED.sub("_", name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run_id, status="FAILED" if failed else "FINISHED")


def _open(module: Any, run: TrackedRun) -> Tracker:
    client = module.MlflowClient()
    found = client.get_experiment_by_name(run.project)
    experiment = client.create_experiment(run.project) if found is None else found.experiment_id
    if run.run_id is not None:
        earlier = client.search_runs([experiment], filter_string=f"tags.`{_RUN_TAG}` = '{run.run_id}'", max_results=1)
        if earlier:
            client.update_run(earlier[0].info.run_id, status="RUNNING")
            return _MLflow(module, client, earlier[0].info.run_id, goes_on=True)
    tags = {"thumbline.job": run.job} | ({} if run.run_id is None else {_RUN_TAG: run.run_id})
    made = client.create_run(experiment, run_name=run.name, tags=tags)
    params = [module.entities.Param(name, str(value)) for name, value in run.settings.items()]
    client.log_batch(made.info.run_id, params=params)
    return _MLflow(module, client, made.info.run_id, goes_on=False)


SPEC: Final = TrackerSpec("mlflow", _open)
