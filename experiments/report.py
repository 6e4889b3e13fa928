"""Write `report.html` of a run folder: one page that needs no network.

    python experiments/report.py runs/finestep

It shows the comparison before and after training, learning curves, turns and rewards by kind,
where the time goes, and the trajectories: each turn with its text, result, rewards and credit,
FineStep's beside GRPO's. A run that is still going can be looked at too. `train_finestep.py`
writes the page at its end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

from experiments.reporting.folder import RunFolder
from experiments.reporting.page import page
from experiments.record import write_atomically


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Raises FileNotFoundError when the folder holds no run.
    """
    file = folder / "report.html"
    write_atomically(file, page(RunFolder(folder)))
    return file


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report of each folder that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="a run folder")
    for folder in parser.parse_args(argv).folder:
        try:
            print(write_report(folder))
        except (OSError, ValueError) as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
