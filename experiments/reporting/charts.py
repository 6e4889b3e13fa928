"""Line charts and bars as inline SVG and HTML. Every text that comes in is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 26
_MANY = 30
"""points from which on a running mean is drawn over the raw line"""


@dataclass(frozen=True)
class Series:
    """A named line: x ascending, one finite y for each."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class _Frame:
    """The range of the data and where it goes on the canvas."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, series: Sequence[Series]) -> _Frame:
        xs = [x for one in series for x in one.xs]
        ys = [y for one in series for y in one.ys]
        low, high = min(ys), max(ys)
        if low == high:
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        elif 0 < low < 0.5 * high:
            low = 0.0
        return cls((min(xs), max(max(xs), min(xs) + 1)), (low, high))

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            _LEFT + across * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM),
        )


def line_chart(title: str, series: Sequence[Series], x_label: str) -> str:
    """A figure with its title, a legend where there are several lines, and a text for readers.

    Series without points are left out; "" when none is left.
    """
    series = [one for one in series if len(one.xs)]
    if not series:
        return ""
    frame = _Frame.of(series)
    lines = "".join(_line(place, one, frame) for place, one in enumerate(series))
    spoken = "; ".join(
        f"{one.name}: {number(one.ys[0])} to {number(one.ys[-1])} over {len(one.xs)} points"
        for one in series
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{_legend(series)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: '
        f'{escape(spoken)}">{_axes(frame, x_label)}{lines}</svg></figure>'
    )


def _legend(series: Sequence[Series]) -> str:
    if len(series) == 1:
        return ""
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 22 8" aria-hidden="true">'
        f'<path class="line s{place}" d="M0 4H22"/></svg>{escape(one.name)}</span>'
        for place, one in enumerate(series)
    )
    return f'<span class="legend">{keys}</span>'


def _line(place: int, one: Series, frame: _Frame) -> str:
    if len(one.xs) == 1:
        x, y = frame.place(one.xs[0], one.ys[0])
        return f'<circle class="dot s{place}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    if len(one.xs) < _MANY:
        return _path(one.xs, one.ys, frame, f"line s{place}") + _points(place, one, frame)
    smooth = running_mean(one.ys, max(3, len(one.ys) // 12))
    raw = _path(one.xs, one.ys, frame, f"raw s{place}")
    return raw + _path(one.xs, smooth, frame, f"line s{place}")


def _path(xs: Sequence[float], ys: Sequence[float], frame: _Frame, kind: str) -> str:
    points = [frame.place(x, y) for x, y in zip(xs, ys, strict=True)]
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{steps}"/>'


def _points(place: int, one: Series, frame: _Frame) -> str:
    """A dot per point that tells its numbers under the pointer."""
    dots = []
    for x, y in zip(one.xs, one.ys, strict=True):
        left, top = frame.place(x, y)
        said = f"{escape(one.name)} at {number(x)}: {number(y)}"
        dots.append(
            f'<circle class="dot s{place}" cx="{left:.1f}" cy="{top:.1f}" r="2.2">'
            f"<title>{said}</title></circle>"
        )
    return "".join(dots)


def _axes(frame: _Frame, x_label: str) -> str:
    parts = []
    for value in ticks(*frame.y):
        _, y = frame.place(frame.x[0], value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, "end", number(value)))
    low, high = (frame.place(x, frame.y[0])[0] for x in frame.x)
    bottom = HEIGHT - 8
    parts.append(_text(low, bottom, "start", number(frame.x[0])))
    parts.append(_text((low + high) / 2, bottom, "middle", x_label))
    parts.append(_text(high, bottom, "end", number(frame.x[1])))
    return "".join(parts)


def _text(x: float, y: float, anchor: str, said: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers within [low, high], about so many; `low` < `high`."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value with the `width` - 1 before it, fewer at the start."""
    windows = (values[max(0, place - width + 1) : place + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def number(value: float) -> str:
    """A short form: integers as they are, else four significant digits at most."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1e-2 or abs(value) >= 1e5 else f"{value:.4g}"


def stacked_bar(parts: Mapping[str, float], unit: str = "") -> str:
    """One bar of named shares; the amounts are told where they have a unit.

    The order is that of `parts`, and so are the colours: two bars with the same names agree. A
    part of nothing is left out. "" when all of them are nothing.
    """
    total = sum(parts.values())
    if total <= 0:
        return ""
    places = {name: place % 8 for place, name in enumerate(parts)}
    shown = {name: value for name, value in parts.items() if value > 0}
    bar = "".join(
        f'<span class="s{places[name]}" style="width:{100 * value / total:.2f}%" '
        f'title="{escape(name)}"></span>'
        for name, value in shown.items()
    )
    keys = "".join(
        f'<li><span class="swatch s{places[name]}"></span>{escape(name)} '
        f"<b>{100 * value / total:.0f} %</b>{_amount(value, unit)}</li>"
        for name, value in shown.items()
    )
    return f'<div class="bar" aria-hidden="true">{bar}</div><ul class="keys">{keys}</ul>'


def _amount(value: float, unit: str) -> str:
    return f" <small>{value:.3g} {escape(unit)}</small>" if unit else ""


def interval_mark(middle: float, low: float, high: float) -> str:
    """A dot with its interval beside a line at zero, on a scale of its own."""
    reach = max(abs(low), abs(high), abs(middle)) or 1.0
    x = [60 + 52 * value / reach for value in (low, middle, high)]
    kind = "up" if low > 0 else "down" if high < 0 else "open"
    return (
        f'<svg class="mark {kind}" viewBox="0 0 120 16" aria-hidden="true">'
        f'<path class="zero" d="M60 0V16"/><path class="whisker" d="M{x[0]:.1f} 8H{x[2]:.1f}"/>'
        f'<circle cx="{x[1]:.1f}" cy="8" r="3.5"/></svg>'
    )
