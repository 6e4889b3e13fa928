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
    leaves the earlier checkpoints as they were; the error names the folder. What a kill left
    half written is removed by the next call.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    target = folder / f"step-{step:06d}"
    partial = folder / f".partial-{step:06d}"
    for stale in folder.glob(".partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        _write(partial, step, model, tokenizer, state)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _flush(folder)
    # a full disk is an OSError here, a RuntimeError in torch and others of their own in the rest
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error
    # newer ones can only be broken: a run goes on from the newest whole one
    for old in [path for path in _found(folder) if _step_of(path) <= step][:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _write(
    partial: Path,
    step: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    state: Mapping[str, Any],
) -> None:
    """Write all files of a checkpoint, manifest last, and flush them to the disk."""
    partial.mkdir(parents=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    torch.save(dict(state), partial / _STATE)
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    digests = {path.relative_to(partial).as_posix(): _digest(path) for path in files}
    manifest = partial / _MANIFEST
    manifest.write_text(json.dumps({"step": step, "sha256": digests}, indent=1), encoding="utf-8")
    for path in (*files, manifest, partial):
        _flush(path)


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint, or None. A broken one is reported and passed over."""
    for path in reversed(_found(folder)):
        try:
            if verify(path) != _step_of(path):
                raise CheckpointError(f"broken checkpoint {path}: its manifest has another step")
            return path
        except CheckpointError as error:
            logger.warning("%s; trying the one before", error)
    return None


def verify(path: Path) -> int:
    """Return the step of a checkpoint whose files all match its manifest.

    Raises `CheckpointError` naming the first file that is missing or differs.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        step, digests = int(manifest["step"]), dict(manifest["sha256"])
        differing = [name for name, digest in digests.items() if _digest(path / name) != digest]
    except (OSError, ValueError, LookupError, TypeError) as error:
        kind = type(error).__name__
        raise CheckpointError(f"broken checkpoint {path}: {kind}: {error}") from error
    if differing:
        raise CheckpointError(f"broken checkpoint {path}: {differing[0]} differs from its manifest")
    return step


def read_state(path: Path) -> dict[str, Any]:
    """The `state` that `save` was given."""
    state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    return state


def load_weights(path: Path, model: PreTrainedModel) -> None:
    """Put the weights of a checkpoint into a model of the same shape."""
    loaded = type(model).from_pretrained(path, dtype=model.dtype)
    model.load_state_dict(loaded.state_dict())


def _found(folder: Path) -> list[Path]:
    """Checkpoints of a folder, whole or broken, oldest first."""
    named = (path for path in folder.glob("step-*") if path.name[5:].isdecimal())
    return sorted(named, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
