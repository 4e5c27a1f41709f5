"""Draws curves as small multiples into one SVG picture, which is legible on light and dark pages.

The picture has a background of its own, because a page may be dark while the browser prefers light,
and the reverse. The points of an axis have equal distances: they are powers of a number.
"""

import math
import statistics
from dataclasses import dataclass
from html import escape

COLUMNS, WIDTH, HEIGHT = 2, 440, 250  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 44, 46  # margins inside a panel
HEADER, FOOTER = 34, 28
COLOURS = ["own", "peer", "third"]
STYLE = """
svg { color-scheme: light dark }
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.background { fill: #ffffff } .small { font-size: 11px; fill: #59636e } .title { font-weight: 600; font-size: 13px }
.grid { stroke: #d1d9e0; stroke-width: 1 } .axis { stroke: #59636e; stroke-width: 1 }
.line { fill: none; stroke-width: 2 } .whisker { stroke-width: 1 }
.own { stroke: #0969da } .own-fill { fill: #0969da } .peer { stroke: #bc4c00 } .peer-fill { fill: #bc4c00 }
.third { stroke: #1a7f37 } .third-fill { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .background { fill: #0d1117 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
  .own { stroke: #4493f8 } .own-fill { fill: #4493f8 } .peer { stroke: #f0883e } .peer-fill { fill: #f0883e }
  .third { stroke: #3fb950 } .third-fill { fill: #3fb950 }
}
"""


@dataclass
class Panel:
    """One chart: for each series the figures of all rounds at each point of the x axis."""

    title: str
    x_label: str
    y_label: str
    points: list
    series: dict
    is_log: bool


def svg(panels, caption):
    """Returns the picture of these panels."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, HEADER + rows * HEIGHT + FOOTER
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    names.sort(key=lambda name: name != "egressd")
    colours = {name: COLOURS[position % len(COLOURS)] for position, name in enumerate(names)}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">',
             f"<style>{STYLE}</style>", f'<rect class="background" width="{width}" height="{height}" rx="8"/>']
    for position, name in enumerate(names):
        x = LEFT + position * 120
        parts.append(f'<path class="line {colours[name]}" d="M{x} 22h24"/><circle class="{colours[name]}-fill" cx="{x + 12}" cy="22" r="3.5"/>'
                     f'<text x="{x + 32}" y="26">{escape(name)}</text>')
    parts.append(text(width - RIGHT, 26, "median of the rounds; vertical lines: lowest to highest round", "small", "end"))
    for position, panel in enumerate(panels):
        x, y = position % COLUMNS * WIDTH, HEADER + position // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{"".join(draw_panel(panel, colours))}</g>')
    parts.append(text(LEFT, height - 10, caption, "small"))
    return "\n".join([*parts, "</svg>", ""])


def draw_panel(panel, colours):
    """Returns the elements of a panel."""
    ticks = log_ticks(panel) if panel.is_log else linear_ticks(panel)
    bottom, top = HEIGHT - BOTTOM, TOP

    def height(value):
        if panel.is_log:
            low, high, value = math.log(ticks[0]), math.log(ticks[-1]), math.log(value)
        else:
            low, high = ticks[0], ticks[-1]
        return bottom - (value - low) / (high - low) * (bottom - top)

    step = (WIDTH - LEFT - RIGHT - 24) / max(1, len(panel.points) - 1)
    across = [LEFT + 12 + position * step for position in range(len(panel.points))]
    parts = [text(LEFT, 18, panel.title, "title"), text(LEFT, 34, panel.y_label, "small"),
             text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, panel.x_label, "small", "middle")]
    for tick in ticks:
        y = height(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 8, y + 4, f"{tick:,.0f}" if tick >= 10 or tick == round(tick) else f"{tick:g}", "small", "end"))
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>')
    for x, point in zip(across, panel.points):
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        parts.append(text(x, bottom + 17, point, "small", "middle"))
    for name, figures in panel.series.items():
        colour = colours[name]
        middle = [height(statistics.median(values)) for values in figures]
        parts.append(f'<path class="line {colour}" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, middle)) + '"/>')
        for x, y, values in zip(across, middle, figures):
            parts.append(f'<path class="whisker {colour}" d="M{x:.1f} {height(min(values)):.1f}V{height(max(values)):.1f}"/>')
            parts.append(f'<circle class="{colour}-fill" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    return parts


def linear_ticks(panel):
    """Returns about five round values from 0 to above the highest figure."""
    highest = max(value for figures in panel.series.values() for values in figures for value in values)
    magnitude = 10 ** math.floor(math.log10(highest / 4))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude * 5 >= highest)
    return [number * step for number in range(math.ceil(highest / step) + 1)]


def log_ticks(panel):
    """Returns the powers of ten around all figures."""
    values = [value for figures in panel.series.values() for values in figures for value in values]
    return [10.0 ** power for power in range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)]


def text(x, y, content, style, anchor="start"):
    """Returns a text element."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{where}>{escape(str(content))}</text>'
