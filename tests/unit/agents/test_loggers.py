"""Loggers beside metrics.jsonl, each writing for real and read back."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest
from agents.loggers import LOGGERS, open_loggers
from text2sql_gym.errors import UnknownName


def shown(name, folder, config=None):
    """Log two phases with one logger; resume it and log once more."""
    (logger,) = open_loggers([name], folder, {"seed": 3} if config is None else config)
    logger.log("warm_start", 0, {"loss": 2.0})
    logger.log("train", 0, {"ex": 0.25})
    logger.close()
    (logger,) = open_loggers([name], folder, {"seed": 3})
    logger.log("train", 1, {"ex": 0.5})
    logger.close()


def test_tensorboard_holds_every_number_at_its_step(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown("tensorboard", tmp_path)
    read = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in read.Scalars("train/ex")] == [(0, 0.25), (1, 0.5)]
    assert [(e.step, e.value) for e in read.Scalars("warm_start/loss")] == [(0, 2.0)]
    assert b"seed: 3" in read.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_trackio_holds_every_number_in_one_run(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    utils = pytest.importorskip("trackio.utils")
    storage = pytest.importorskip("trackio.sqlite_storage")
    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    shown("trackio", tmp_path)
    (file,) = (tmp_path / "trackio").glob("*.db")
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT run_name, metrics FROM metrics ORDER BY id").fetchall()
    assert len(rows) == 3 and len({name for name, _ in rows}) == 1
    found = [json.loads(metrics) for _, metrics in rows]
    assert found[0]["warm_start/loss"] == 2.0
    assert [(row["train/step"], row["train/ex"]) for row in found[1:]] == [(0, 0.25), (1, 0.5)]


@pytest.mark.slow
def test_wandb_writes_a_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    shown("wandb", tmp_path)
    files = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert files and all(b"train/ex" in file.read_bytes() for file in files)
    assert len({file.stem for file in files}) == 1  # the resumed run is the same one


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_that_is_not_installed_names_its_extra(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'text2sql-gym\[{name}\]'"):
        open_loggers([name], tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_a_logger_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="tensorboard"):
        open_loggers(["tensorbord"], tmp_path, {})


def test_no_logger_is_imported_unasked():
    assert open_loggers([], None, {}) == []
