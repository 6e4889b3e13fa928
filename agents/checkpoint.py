"""Checkpoints that are whole or absent: written aside, flushed, and renamed into place."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_STATE = "state.pt"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says which file and why."""


def save(
    folder: Path,
    step: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    state: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write ``folder/step-000123`` and delete all but the newest `keep` ones.

    The checkpoint is a model folder in the format of transformers plus `state` (optimiser,
    counters) and a manifest with the SHA-256 of every file. A kill or a full disk while writing
    leaves the earlier checkpoints as they were; the error names the folder.
    """
    target = folder / f"step-{step:06d}"
    partial = folder / f".partial-{step:06d}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        torch.save(dict(state), partial / _STATE)
        digests = {path.name: _digest(path) for path in sorted(partial.iterdir())}
        (partial / _MANIFEST).write_text(json.dumps({"step": step, "sha256": digests}, indent=1))
        for path in partial.iterdir():
            _flush(path)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _flush(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)
    return target


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint, or None. A broken one is reported and passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            verify(path)
            return path
        except CheckpointError as error:
            logger.warning("%s; trying the one before", error)
    return None


def verify(path: Path) -> int:
    """Return the step of a checkpoint whose files all match its manifest.

    Raises `CheckpointError` naming the first file that is missing or differs.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        for name, digest in manifest["sha256"].items():
            if _digest(path / name) != digest:
                raise CheckpointError(f"broken checkpoint {path}: {name} differs from its manifest")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"broken checkpoint {path}: {error}") from error
    return int(manifest["step"])


def read_state(path: Path) -> dict[str, Any]:
    """The `state` that `save` was given."""
    state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    return state


def load_weights(path: Path, model: PreTrainedModel) -> None:
    """Put the weights of a checkpoint into a model of the same shape."""
    loaded = type(model).from_pretrained(path, dtype=model.dtype)
    model.load_state_dict(loaded.state_dict())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
