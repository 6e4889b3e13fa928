"""Assemble the page: everything from a run, a database or a model is escaped on its way in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from experiments.evaluation import Evaluation
from experiments.reporting.browser import browser_data, embedded
from experiments.reporting.charts import Series, interval_mark, line_chart, stacked_bar
from experiments.reporting.folder import RunFolder
from experiments.reporting.kinds import Kind, endings, kinds
from experiments.tables import interval, pairs
from experiments.transcripts import AttemptRecord

_HERE = Path(__file__).parent

TRAINING_CHARTS: Mapping[str, Mapping[str, str]] = {
    "Right answers": {"ex": "share of attempts", "pass_at_group": "share of tasks, any attempt"},
    "Calls per attempt": {
        "calls": "calls", "redundant_calls": "redundant", "error_calls": "in error",
    },
    "Process reward per step": {"process_reward": "process reward"},
    "Sampled tokens per attempt": {"sampled_tokens": "tokens"},
    "Attempts that end in a submission": {"submitted": "share"},
    "Groups that teach": {"groups_kept": "share"},
    "Entropy per token": {"entropy": "nats"},
    "Gradient norm before clipping": {"grad_norm": "norm"},
    "Clipped tokens and divergence": {"clip_fraction": "clip fraction", "kl_old": "KL"},
    "Loss": {"loss": "loss"},
}
"""Title of each chart of the training, and which metrics it shows under which name."""


def page(folder: RunFolder) -> str:
    """The whole page as text."""
    script = (_HERE / "browser.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = [
        _section("Before and after", _comparison(folder)),
        _section("Learning", _learning(folder)),
        _section("Turns and rewards by kind", _by_kind(folder)),
        _section("Trajectories", _browser()),
        _section("Where the time goes", _time(folder)),
        _section("Configuration", _configuration(folder)),
    ]
    title = f"{folder.config.get('estimator', 'run')} on {folder.config.get('dataset', '?')}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'sha256-{digest}'">
<title>{escape(title)}: report of a run</title>
<style>
{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{_summary(folder)}</header>
<main>
{"".join(sections)}</main>
<script type="application/json" id="data">{embedded(browser_data(folder))}</script>
<script>{script}</script>
</body>
</html>
"""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>\n"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _summary(folder: RunFolder) -> str:
    """The lines under the title: where, by which code, on what; and how it came out."""
    record, machine = folder.record, folder.record.get("machine", {})
    parts = [
        f"folder {folder.path.resolve().name}",
        f"revision {record.get('revision') or 'unknown'}",
        f"{machine.get('cuda') or str(machine.get('cores', '?')) + ' CPU cores'}",
        f"{len(folder.metrics('train'))} updates of {folder.config.get('updates', '?')}",
    ]
    said = f'<p class="facts">{" · ".join(map(escape, parts))}</p>'
    before, after = folder.evaluation("before"), folder.evaluation("after")
    return said + (_tiles(before, after) if before and after and before.rows else "")


def _tiles(before: Evaluation, after: Evaluation) -> str:
    """The numbers to look at first."""
    names = {"ex": "execution match", "pass_at_k": f"pass@{after.samples}", "calls": "calls",
             "redundant_calls": "redundant calls", "error_calls": "calls in error"}
    tiles = "".join(
        f"<li><span>{escape(said)}</span><b>{_mean(after, name)}</b>"
        f"<small>before: {_mean(before, name)}</small></li>"
        for name, said in names.items()
        if name in before.columns and name in after.columns
    )
    return f'<ul class="tiles">{tiles}</ul>'


def _mean(evaluation: Evaluation, name: str) -> str:
    return f"{evaluation.column(name).mean():.3f}"


def _comparison(folder: RunFolder) -> str:
    before, after = folder.evaluation("before"), folder.evaluation("after")
    if before is None or not before.rows:
        return _note("The run has not been evaluated yet.")
    if after is None:
        after, note = before, "The run has not been evaluated after training yet."
    else:
        note = (
            f"{len(after.rows)} tasks, one greedy attempt each"
            + (f" and {after.samples} sampled ones" if after.samples else "")
            + ". Intervals: 95 %, bootstrap over tasks, paired."
            + (f" {after.too_long} prompts did not fit the context." if after.too_long else "")
        )
    found = pairs(before, after)
    rows = "".join(_compared(one.label, one.values, two.values) for one, two in found)
    head = _head(["", "before", "after", "change", "95 % interval", "around zero"])
    table = f'<table class="compared">{head}<tbody>{rows}</tbody></table>'
    return f'{_note(note)}<div class="wide">{table}</div>'


def _compared(label: str, one: Any, two: Any) -> str:
    low, high = interval(two - one)
    middle = float((two - one).mean())
    return (
        f'<tr><th scope="row">{escape(label)}</th>'
        f"<td>{one.mean():.3f}</td><td>{two.mean():.3f}</td>"
        f"<td>{middle:+.3f}</td><td>{low:+.3f} to {high:+.3f}</td>"
        f"<td>{interval_mark(middle, low, high)}</td></tr>"
    )


def _head(names: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _learning(folder: RunFolder) -> str:
    warm, train = folder.metrics("warm_start"), folder.metrics("train")
    charts = [
        line_chart(title, [_series(said, train, "update", name) for name, said in names.items()],
                   "update")
        for title, names in TRAINING_CHARTS.items()
    ]
    charts.append(line_chart("Loss of the warm start", [_series("loss", warm, "step", "loss")],
                             "step"))
    found = "".join(charts)
    return f'<div class="charts">{found}</div>' if found else _note("No update has been taken yet.")


def _series(said: str, lines: Sequence[Mapping[str, Any]], x: str, name: str) -> Series:
    points = [(line[x], line[name]) for line in lines if name in line]
    return Series(said, [one for one, _ in points], [float(other) for _, other in points])


def _by_kind(folder: RunFolder) -> str:
    sides = {name: _greedy(folder, name) for name in ("before", "after")}
    sides = {name: attempts for name, attempts in sides.items() if attempts}
    if not sides:
        return _note("The run has not been evaluated yet.")
    found = {name: kinds(attempts) for name, attempts in sides.items()}
    return (
        _note("Turns per greedy attempt, and the mean of each reward term on turns of that kind.")
        + f'<div class="wide">{_kind_table(found)}</div>'
        + "".join(_ended(name, attempts) for name, attempts in sides.items())
    )


def _greedy(folder: RunFolder, name: str) -> list[AttemptRecord]:
    return [group.greedy for group in folder.attempts(name) if group.greedy]


def _kind_table(found: Mapping[str, Mapping[str, Kind]]) -> str:
    names = list(dict.fromkeys(name for side in found.values() for name in side))
    everything = [kind for side in found.values() for kind in side.values()]
    terms = list(dict.fromkeys(term for kind in everything for term in kind.terms))
    most = max(kind.per_episode for kind in everything)
    head = ["kind of turn", *(f"{side}: per attempt" for side in found)]
    head += [f"{term.replace('_', ' ')}, {side}" for term in terms for side in found]
    rows = []
    for name in names:
        cells = [_amount(side.get(name), most) for side in found.values()]
        cells += [_term(side.get(name), term) for term in terms for side in found.values()]
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return f"<table>{_head(head)}<tbody>{''.join(rows)}</tbody></table>"


def _amount(kind: Kind | None, most: float) -> str:
    value = kind.per_episode if kind else 0.0
    width = 100 * value / most
    return f'<td class="amount"><i style="width:{width:.1f}%"></i><span>{value:.2f}</span></td>'


def _term(kind: Kind | None, term: str) -> str:
    return f"<td>{kind.terms[term]:+.2f}</td>" if kind and term in kind.terms else "<td>–</td>"


def _ended(name: str, attempts: Sequence[AttemptRecord]) -> str:
    parts = {how.replace("_", " "): share for how, share in endings(attempts).items()}
    return f"<h3>How attempts end, {escape(name)}</h3>{stacked_bar(parts)}"


def _browser() -> str:
    """The frame that the script fills; a sentence for a reader without scripts."""
    return (
        '<div id="browser"><p class="note">The trajectories are shown by a script of this page, '
        "which is switched off or has not run yet.</p></div>"
    )


def _time(folder: RunFolder) -> str:
    lines = folder.metrics("train")
    names = dict.fromkeys(name for line in lines for name in line if name.startswith("seconds_"))
    if not names:
        return _note("No update has been taken yet.")
    parts = {
        name.removeprefix("seconds_"): sum(line.get(name, 0.0) for line in lines) / len(lines)
        for name in names
    }
    largest_first = dict(sorted(parts.items(), key=lambda part: -part[1]))
    return _note("Mean per update.") + stacked_bar(largest_first, "s")


def _configuration(folder: RunFolder) -> str:
    return "".join(_tables({"options": folder.config, "machine": folder.record.get("machine", {})}))


def _tables(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for title, values in groups.items():
        items = "".join(
            f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>"
            for name, value in values.items()
        )
        yield f"<details><summary>{escape(title)}</summary><dl>{items}</dl></details>"
