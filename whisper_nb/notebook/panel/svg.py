"""The picture of the team as SVG without script, every value escaped."""

from __future__ import annotations

import html
import math
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...core.costs import dollars
from .bars import DRAWN, Bar, Kind

#: Pixels: the picture, the names, a lane, a bar, the axis, the legend, and a line below it for a budget.
WIDTH, LABEL, LANE, BAR, AXIS, FOOT, FOOT_BUDGET = 900, 110, 28, 18, 24, 30, 20
#: Pixels for the time that the picture shows.
SCALE = WIDTH - LABEL - 12
#: Pixels that an ASCII character takes, and another one.
_NARROW, _BROAD = 6.2, 11.5
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 86_400)
OUTCOMES = ("running", "succeeded", "failed", "cancelled")
#: The colors of both themes, those of panel/view/theme.css, as variables: a front end's theme chooses.
_LIGHT = {
    "text": "#1f2328", "dim": "#57606a", "back": "#ffffff", "rule": "#e4e6e9", "waiting": "#e08600",
    "running": "#1a73e8", "succeeded": "#2e7d32", "failed": "#b3261e", "cancelled": "#6d6d6d",
}  # fmt: skip
_DARK = {
    "text": "#e6edf3", "dim": "#9da7b3", "back": "#161616", "rule": "#30343a", "waiting": "#f5b041",
    "running": "#6cb2ff", "succeeded": "#81c784", "failed": "#ff8a80", "cancelled": "#a3a3a3",
}  # fmt: skip
_HOLLOW = ' fill-opacity=".35" stroke-width=".8"'


@dataclass(frozen=True, slots=True)
class Lane:
    """The bars of one agent."""

    agent: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """The contents of a picture."""

    lanes: tuple[Lane, ...]
    since: float
    until: float
    """The time that it shows, in seconds since the epoch."""
    now: float
    """The time at which it was made."""
    more: int = 0
    """Agents without a lane."""
    budget: str = ""
    """The budget of all agents, in words; empty without one."""

    @property
    def label(self) -> str:
        """The picture in one line."""
        clock = [time.strftime("%H:%M:%S", time.localtime(one)) for one in (self.since, self.until)]
        counts: Counter[str] = Counter()
        for lane in self.lanes:
            for bar in lane.bars:
                counts.update(dict(bar.counts) or {bar.outcome: 1})
        runs = ", ".join(f"{counts[one]} {one}" for one in (*OUTCOMES, "queued") if counts[one])
        budget = f"; {self.budget}" if self.budget else ""
        return f"timeline from {clock[0]} to {clock[1]}: {runs or 'no run'}{budget}"

    @property
    def rest(self) -> list[str]:
        """The agents without a lane, in words; empty if there are none."""
        if not self.more:
            return []
        return [f"and {self.more} more agent{'s' * (self.more != 1)}"]

    # Drawing

    def draw(self, titles: bool) -> Iterator[str]:
        """Yield the SVG in pieces, with a title for each bar if wanted."""
        height = AXIS + LANE * len(self.lanes) + FOOT + (FOOT_BUDGET if self.budget else 0)
        key = f"wnb-{zlib.crc32(repr((self.lanes, self.since, self.until)).encode()):x}"
        label = escaped(self.label)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="wnb-still" role="img" aria-label="{label}" '
            f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" font-size="11">'
        )
        yield f"<style>{_STYLE}</style>"
        yield (
            f'<defs><pattern id="{key}" width="5" height="5" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><path class="back" stroke="#fff" stroke-width="4.4" stroke-opacity=".72" '
            f'd="M0 0V5"/></pattern></defs><rect class="card" width="100%" height="100%" rx="6" fill="#fff"/>'
        )
        yield from self._axis(AXIS + LANE * len(self.lanes))
        yield from self._names()
        for outcome in (*OUTCOMES, "queued"):
            drawn = "".join(self._bars(outcome, key, titles))
            if drawn:
                yield f'<g class="{outcome}" fill="{_LIGHT.get(outcome, _LIGHT["waiting"])}">{drawn}</g>'
        yield from self._arrows()
        yield from self._legend(AXIS + LANE * len(self.lanes) + FOOT, key)
        yield "</svg>"

    def _x(self, when: float) -> float:
        inside = min(max(when, self.since), self.until)
        return LABEL + (inside - self.since) * SCALE / (self.until - self.since)

    def _axis(self, height: int) -> Iterator[str]:
        marks = [*_marks(self.since, self.until)]
        rules = "".join(f"M{_n(self._x(at))} {AXIS - 4}V{height}" for at, _ in marks)
        lanes = "".join(f"M0 {AXIS + LANE * at}H{WIDTH}" for at in range(len(self.lanes) + 1))
        yield f'<path class="rule" stroke="{_LIGHT["rule"]}" d="{rules}{lanes}"/><g class="dim" fill="{_LIGHT["dim"]}">'
        yield "".join(
            f'<text x="{_n(self._x(at))}" y="15" text-anchor="middle">{label}</text>'
            for at, label in marks
            if LABEL + 20 < self._x(at) < WIDTH - 28
        )
        yield "</g>"

    def _names(self) -> Iterator[str]:
        yield f'<g class="text" fill="{_LIGHT["text"]}" font-weight="600">'
        for at, lane in enumerate(self.lanes):
            name = lane.agent if len(lane.agent) <= 15 else f"{lane.agent[:14]}…"
            yield f'<text x="10" y="{AXIS + LANE * at + LANE / 2 + 4:g}">{escaped(name)}</text>'
        yield "</g>"

    def _bars(self, outcome: str, key: str, titles: bool) -> Iterator[str]:
        for at, lane in enumerate(self.lanes):
            y = AXIS + LANE * at + (LANE - BAR) / 2
            for bar in lane.bars:
                if bar.outcome == outcome and (bar.end is None or bar.end >= self.since) and bar.since <= self.until:
                    drawn = "".join(self._bar(bar, y, key))
                    title = f"<title>{escaped(_title(lane.agent, bar, self.now))}</title>" if titles else ""
                    yield f"<g>{title}{drawn}</g>" if title else drawn

    def _bar(self, bar: Bar, y: float, key: str) -> Iterator[str]:
        middle = y + BAR / 2
        place = (0.0, 0.0)
        for kind, begin, end in parts_until(bar, self.now):
            x = self._x(begin)
            wide = max(self._x(end) - x, 1.2)
            if bar.outcome == "queued":
                dashes = f'stroke="{_LIGHT["waiting"]}" stroke-width="2" stroke-dasharray="3 3"'
                yield f'<path {dashes} d="M{_n(x)} {middle:g}h{_n(wide)}"/>'
                return
            if kind.startswith("waiting"):
                yield f'<rect x="{_n(x)}" y="{middle - 2:g}" width="{_n(wide)}" height="4"/>'
                continue
            box = f'x="{_n(x)}" y="{y:g}" width="{_n(wide)}" height="{BAR}"'
            round_ = ' rx="2.5"' if wide > 6 else ""
            yield f"<rect {box}{round_}{_HOLLOW if bar.outcome == 'cancelled' else ''}/>"
            if kind == "tool":
                yield f'<rect {box} fill="url(#{key})"/>'
            elif wide > place[1]:
                place = (x, wide)
        room = place[1] - (22 if bar.outcome == "failed" else 9)
        if text := _words(bar, room):
            shade = "text" if bar.outcome == "cancelled" else "back"
            look = f'class="{shade}" fill="{_LIGHT[shade]}"'
            yield f'<text {look} x="{_n(place[0] + 5)}" y="{middle + 4:g}">{escaped(text)}</text>'
        if bar.outcome == "failed":
            end = self._x(bar.end or self.now)
            wide = end - self._x(bar.since) > 16
            x, shade = (end - 9, "back") if wide else (end, "text")
            yield (
                f'<path class="{shade}" stroke="{_LIGHT[shade]}" stroke-width="1.8" '
                f'd="M{_n(x - 3)} {middle - 3:g}l6 6m0-6l-6 6"/>'
            )

    def _arrows(self) -> Iterator[str]:
        places = {lane.agent: at for at, lane in enumerate(self.lanes)}
        for at, lane in enumerate(self.lanes):
            for bar in lane.bars:
                for need in bar.needs if self.since <= bar.since <= self.until else ():
                    agent, _, number = need.partition("#")
                    if (to := places.get(agent, at)) == at:
                        continue
                    other = next((one for one in self.lanes[to].bars if str(one.number) == number), bar)
                    when = min(max(bar.since, other.since), other.end or self.now)
                    yield _arrow(self._x(bar.since), at, self._x(when), to)

    def _legend(self, height: int, key: str) -> Iterator[str]:
        y = height - 12
        yield f'<g class="dim" fill="{_LIGHT["dim"]}">'
        x = 10.0
        for name in (*OUTCOMES, *DRAWN):
            box = f'x="{x:g}" y="{y - 9:g}" width="14" height="10" rx="2"'
            color = f' class="{name}" fill="{_LIGHT[name]}"' if name in OUTCOMES else ""
            if name == "waiting":
                box = f'x="{x:g}" y="{y - 6:g}" width="14" height="4"'
            yield f"<rect {box}{color}{_HOLLOW if name == 'cancelled' else ''}/>"
            if name == "tool":
                yield f'<rect {box} fill="url(#{key})"/>'
            yield f'<text x="{x + 19:g}" y="{y}">{name}</text>'
            x += 37 + 6.1 * len(name)
        dashes = f'class="queued" stroke="{_LIGHT["waiting"]}" stroke-width="2" stroke-dasharray="3 3"'
        yield f'<path {dashes} d="M{x:g} {y - 4:g}h14"/><text x="{x + 19:g}" y="{y}">queued for a run</text>'
        clock = time.strftime("as of %H:%M:%S", time.localtime(self.now))
        text = " · ".join([*self.rest, clock])
        yield f'<text x="{WIDTH - 12}" y="{y}" text-anchor="end">{text}</text>'
        if self.budget:
            yield f'<text x="10" y="{y + FOOT_BUDGET}">{escaped(self.budget)}</text>'
        yield "</g>"


def parts_until(bar: Bar, now: float) -> Iterator[tuple[Kind, float, float]]:
    """Yield the parts of a bar, each with its beginning and end. The last one lasts until the end of the bar."""
    end = now if bar.end is None else bar.end
    if not bar.parts:
        yield "waiting" if bar.outcome == "queued" else "thinking", bar.since, end
        return
    begin = bar.since
    *parts, (last, _) = bar.parts
    for kind, seconds in parts:
        yield kind, begin, min(begin + seconds, end)
        begin = min(begin + seconds, end)
    yield last, begin, end


def _marks(since: float, until: float) -> Iterator[tuple[float, str]]:
    """Yield the times of an axis in the local time zone, and their labels."""
    step = next((one for one in _TICKS if one * SCALE / (until - since) >= 76), _TICKS[-1])
    zone = time.localtime(since).tm_gmtoff
    clock = "%H:%M:%S" if step < 60 else "%H:%M"
    first = math.ceil((since + zone) / step) * step - zone
    for at in range(first, math.floor(until) + 1, step):
        yield at, time.strftime(clock, time.localtime(at))


def _title(agent: str, bar: Bar, now: float) -> str:
    head = f"{agent}#{bar.number} · {bar.outcome}"
    if bar.runs > 1:
        head = f"{bar.runs} runs of {agent} from #{bar.number}"
    seconds = (now if bar.end is None else bar.end) - bar.since
    times = [f"{time.strftime('%H:%M:%S', time.localtime(bar.since))} · {lasted(seconds)}"]
    spent = "tokens unknown" if bar.input is None else f"{bar.input:,} + {bar.output:,} tokens"
    lines = [head, bar.line, *times, f"{spent} · cost {dollars(bar.cost)}"]
    if bar.needs:
        lines.append(f"{'waits for' if bar.outcome == 'queued' else 'has the text of'} {', '.join(bar.needs)}")
    return "\n".join(lines)


def lasted(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _words(bar: Bar, room: float) -> str:
    """Return the number of a run, and the beginning of its prompt if there is room."""
    short = f"#{bar.number}" if bar.runs == 1 else f"{bar.runs} runs"
    if room < _NARROW * len(short):
        return ""
    if bar.runs > 1 or room < _NARROW * (len(short) + 8):
        return short
    line = "".join(_fitting(bar.line, room - _NARROW * (len(short) + 1)))
    return f"{short} {line}" if line == bar.line else f"{short} {line}…"


def _fitting(text: str, room: float) -> Iterator[str]:
    for char in text:
        room -= _NARROW if char.isascii() else _BROAD
        if room < _NARROW:
            return
        yield char


def _arrow(x: float, lane: int, to_x: float, to_lane: int) -> str:
    """Return an arrow between the bars of two lanes."""
    sign = 1 if to_lane > lane else -1
    start = AXIS + LANE * (lane + 0.5) + sign * BAR / 2
    end = AXIS + LANE * (to_lane + 0.5) - sign * BAR / 2
    bend = min(abs(end - start) / 2, 28)
    return (
        f'<path class="dim" fill="none" stroke="{_LIGHT["dim"]}" d="M{_n(x)} {start:g}'
        f'C{_n(x)} {start + sign * bend:g} {_n(to_x)} {end - sign * bend:g} {_n(to_x)} {end - sign * 5:g}"/>'
        f'<path class="dim" fill="{_LIGHT["dim"]}" d="M{_n(to_x)} {end:g}l-3.5 {-sign * 6}h7z"/>'
    )


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def escaped(text: str) -> str:
    """Return a text for SVG and HTML. XML knows two characters less than `printable` lets pass."""
    return html.escape(text.translate({0xFFFE: "\N{REPLACEMENT CHARACTER}", 0xFFFF: "\N{REPLACEMENT CHARACTER}"}))


def _theme(colors: Mapping[str, str]) -> str:
    return "".join(f"--wnb-s-{name}:{color};" for name, color in colors.items())


def _style() -> str:
    light, dark = _theme(_LIGHT), _theme(_DARK)
    rules = [
        f".wnb-still{{{light}max-width:100%;height:auto}}",
        f"@media(prefers-color-scheme:dark){{.wnb-still{{{dark}}}}}",
        f"[data-jp-theme-light=true] .wnb-still{{{light}}}[data-jp-theme-light=false] .wnb-still{{{dark}}}",
        ".wnb-still .card{fill:var(--wnb-s-back)}.wnb-still .rule{stroke:var(--wnb-s-rule)}",
        ".wnb-still .queued path,.wnb-still .queued{stroke:var(--wnb-s-waiting)}",
        ".wnb-still .cancelled rect{stroke:var(--wnb-s-cancelled)}",
    ]
    filled = [f".wnb-still .{name}{{fill:var(--wnb-s-{name})}}" for name in (*OUTCOMES, "text", "dim", "back")]
    stroked = [f".wnb-still path.{name}{{stroke:var(--wnb-s-{name})}}" for name in ("text", "dim", "back")]
    return "".join([*rules, *filled, *stroked, '.wnb-still [fill="none"]{fill:none}'])


_STYLE = _style()
