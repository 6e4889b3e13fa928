"""What a run folder holds, read for its report; whatever a run has not reached yet is absent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.metrics import MetricsFile
from experiments.evaluation import Evaluation
from experiments.transcripts import GroupRecord, TranscriptFile


@dataclass(frozen=True)
class RunFolder:
    """The files of a run; see ``docs/training.md``."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "config.json").is_file():
            raise FileNotFoundError(f"expected {self.path / 'config.json'}, which is not there")

    @property
    def record(self) -> Mapping[str, Any]:
        """What was written at the start: config, revision, machine."""
        found: dict[str, Any] = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        return found

    @property
    def config(self) -> Mapping[str, Any]:
        """The options of the run."""
        found: Mapping[str, Any] = self.record["config"]
        return found

    def metrics(self, phase: str) -> list[dict[str, Any]]:
        """The lines of one phase."""
        lines = MetricsFile(self.path / "metrics.jsonl").read()
        return [line for line in lines if line.get("phase") == phase]

    def evaluation(self, name: str) -> Evaluation | None:
        """The numbers "before" or "after"."""
        file = self.path / f"evaluation-{name}.json"
        return Evaluation.from_json(file.read_text(encoding="utf-8")) if file.exists() else None

    def attempts(self, name: str) -> list[GroupRecord]:
        """The transcripts of the evaluation "before" or "after"."""
        return TranscriptFile(self.path / "transcripts" / f"evaluation-{name}.jsonl").read()

    def updates(self) -> Iterator[tuple[int, list[GroupRecord]]]:
        """The kept groups of each update that has some, in order."""
        for file in sorted((self.path / "transcripts").glob("update-*.jsonl")):
            yield int(file.stem.removeprefix("update-")), TranscriptFile(file).read()
