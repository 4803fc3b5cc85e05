// The state of a panel: what the kernel's messages make of it, its order, filter and sums. Pure.

import { ago } from "./words.js";

/** Seconds that a timeline covers. */
export const TIMELINE_S = 300;
/** Characters that are kept of a streamed text. */
const TEXT_KEPT = 20_000;
/** Changes of state that a timeline keeps, as in the kernel. */
const SPANS = 120;
export const PRIORITIES = ["urgent", "high", "normal", "low"];
const LEVEL = { running: 1, waiting: 0.6, paused: 0.35, sleeping: 0.35, stopped: 0.2 };

/** The state of a panel that has received no message yet. */
export const nothing = () => ({
  rows: new Map(), details: new Map(), transcripts: new Map(), team: [], gone: {}, budget: null, number: 0, known: false,
});

/**
 * Apply a message to the state. Maps are changed in place, so that a thousand rows cost nothing; a row that changes is
 * a new object, so that it is drawn again.
 * @returns {{state: object, missed: boolean}} `missed`: updates were lost, and the view must request all rows again.
 */
export function take(state, message) {
  if (message.kind === "team") return { state: { ...state, team: message.team }, missed: false };
  if (message.kind === "all") {
    const { team, gone, number, budget = null } = message;
    const details = new Map(Object.entries(message.details));
    // A transcript comes anew, soon: until then, the one that is there is shown.
    const next = { ...nothing(), details, transcripts: state.transcripts, team, gone, budget, number, known: true };
    takeRows(next, message.rows, message.now);
    return { state: next, missed: false };
  }
  if (message.kind !== "update" || !state.known) return { state, missed: false };
  const missed = message.number !== state.number + 1;
  state.number = message.number;
  state.gone = message.gone ?? state.gone;
  if ("budget" in message) state.budget = message.budget;
  for (const name of [...(message.rows.removed ?? []), ...(message.rows.added ?? [])]) state.details.delete(name);
  takeRows(state, message.rows, message.now);
  for (const [name, change] of Object.entries(message.details)) {
    const before = state.details.get(name) ?? {};
    state.details.set(name, { ...before, ...change, text: joined(before.text, change.text) });
  }
  for (const [run, change] of Object.entries(message.transcripts ?? {})) {
    state.transcripts.set(run, readOn(state.transcripts.get(run), change));
  }
  return { state, missed };
}

/** Items of a transcript that a page keeps, the newest: each takes elements. */
const ITEMS = 1_000;

/** A transcript with what is new. Items come once, in order; what streams belongs to the turn in progress. */
export function readOn(before, { first, cut, run, items = [], live, thinking }) {
  const known = first || !before ? { cut, items: [] } : before;
  const all = items.length ? [...known.items, ...items] : known.items;
  const over = all.length - ITEMS;
  const replied = items.some(({ kind }) => kind === "reply" || kind === "end");
  return {
    ...known,
    run: run ?? known.run,
    cut: over > 0 ? all[over + 1].at : known.cut,
    items: over > 0 ? [all[0], ...all.slice(over + 1)] : all, // the prompt stays
    live: joined(replied ? undefined : known.live, live),
    thinking: joined(replied ? undefined : known.thinking, thinking),
  };
}

/** Apply the rows of a message: agents that are `removed` and `added`, and `tables` of columns beside their names. */
function takeRows(state, { removed = [], added = [], tables = [] }, now) {
  const fresh = new Set(added); // rows that are objects of this message already
  for (const name of removed) state.rows.delete(name);
  for (const name of added) state.rows.set(name, { name, spans: [] }); // nothing of a removed agent of this name
  for (const { name: names, spans, ...columns } of tables) {
    const facts = Object.entries(columns);
    names.forEach((name, at) => {
      const before = state.rows.get(name);
      if (!before) return; // the update that added it was lost: all rows will come
      const row = fresh.has(name) ? before : { ...before };
      for (const [fact, values] of facts) row[fact] = values[at];
      if (spans) row.spans = recent([...row.spans, ...spans[at]], now).slice(-SPANS);
      fresh.add(name);
      state.rows.set(name, row);
    });
  }
}

/** Append a piece to a text. `at` and `to` are offsets in the text of a turn, in characters as the kernel counts them. */
export function joined(text, piece) {
  if (!piece) return text;
  const follows = text && text.run === piece.run && text.turn === piece.turn && text.to === piece.at;
  const all = follows ? { ...text, to: piece.to, text: text.text + piece.text } : { ...piece };
  const over = all.text.length - TEXT_KEPT;
  return over > 0 ? { ...all, at: all.at + over, text: all.text.slice(over) } : all;
}

/** Drop the spans that ended before the timeline begins. */
function recent(spans, now) {
  const first = spans.findIndex(([when]) => when > now - TIMELINE_S);
  return first > 1 ? spans.slice(first - 1) : spans;
}

/** The bars of a timeline: `{state, x, width, level}`, x from 0 (TIMELINE_S ago) to 1 (now). Idle time has no bar. */
export function bars(spans, now) {
  const found = [];
  spans.forEach(([when, state], index) => {
    const from = Math.max(when, now - TIMELINE_S);
    const to = Math.min(spans[index + 1]?.[0] ?? now, now);
    if (to < now - TIMELINE_S || to < from || !(state in LEVEL)) return;
    const x = (from - now + TIMELINE_S) / TIMELINE_S;
    found.push({ state, x, width: Math.max((to - from) / TIMELINE_S, 0.004), level: LEVEL[state] });
  });
  return found;
}

/** The label of a timeline for a screen reader. */
export function timelineLabel(spans, now) {
  const seconds = {};
  for (const { state, width } of bars(spans, now)) seconds[state] = (seconds[state] ?? 0) + width * TIMELINE_S;
  const parts = Object.entries(seconds).map(([state, s]) => `${state} ${ago(s)}`);
  return `last 5 minutes: ${parts.join(", ") || "idle"}`;
}

export const STATES = ["running", "waiting", "paused", "sleeping", "idle", "stopped"];
/** The state without what the agent waits for: `waiting for bob#1` is `waiting`. */
export const plainState = (state) => (state.startsWith("waiting") ? "waiting" : state);
/** The rank of a state, for sorting. */
export const rank = (state) => STATES.findIndex((one) => state.startsWith(one));

/** Failed runs first, then current ones. */
function workRank(row) {
  if (row.error) return 0;
  return row.now ? 1 : 2;
}

const SORT_KEYS = {
  agent: (row) => row.name.toLowerCase(),
  state: (row) => rank(row.state),
  now: workRank,
  queue: (row) => row.queued,
  tokens: (row) => (row.uncounted ? Infinity : row.input + row.output), // unknown may be the most
  cost: (row) => (row.unpriced > row.estimates ? Infinity : row.cost + row.estimated),
  model: (row) => row.model,
};
/** The columns of numbers, whose first click shows the largest first. */
const NUMBERS = new Set(["queue", "tokens", "cost"]);

/** The order after a click on a column's head: by that column; the other way round if it is by that column already. */
export const nextSort = (sort, by) => ({ by, down: sort?.by === by ? !sort.down : NUMBERS.has(by) });

/** The names of all rows, sorted by a column; without one, in the order of their creation. */
export function ordered(rows, sort) {
  const names = [...rows.keys()];
  const key = SORT_KEYS[sort?.by];
  if (!key) return names;
  const keys = new Map(names.map((name) => [name, key(rows.get(name))]));
  const sign = sort.down ? -1 : 1;
  return names.sort((a, b) => {
    const [first, second] = [keys.get(a), keys.get(b)];
    if (first < second) return -sign;
    return first > second ? sign : 0;
  });
}

/** An earlier order without removed rows, and with new rows at its end: the others stay where they are. */
export function keptOrder(order, rows) {
  const known = new Set(order);
  return [...order.filter((name) => rows.has(name)), ...[...rows.keys()].filter((name) => !known.has(name))];
}

/** Whether a row contains every word of the filter, and is in the state. */
export function matches(row, words, state) {
  if (state === "failed" && !row.error) return false;
  if (state && state !== "failed" && !row.state.startsWith(state)) return false;
  if (!words) return true;
  const text = [row.name, row.title, row.about, row.now, row.model, row.error, row.state].join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const SPENT = ["runs", "input", "output", "cost", "unpriced", "uncounted", "at_work", "estimated",
  "estimates"];

/** The sums of all rows, with the costs of removed agents. */
export function total(rows, gone) {
  const sum = { states: {}, queued: 0, failed: 0 };
  for (const fact of SPENT) sum[fact] = gone[fact] ?? 0;
  for (const row of rows.values()) {
    const state = plainState(row.state);
    sum.states[state] = (sum.states[state] ?? 0) + 1;
    sum.queued += row.queued;
    sum.failed += row.error ? 1 : 0;
    for (const fact of SPENT) sum[fact] += row[fact];
  }
  return sum;
}

/** A sentence about what ended with the kernel, as far as the panel knows: agents, runs in progress, queued runs. */
export function endedWith(rows) {
  const sum = total(rows, {});
  const parts = [[rows.size, "agent", "agents"], [sum.at_work, "run in progress", "runs in progress"],
    [sum.queued, "queued run", "queued runs"]]
    .filter(([number]) => number).map(([number, one, more]) => `${number} ${number === 1 ? one : more}`);
  if (!parts.length) return "The kernel has ended.";
  const last = parts.pop();
  return `The kernel has ended, and with it ${parts.length ? `${parts.join(", ")} and ${last}` : last}.`;
}

/** The rows that a scrolled list shows, and a few more on each side: [first, end). */
export function inView(top, height, rowHeight, count) {
  const first = Math.max(0, Math.floor(top / rowHeight) - 3);
  return [Math.min(first, count), Math.min(count, Math.ceil((top + height) / rowHeight) + 3)];
}
