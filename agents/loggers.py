"""Where metrics are shown beside `metrics.jsonl`: TensorBoard, Weights & Biases, Trackio.

`metrics.jsonl` is the record of a run and always written. What is named here is imported only when
it is asked for; each needs the extra of its own name.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from text2sql_gym.registry import lookup

PROJECT = "text2sql_gym"


class MetricsLogger(Protocol):
    """Shows the metrics of one run. A resumed run goes on with what it has shown before."""

    def log(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of one step of a phase as ``phase/name``."""

    def close(self) -> None:
        """Write what is not yet written."""


class TensorBoard:
    """Event files in ``tensorboard/`` of the run folder: ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        _needed("tensorboard", "tensorboard")
        module = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(folder / "tensorboard")
        lines = "\n".join(f"    {name}: {value}" for name, value in config.items())
        self._writer.add_text("config", lines)

    def log(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """See `MetricsLogger`."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"{phase}/{name}", value, step)

    def close(self) -> None:
        """See `MetricsLogger`."""
        self._writer.close()


class Wandb:
    """A Weights & Biases run, named after the folder; its own settings come from ``WANDB_*``."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        module = _needed("wandb", "wandb")
        self._run = module.init(
            project=PROJECT,
            name=folder.name,
            id=_identity(folder),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )

    def log(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """See `MetricsLogger`; each phase has a step of its own, ``phase/step``."""
        self._run.define_metric(f"{phase}/*", step_metric=f"{phase}/step")
        self._run.log(_named(phase, {"step": step, **metrics}))

    def close(self) -> None:
        """See `MetricsLogger`."""
        self._run.finish()


class Trackio:
    """A Trackio run in its local database: ``trackio show --project text2sql_gym``."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        module = _needed("trackio", "trackio")
        self._run = module.init(
            project=PROJECT,
            name=f"{folder.name}-{_identity(folder)}",
            resume="allow",
            config=dict(config),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def log(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """See `MetricsLogger`."""
        self._run.log(_named(phase, {"step": step, **metrics}))

    def close(self) -> None:
        """See `MetricsLogger`."""
        self._run.finish()


LOGGERS: Mapping[str, Callable[[Path, Mapping[str, Any]], MetricsLogger]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def open_loggers(
    names: Sequence[str], folder: Path, config: Mapping[str, Any]
) -> list[MetricsLogger]:
    """Open each by its name in `LOGGERS`.

    Raises `UnknownName` for a name that is none, and ImportError with the extra to install.
    """
    return [lookup(LOGGERS, name, "logger")(folder, config) for name in names]


def _needed(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = f"pip install 'text2sql-gym[{extra}]'"
        raise ImportError(f"the logger {extra!r} needs {module}: {how}") from error


def _named(phase: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{phase}/{name}": value for name, value in metrics.items()}


def _identity(folder: Path) -> str:
    """The same for one folder each time, so that a resumed run is shown as one."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
