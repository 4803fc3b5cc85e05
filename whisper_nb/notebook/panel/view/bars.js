// The picture of the team: bars of runs, windows of time and the axis. Pure.

import { ago, count, dollars } from "./words.js";

/** The seconds that a picture can show at once. */
export const WINDOWS = [60, 120, 300, 900, 1800, 3600, 10_800, 21_600];
export const KINDS = ["thinking", "tool", "waiting", "waiting for the rate limit", "waiting for the budget"];
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 86_400];

/** A lane without bars yet: what one agent did from `since` on, as seen with a pixel of so many seconds. */
export const emptyLane = (since, step) => ({ since, step, bars: new Map(), sorted: null });

/** Add bars as the kernel sends them; a number alone removes one. */
export function takeBars(lane, found) {
  for (const [number, since, seconds, outcome, several, parts, needs, line, input, output, cost] of found) {
    if (since === undefined) {
      lane.bars.delete(number);
      continue;
    }
    const counts = several ?? { [outcome]: 1 };
    const runs = Object.values(counts).reduce((sum, one) => sum + one);
    lane.bars.set(number, { number, since, seconds, outcome, counts, runs, parts, needs, line, input, output, cost });
  }
  lane.sorted = null;
}

/** The bars of a lane by their start. */
export function sortedBars(lane) {
  lane.sorted ??= [...lane.bars.values()].sort((a, b) => a.since - b.since);
  return lane.sorted;
}

export const endOf = (bar, now) => (bar.seconds === null ? Math.max(now, bar.since) : bar.since + bar.seconds);

/** The bars that a window shows. */
export const barsIn = (lane, since, until, now) =>
  sortedBars(lane).filter((bar) => bar.since <= until && endOf(bar, now) >= since);

/** The parts of a bar: `{kind, from, to}`. The last one lasts until its end. */
export function partsOf(bar, now) {
  const end = endOf(bar, now);
  if (!bar.parts.length) return [{ kind: bar.outcome === "queued" ? "waiting" : "thinking", from: bar.since, to: end }];
  const found = [];
  let from = bar.since;
  for (let at = 0; at < bar.parts.length; at += 2) {
    const to = at + 2 < bar.parts.length ? Math.min(from + bar.parts[at], end) : end;
    found.push({ kind: KINDS[bar.parts[at + 1]], from, to });
    from = to;
  }
  return found;
}

/** The bar at a time, or the nearest one that is at most `slack` seconds away. A queued run comes last. */
export function barAt(lane, time, slack, now) {
  let best = null, least = Infinity;
  for (const bar of sortedBars(lane)) {
    const away = Math.max(bar.since - time, time - endOf(bar, now), 0) + (bar.outcome === "queued" ? slack / 2 : 0);
    if (away > slack || away > least) continue;
    [best, least] = [bar, away];
  }
  return best;
}

/** The marks of an axis: `{x, label}`, in the browser's time zone, at least 76 pixels apart. */
export function ticks(since, until, width) {
  const scale = width / (until - since);
  const step = TICKS.find((one) => one * scale >= 76) ?? TICKS.at(-1);
  const zone = new Date(since * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((since - zone) / step) * step + zone; at <= until; at += step) {
    found.push({ x: (at - since) * scale, label: clockTime(at, step < 60) });
  }
  return found;
}

export function clockTime(time, withSeconds = true) {
  const at = new Date(time * 1000);
  const parts = [at.getHours(), at.getMinutes(), ...(withSeconds ? [at.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** The window that is so many levels wider (+) or narrower (−). */
export function zoomed(seconds, levels) {
  const at = WINDOWS.findIndex((one) => one >= seconds);
  return WINDOWS[Math.min(Math.max((at < 0 ? WINDOWS.length - 1 : at) + levels, 0), WINDOWS.length - 1)];
}

export function windowName(seconds) {
  return seconds < 3600 ? `${seconds / 60} min` : `${seconds / 3600} h`;
}

/** Whether a lane has to be requested as a whole for a window: it begins later, or is known less precisely. */
export const isTooCoarse = (lane, since, step) => !lane || lane.since > since || lane.step > step * 1.01;

export function lasted(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** What a bar says: its run and outcome, its prompt's first line, and its times, tokens and cost. */
export function description(agent, bar, now) {
  const many = bar.runs > 1;
  const title = many ? `${bar.runs} runs of ${agent} from #${bar.number}` : `${agent}#${bar.number} · ${bar.outcome}`;
  const facts = [
    `${clockTime(bar.since)} · ${lasted(endOf(bar, now) - bar.since)}${bar.seconds === null ? " so far" : ""}`,
  ];
  if (bar.outcome === "queued") facts.push(`waits for ${bar.needs.join(", ")}`);
  else {
    if (bar.parts.length) facts.push(timesInWords(bar, now));
    if (bar.needs.length) facts.push(`has the text of ${bar.needs.join(", ")}`);
    facts.push(spentInWords(bar));
  }
  if (many) facts.push("click to tell them apart");
  return { title, line: bar.line, facts };
}

/** `thinking 8.1 s · tool 3.0 s`. */
function timesInWords(bar, now) {
  const seconds = {};
  for (const { kind, from, to } of partsOf(bar, now)) seconds[kind] = (seconds[kind] ?? 0) + to - from;
  return KINDS.filter((kind) => kind in seconds).map((kind) => `${kind} ${lasted(seconds[kind])}`).join(" · ");
}

function spentInWords({ input, output, cost, seconds }) {
  if (input === null && seconds === null) return "tokens and cost: at its end";
  const tokens = input === null ? "tokens unknown" : `${count(input)} + ${count(output)} tokens`;
  return `${tokens} · ${cost === null ? "cost unknown" : dollars(cost)}`;
}

/** A lane for a screen reader. */
export function laneLabel(name, row, found, now) {
  const counts = {};
  for (const bar of found) {
    for (const [outcome, runs] of Object.entries(bar.counts)) counts[outcome] = (counts[outcome] ?? 0) + runs;
  }
  const said = Object.entries(counts).map(([outcome, number]) => `${number} ${outcome}`).join(", ");
  const since = row.since === null ? "" : ` ${ago(now - row.since)}`;
  return `${name}: ${row.state}${since}; in view: ${said || "no run"}`;
}

/**
 * The arrows from runs to those that they wait for: `{agent, bar, from, to, target}`. `target` is the other agent, and
 * `to` the time of its run that the arrow points at: that of `from`, if the other run is not known.
 */
export function arrows(names, lanes, since, until, now) {
  const found = [];
  for (const agent of names) {
    const lane = lanes.get(agent);
    if (!lane) continue;
    for (const bar of barsIn(lane, since, until, now)) {
      for (const id of bar.needs) {
        const [target, number] = id.split("#");
        const other = lanes.get(target)?.bars.get(Number(number));
        const to = other ? Math.min(Math.max(bar.since, other.since), endOf(other, now)) : bar.since;
        found.push({ agent, bar, target, from: bar.since, to });
      }
    }
  }
  return found;
}
