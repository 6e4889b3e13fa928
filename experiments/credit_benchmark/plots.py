"""Pictures of a comparison. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.credit_benchmark.statistics import Estimate, Numbers

_SHOWN = {"area": "area under the curve", "ex": "execution match", "calls": "calls per episode"}
_BLUE, _GREY = "#1f5fa8", "#b9bec4"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit(f"plots need: pip install 'text2sql-gym[bench]' ({error})") from error
    matplotlib.use("Agg")
    # text as text, and the same names of parts each time: the same picture is the same bytes
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "text2sql_gym"})
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, file: Path) -> None:
    """As SVG, without the clock and the version in the file."""
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    _pyplot().close(figure)


def leaderboard(file: Path, estimates: Mapping[str, Mapping[str, Estimate]]) -> None:
    """A row per variant, a panel per number: the estimate and its interval."""
    names = list(estimates)
    places = np.arange(len(names))[::-1]
    size = (11, 1.0 + 0.28 * len(names))
    figure, panels = _pyplot().subplots(1, len(_SHOWN), sharey=True, figsize=size)
    for panel, (column, label) in zip(panels, _SHOWN.items(), strict=True):
        found = [estimates[name][column] for name in names]
        values = np.array([estimate.value for estimate in found])
        around = [
            values - [estimate.low for estimate in found],
            [estimate.high for estimate in found] - values,
        ]
        panel.errorbar(values, places, xerr=np.maximum(around, 0), fmt="o", color=_BLUE, ms=4)
        panel.set_xlabel(label)
        panel.grid(axis="x", color="#e5e7ea")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(places, names)
    _save(figure, file)


def curves(file: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], of: str) -> None:
    """A panel per variant: its mean curve over the grey ones of all others; `of` what it is."""
    across = 4
    down = -(-len(rows) // across)
    figure, panels = _pyplot().subplots(
        down, across, sharex=True, sharey=True, figsize=(11, 1.9 * down), squeeze=False
    )
    means = {name: _mean_curve(found, "ex") for name, found in rows.items()}
    for panel, name in zip(panels.flat, means, strict=False):
        for episodes, mean, _, _ in means.values():
            panel.plot(episodes, mean, color=_GREY, lw=0.6)
        episodes, mean, low, high = means[name]
        panel.fill_between(episodes, low, high, color=_BLUE, alpha=0.2, lw=0)
        panel.plot(episodes, mean, color=_BLUE, lw=1.8)
        panel.set_title(name, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(means) :]:
        panel.set_visible(False)
    figure.supxlabel("episodes of training")
    figure.supylabel(of, fontsize=9)
    figure.tight_layout()
    _save(figure, file)


def _mean_curve(
    rows: Sequence[Mapping[str, Any]], name: str
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Episodes, mean over seeds, and the lowest and highest seed but one of ten.

    Runs whose evaluations fell on other episodes (a library that counts in steps) are read off at
    the first run's.
    """
    episodes = np.array(rows[0]["curve"]["episodes"], dtype=np.float64)
    heights = np.array(
        [np.interp(episodes, row["curve"]["episodes"], row["curve"][name]) for row in rows]
    )
    low, high = np.quantile(heights, [0.1, 0.9], axis=0)
    return episodes, heights.mean(axis=0), low, high


def improvement(file: Path, names: Sequence[str], chances: Numbers) -> None:
    """The matrix of probabilities of improvement, row over column."""
    side = 2.0 + 0.34 * len(names)
    figure, panel = _pyplot().subplots(figsize=(side, side))
    panel.imshow(chances, cmap="RdBu", vmin=0.0, vmax=1.0)
    panel.set_xticks(range(len(names)), names, rotation=90)
    panel.set_yticks(range(len(names)), names)
    for row, column in np.ndindex(*chances.shape):
        chance = chances[row, column]
        color = "white" if abs(chance - 0.5) > 0.3 else "black"
        text = f"{100 * chance:.0f}"
        panel.text(column, row, text, ha="center", va="center", fontsize=6, color=color)
    panel.set_title("chance in percent that the row is better than the column", fontsize=9)
    _save(figure, file)
