"""Plots as SVG: grouped horizontal bars, and lines in small panels. Readable on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

# Okabe and Ito's colours, which people with colour blindness can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
WIDTH = 840
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .small { font-size: 11px; fill: #57606a }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .paper { fill: #ffffff; stroke: #d0d7de }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .paper { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #30363d }
  }
"""


def bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]], names: Sequence[str], *,
         width: int = WIDTH, left: int = 250) -> str:
    """A group of horizontal bars for each row: label -> name -> value, in the order of ``names``. The labels are in the
    first ``left`` of ``width`` pixels."""
    thick, gap, top = 12, 10, 62
    most = max(value for values in rows.values() for value in values.values())
    ticks = _ticks(most)
    scale = (width - left - 70) / max(most, ticks[-1])
    body, y = [], top
    for label, values in rows.items():
        shown = [name for name in names if name in values]
        body.append(_text(left - 10, y + thick * len(shown) / 2 + 4, label, "end"))
        for name in shown:
            value = values[name]
            body.append(f'<rect x="{left}" y="{y + 1}" width="{max(value * scale, 1):.1f}" height="{thick - 2}"'
                        f' fill="{COLOURS[names.index(name)]}"/>')
            body.append(_text(left + value * scale + 5, y + thick - 2, _number(value), "small"))
            y += thick
        y += gap
    grid = [f'<path class="grid" d="M{left + tick * scale:.1f} {top - 4}V{y}"/>'
            + _text(left + tick * scale, y + 14, f"{tick:g}", "small middle") for tick in ticks]
    return _page(title, unit, width, y + 26, names, [*grid, *body])


def lines(title: str, unit: str, panels: Mapping[str, Mapping[str, Mapping[int, float]]], names: Sequence[str]) -> str:
    """A small panel for each label -> name -> x -> value; x is logarithmic, each panel starts at 0."""
    columns, wide, high, top = 4, 198, 118, 62
    body = []
    for place, (label, series) in enumerate(panels.items()):
        x0, y0 = 46 + place % columns * wide, top + place // columns * (high + 42)
        width, points = wide - 58, [point for values in series.values() for point in values.items()]
        ticks = _ticks(max(value for _, value in points))
        most = max(ticks[-1], *(value for _, value in points))
        far = math.log10(max(x for x, _ in points)) or 1
        body.append(_text(x0, y0 + 8, label, ""))
        base = y0 + high - 8

        def across(x: int, x0: float = x0, width: float = width, far: float = far) -> float:
            return x0 + width * math.log10(x) / far

        def up(value: float, base: float = base, most: float = most) -> float:
            return base - (high - 32) * value / most

        for tick in (0.0, *ticks):
            body.append(f'<path class="grid" d="M{x0} {up(tick):.1f}h{width}"/>')
            body.append(_text(x0 - 5, up(tick) + 4, f"{tick:g}", "small end"))
        body += [_text(across(x), base + 14, str(x), "small middle") for x in sorted({x for x, _ in points})]
        for name in names:
            values = sorted(series.get(name, {}).items())
            colour = COLOURS[names.index(name)]
            path = " ".join(f"{across(x):.1f},{up(value):.1f}" for x, value in values)
            body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            body += [f'<circle cx="{across(x):.1f}" cy="{up(value):.1f}" r="2.5" fill="{colour}"/>'
                     for x, value in values]
    bottom = top + math.ceil(len(panels) / columns) * (high + 42)
    return _page(title, unit, WIDTH, bottom - 12, names, body)


def _page(title: str, unit: str, width: int, height: int, names: Sequence[str], body: list[str]) -> str:
    legend, x = [_text(width - 16, 44, unit, "small end")], 16
    for name in names:
        legend.append(f'<rect x="{x}" y="36" width="10" height="10" fill="{COLOURS[names.index(name)]}"/>')
        legend.append(_text(x + 15, 45, name, ""))
        x += 40 + 7 * len(name)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" role="img">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n'
            f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>\n'
            + "\n".join([_text(16, 24, title, "title"), *legend, *body]) + "\n</svg>\n")


def _text(x: float, y: float, text: str, style: str) -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{escape(text)}</text>'


def _ticks(most: float) -> list[float]:
    """Two to five round numbers up to ``most``."""
    power = 10 ** math.floor(math.log10(most))
    step = next(power * factor for factor in (0.2, 0.25, 0.5, 1, 2) if most / (power * factor) < 6)
    return [round(step * number, 9) for number in range(1, math.floor(most / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
