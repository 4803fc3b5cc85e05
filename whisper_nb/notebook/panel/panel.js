// The panel of whisper_nb. It draws the messages of whisper_nb/notebook/panel/panel.py, and sends the user's actions as
// requests. The first part is pure and has tests of its own; the second draws. Texts of the kernel become text nodes,
// never markup.

// ── Pure ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Seconds that a timeline covers. */
export const TIMELINE_S = 300;
/** Characters that are kept of a streamed text. */
const TEXT_KEPT = 20_000;
/** Changes of state that a timeline keeps, as in the kernel. */
const SPANS = 120;
export const PRIORITIES = ["urgent", "high", "normal", "low"];
const LEVEL = { running: 1, waiting: 0.6, paused: 0.35, sleeping: 0.35, stopped: 0.2 };

/** The state of a panel that has received no message yet. */
export const nothing = () => ({ rows: new Map(), details: new Map(), team: [], gone: {}, number: 0, known: false });

/**
 * Apply a message to the state. Maps are changed in place, so that a thousand rows cost nothing; a row that changes is
 * a new object, so that it is drawn again.
 * @returns {{state: object, missed: boolean}} `missed`: updates were lost, and the view must request all rows again.
 */
export function take(state, message) {
  if (message.kind === "team") return { state: { ...state, team: message.team }, missed: false };
  if (message.kind === "all") {
    const { team, gone, number } = message;
    const next = { ...nothing(), details: new Map(Object.entries(message.details)), team, gone, number, known: true };
    takeRows(next, message.rows, message.now);
    return { state: next, missed: false };
  }
  if (message.kind !== "update" || !state.known) return { state, missed: false };
  const missed = message.number !== state.number + 1;
  state.number = message.number;
  state.gone = message.gone ?? state.gone;
  for (const name of [...(message.rows.removed ?? []), ...(message.rows.added ?? [])]) state.details.delete(name);
  takeRows(state, message.rows, message.now);
  for (const [name, change] of Object.entries(message.details)) {
    const before = state.details.get(name) ?? {};
    state.details.set(name, { ...before, ...change, text: joined(before.text, change.text) });
  }
  return { state, missed };
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

const STATES = ["running", "waiting", "paused", "sleeping", "idle", "stopped"];
/** The rank of a state, for sorting. */
const rank = (state) => STATES.findIndex((one) => state.startsWith(one));

/** Failed runs first, then current ones. */
function workRank(row) {
  if (row.error) return 0;
  return row.now ? 1 : 2;
}

const SORT_KEYS = {
  agent: (row) => row.name.toLowerCase(),
  state: (row) => rank(row.state),
  now: workRank,
  queue: (row) => -row.queued,
  tokens: (row) => (row.uncounted ? -Infinity : -(row.input + row.output)),
  cost: (row) => (row.unpriced ? -Infinity : -row.cost),
  model: (row) => row.model,
};

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

const SPENT = ["runs", "input", "output", "cost", "unpriced", "uncounted", "at_work"];

/** The sums of all rows, with the costs of removed agents. */
export function total(rows, gone) {
  const sum = { states: {}, queued: 0, failed: 0 };
  for (const fact of SPENT) sum[fact] = gone[fact] ?? 0;
  for (const row of rows.values()) {
    sum.states[row.state] = (sum.states[row.state] ?? 0) + 1;
    sum.queued += row.queued;
    sum.failed += row.error ? 1 : 0;
    for (const fact of SPENT) sum[fact] += row[fact];
  }
  return sum;
}

/** The rows that a scrolled list shows, and a few more on each side: [first, end). */
export function inView(top, height, rowHeight, count) {
  const first = Math.max(0, Math.floor(top / rowHeight) - 3);
  return [Math.min(first, count), Math.min(count, Math.ceil((top + height) / rowHeight) + 3)];
}

export function ago(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

export function count(number) {
  if (number < 10_000) return String(number);
  if (number < 1e5) return `${(number / 1000).toFixed(1)}k`;
  return number < 1e6 ? `${(number / 1000).toFixed(0)}k` : `${(number / 1e6).toFixed(1)}M`;
}

// A cost, and tokens in and out, of which those of some runs may be unknown: never understated. First in short, then in
// the words of the static form.

export function knownCost({ cost, unpriced }) {
  if (!unpriced) return dollars(cost);
  return cost ? `≥ ${dollars(cost)}` : "unknown";
}

export function knownTokens({ input, output, uncounted }, format = count) {
  if (uncounted && !input && !output) return "unknown";
  return `${uncounted ? "≥ " : ""}${format(input)} + ${format(output)}`;
}

export function costInWords(spent) {
  const rest = spent.unpriced && spent.cost ? `, ${spent.unpriced} run${spent.unpriced > 1 ? "s" : ""} unknown` : "";
  return knownCost(spent).replace("≥", "at least") + rest + (spent.at_work ? " so far" : "");
}

export function tokensInWords(spent) {
  return knownTokens(spent, (number) => number.toLocaleString("en")).replace("≥", "at least");
}

export function dollars(cost) {
  if (cost === null || cost === undefined) return "unknown";
  if (cost === 0) return "$0";
  const decimals = Math.max(4, 2 - Math.floor(Math.log10(Math.abs(cost)))); // three digits of a small amount
  return `$${cost.toFixed(Math.min(decimals, 100)).replace(/(\.\d{4}\d*?)0+$/, "$1")}`;
}

/** The color if it is a name or a hexadecimal number of CSS, or else nothing: no `url()` gets through. */
export const color = (text) =>
  /^(#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,20})$/i.test(text) && CSS.supports("color", text) ? text : "";

// ── Drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const SVG = "http://www.w3.org/2000/svg";
/** Seconds without an answer after which the kernel counts as busy, and updates between two acknowledgements. */
const SILENCE_S = 0.5, ACKNOWLEDGED = 20;
/** Seconds without details of the open agent after which they are requested again; twice as long after each time. */
const DETAILS_S = 5;
/** Rows that the list shows at once, and row elements that are kept for reuse while it scrolls. */
const VISIBLE_ROWS = 12, SPARE_ROWS = 24;
const COLUMNS = [
  ["agent", "Agent"], ["state", "State"], ["now", "Doing now"], ["queue", "Queue"], ["timeline", "Last 5 min"],
  ["tokens", "Tokens"], ["cost", "Cost"], ["model", "Model"],
];
const GONE = "No kernel answers. If it was restarted, run %agents again.";
const BUSY = "The kernel is busy with a cell: agents wait until it ends or awaits, and so do your requests.";
const BUSY_THREADED = "The kernel is busy with a cell. Agents go on; your requests wait until it ends or awaits. "
  + "To stop agents now: python -m whisper_nb stop --all, in a terminal.";
let views = 0;

/** Create an element: `h("button.wnb-x", {onclick, "aria-label": …}, "text", child)`. Strings become text nodes. */
function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  // JupyterLab's keys act on cells wherever the focus is, except in an element with this mark.
  const takesKeys = ["button", "input", "select", "textarea"].includes(tag) || "tabindex" in attributes;
  if (takesKeys) element.dataset.lmSuppressShortcuts = "true";
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") {
      element.addEventListener("click", (event) => { if (element.ariaDisabled !== "true") value(event); });
    } else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const hidden = (what) => h(what, { "aria-hidden": "true" });
const options = (names) => names.map((name) => h("option", { value: name }, name));

/** Set a text only if it differs: a screen reader and the layout notice nothing else. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute only if it differs; null and false remove it. */
function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Enable a button. A disabled one keeps the focus, which the attribute `disabled` would lose. */
const setEnabled = (button, yes) => setAttribute(button, "aria-disabled", yes ? null : "true");

/** Update children by key: an element stays, with the focus in it, as long as its key is there. */
function keyed(parent, items, keyOf, make, update) {
  const before = (parent.wnbItems ??= new Map());
  if (!items.length && !before.size) return;
  const focused = parent.getRootNode().activeElement;
  const after = new Map();
  let next = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = before.get(key) ?? make(item);
    before.delete(key);
    after.set(key, element);
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
    update(element, item);
  }
  const gone = [...before.values()];
  const lost = gone.some((element) => element.contains(focused));
  for (const element of gone) element.remove();
  parent.wnbItems = after;
  if (lost) (parent.querySelector("button, select") ?? parent.closest("[tabindex]"))?.focus();
  else if (focused && parent.contains(focused) && focused !== parent.getRootNode().activeElement) focused.focus();
}

/** The connection of one view to the kernel: it sends requests, and finds out whether the kernel answers. */
class Connection {
  waiting = new Map(); // the id of a request → what to do with its answer
  cells = new Set(); // the ids of the cells that run
  id = 0;
  heardAt = performance.now();
  watch = 0;

  constructor(model, hear) {
    [this.model, this.hear, this.kernel] = [model, hear, model.widget_manager?.kernel];
    this.view = `v${(++views).toString(36)}${crypto.getRandomValues(new Uint32Array(2)).join("")}`.slice(0, 32);
    model.on("msg:custom", this.onMessage);
    this.kernel?.statusChanged?.connect(this.onStatus);
    this.kernel?.iopubMessage?.connect(this.onKernelMessage);
  }

  /** Send a request. Returns its id, 0 if it cannot be sent. */
  send(content) {
    try {
      this.model.send({ view: this.view, id: ++this.id, ...content });
      return this.id;
    } catch {
      this.hear({ kind: "silent", gone: true });
      return 0;
    }
  }

  /** Send a request, and call `done` with its answer. */
  ask(content, done) {
    const id = this.send(content);
    if (!id) return;
    const timer = setTimeout(() => this.hear({ kind: "silent", gone: false }), SILENCE_S * 1000);
    this.waiting.set(id, { done, timer });
  }

  onMessage = (message) => {
    this.heardAt = performance.now();
    if (message.kind !== "done") return this.hear(message);
    if (message.view !== this.view) return this.hear({ kind: "alive" });
    const request = this.waiting.get(message.id);
    clearTimeout(request?.timer);
    this.waiting.delete(message.id);
    this.hear({ kind: "alive" });
    return request?.done?.(message);
  };

  /** While a cell runs and no message comes, a ping finds out whether that cell blocks the kernel. */
  listen(wait) {
    clearTimeout(this.watch);
    if (!this.cells.size) return;
    this.watch = setTimeout(() => {
      if (!this.waiting.size && performance.now() - this.heardAt > SILENCE_S * 1000) this.ask({ do: "ping" });
      this.listen(Math.min(wait * 2, 6));
    }, wait * 1000);
  }

  onKernelMessage = (_, { header, parent_header: parent, content }) => {
    // The panel's own requests make the kernel busy, too: only cells count.
    if (header.msg_type !== "status" || parent.msg_type !== "execute_request") return;
    if (content.execution_state === "busy") this.cells.add(parent.msg_id);
    else if (this.cells.delete(parent.msg_id)) this.hear({ kind: "turn" });
    this.listen(SILENCE_S);
  };

  onStatus = () => {
    if (!["restarting", "autorestarting", "dead", "terminating"].includes(this.kernel.status)) return;
    this.cells.clear();
    this.hear({ kind: "silent", gone: true });
  };

  get busy() {
    return this.cells.size > 0 || this.kernel?.status === "busy";
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.kernel?.statusChanged?.disconnect(this.onStatus);
    this.kernel?.iopubMessage?.disconnect(this.onKernelMessage);
    clearTimeout(this.watch);
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
  }
}

// A row

function makeTimeline() {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 300 20", preserveAspectRatio: "none", role: "img" };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  svg.classList.add("wnb-line");
  return svg;
}

function drawTimeline(svg, spans, now) {
  const found = bars(spans, now);
  while (svg.childNodes.length > found.length) svg.lastChild.remove();
  found.forEach(({ state, x, width, level }, index) => {
    const bar = svg.childNodes[index] ?? svg.appendChild(document.createElementNS(SVG, "rect"));
    setAttribute(bar, "class", `wnb-bar-${state}`);
    setAttribute(bar, "x", (x * 300).toFixed(1));
    setAttribute(bar, "width", (width * 300).toFixed(1));
    setAttribute(bar, "height", (level * 16).toFixed(1));
    setAttribute(bar, "y", (18 - level * 16).toFixed(1));
  });
  setAttribute(svg, "aria-label", timelineLabel(spans, now));
}

function makeRow() {
  const cell = (name, ...children) => h(`div.wnb-cell.wnb-${name}`, { role: "gridcell" }, ...children);
  const parts = {
    icon: hidden("span.wnb-icon"), name: h("span.wnb-name"), title: h("span.wnb-quiet"),
    dot: hidden("span.wnb-dot"), state: h("span.wnb-word"), mark: h("span.wnb-mark", { role: "img" }),
    since: h("span.wnb-since"), now: h("span"), chips: h("span.wnb-chips"), line: makeTimeline(),
    tokens: h("span"), cost: h("span"), model: h("span"),
  };
  const row = h(
    "div.wnb-row", { role: "row", tabindex: "-1" },
    cell("agent", parts.icon, parts.name, parts.title), cell("state", parts.dot, parts.state, parts.mark, parts.since),
    cell("now", parts.now), cell("queue", parts.chips), cell("timeline", parts.line),
    cell("tokens", parts.tokens), cell("cost", parts.cost), cell("model", parts.model),
  );
  row.parts = parts;
  return row;
}

function drawIcon(element, row) {
  setText(element, row.icon || (row.title || row.name).slice(0, 1).toUpperCase());
  const shade = color(row.color) || "var(--wnb-dim)";
  if (element.wnbShade !== shade) element.style.setProperty("--wnb-agent", (element.wnbShade = shade));
}

/** Draw a row, unless its element shows it already. Facts that depend on time change once a second. */
function drawRow(element, row, clock) {
  const second = Math.floor(clock);
  if (element.wnbRow === row && element.wnbSecond === second) return;
  [element.wnbRow, element.wnbSecond] = [row, second];
  const { parts } = element;
  drawIcon(parts.icon, row);
  setText(parts.name, row.name);
  setAttribute(parts.name, "title", row.about || row.title || null);
  setText(parts.mark, row.error ? "!" : "");
  setAttribute(parts.mark, "aria-label", row.error ? `its last run failed: ${row.error}` : null);
  setAttribute(parts.mark, "title", row.error || null);
  setText(parts.title, row.title);
  setAttribute(element, "data-state", row.state.split(" ")[0]);
  setText(parts.state, row.state);
  setText(parts.since, row.since === null ? "" : ago(clock - row.since));
  setText(parts.now, row.now || row.error);
  setAttribute(parts.now, "class", !row.now && row.error ? "wnb-error" : "");
  setAttribute(parts.now, "title", row.now || row.error || null);
  drawChips(parts.chips, row);
  drawTimeline(parts.line, row.spans, clock);
  drawSpent(parts, row);
  setText(parts.model, row.model);
  setAttribute(parts.model, "title", row.model);
}

/** Tokens and cost in short, and in full in the tooltip. */
function drawSpent(parts, spent, soFar = "") {
  setText(parts.tokens, knownTokens(spent));
  setAttribute(parts.tokens, "title", `tokens in + out: ${tokensInWords(spent)}`);
  setAttribute(parts.tokens, "class", spent.uncounted ? "wnb-quiet" : "");
  setText(parts.cost, knownCost(spent) + soFar);
  setAttribute(parts.cost, "title", `cost ${costInWords(spent)}`);
  setAttribute(parts.cost, "class", spent.unpriced ? "wnb-quiet" : "");
}

function drawChips(element, row) {
  const chips = row.queued ? [["", "count", ""], ...row.queue.slice(0, 4)] : [];
  keyed(element, chips, ([id]) => id, () => h("span.wnb-chip"), (chip, [id, priority, prompt]) => {
    const number = id.slice(id.indexOf("#"));
    let text = `${number} ${priority}`;
    if (priority === "normal") text = number;
    if (priority === "count") text = String(row.queued);
    setText(chip, text);
    setAttribute(chip, "data-priority", priority);
    setAttribute(chip, "title", prompt || null);
  });
  setAttribute(element.parentElement, "aria-label", row.queued ? `${row.queued} queued` : null);
}

// The list

/** The grid of agents. Only rows in view have elements, which are reused while the list scrolls. */
class RowList {
  elements = new Map(); // name → the element that shows it
  spare = [];
  focus = ""; // the agent whose row takes the focus with the tab key
  names = [];

  constructor({ onScroll, onOpen, onSort }) {
    this.onOpen = onOpen;
    this.heads = COLUMNS.map(([by, name]) => h(
      `div.wnb-cell.wnb-${by}`, { role: "columnheader" },
      by === "timeline" ? name : h("button.wnb-sort", { type: "button", onclick: () => onSort(by) }, name),
    ));
    this.space = h("div.wnb-space", { role: "presentation" });
    this.scroll = h("div.wnb-scroll", { role: "rowgroup" }, this.space);
    const head = h("div.wnb-head", { role: "row", "aria-rowindex": "1" }, ...this.heads);
    const heads = h("div.wnb-heads", { role: "rowgroup" }, head);
    this.grid = h("div.wnb-grid", { role: "grid", "aria-label": "Agents" }, heads, this.scroll);
    const nameOf = (event) => event.target.closest(".wnb-row")?.dataset.name;
    this.scroll.addEventListener("keydown", (event) => this.onKey(event, nameOf(event)));
    this.scroll.addEventListener("focusin", (event) => { this.focus = nameOf(event) ?? this.focus; });
    this.scroll.addEventListener("click", (event) => {
      const name = nameOf(event);
      if (!name) return;
      this.focus = name;
      onOpen(name);
    });
    this.scroll.addEventListener("scroll", onScroll, { passive: true });
  }

  get rowHeight() {
    return this.grid.dataset.width === "narrow" ? 58 : 36;
  }

  get viewHeight() {
    return Math.min(this.names.length, VISIBLE_ROWS) * this.rowHeight;
  }

  /** Draw the rows in view, and the one that has the focus. Returns their names. */
  paint(names, rows, clock, open) {
    this.names = names;
    const height = this.rowHeight;
    // Everything is read before anything is written: the browser lays out once a frame.
    const top = Math.min(this.scroll.scrollTop, Math.max(0, names.length * height - this.viewHeight));
    const [first, end] = inView(top, this.viewHeight, height, names.length);
    const places = new Map(names.slice(first, end).map((name, at) => [name, first + at]));
    const focusAt = this.focus && !places.has(this.focus) ? names.indexOf(this.focus) : -1;
    if (focusAt >= 0) places.set(this.focus, focusAt);
    this.resize(height);
    this.recycle(places);
    const focusable = focusAt >= 0 || places.has(this.focus) ? this.focus : names[0];
    for (const [name, at] of places) {
      const element = this.elements.get(name) ?? this.take(name);
      if (element.wnbY !== at * height) element.style.transform = `translateY(${(element.wnbY = at * height)}px)`;
      setAttribute(element, "aria-rowindex", at + 2);
      setAttribute(element, "aria-selected", name === open);
      setAttribute(element, "tabindex", name === focusable ? 0 : -1);
      drawRow(element, rows.get(name), clock);
    }
    for (const element of this.spare) element.remove();
    return [...places.keys()];
  }

  /** Make room for all rows. */
  resize(height) {
    const { length } = this.names;
    const size = `${length} ${height}`;
    if (size === this.size) return;
    this.size = size;
    this.space.style.height = `${length * height}px`;
    this.scroll.style.height = `${this.viewHeight}px`;
    setAttribute(this.grid, "data-scrolls", length > VISIBLE_ROWS || null);
    setAttribute(this.grid, "aria-rowcount", length + 1);
  }

  /** Keep the elements of rows that are out of view for others. */
  recycle(places) {
    const focused = this.grid.getRootNode().activeElement;
    for (const [name, element] of this.elements) {
      if (places.has(name)) continue;
      this.elements.delete(name);
      // An element that has the focus may not become another agent's.
      if (element === focused || this.spare.length >= SPARE_ROWS) element.remove();
      else this.spare.push(element);
    }
  }

  /** An element for a row that comes into view. */
  take(name) {
    const element = this.spare.pop() ?? makeRow();
    element.dataset.name = name;
    if (!element.isConnected) this.space.append(element);
    this.elements.set(name, element);
    return element;
  }

  onKey(event, name) {
    const at = this.names.indexOf(name), last = this.names.length - 1;
    const page = Math.max(1, Math.floor(this.viewHeight / this.rowHeight) - 1);
    const targets = {
      ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + page, PageUp: at - page,
    };
    if (event.key in targets) this.focusRow(Math.min(Math.max(targets[event.key], 0), last));
    else if (event.key === "Enter" || event.key === " ") this.onOpen(name);
    else if (event.key === "Escape") this.onOpen("");
    else return;
    event.preventDefault();
  }

  /** Scroll to a row, and give it the focus once it is drawn. */
  focusRow(at) {
    if (at < 0) return;
    this.focus = this.names[at];
    const y = at * this.rowHeight, end = y + this.rowHeight, height = this.viewHeight;
    if (y < this.scroll.scrollTop) this.scroll.scrollTop = y;
    else if (end > this.scroll.scrollTop + height) this.scroll.scrollTop = end - height;
    this.repaint();
    this.elements.get(this.focus).focus({ preventScroll: true });
  }

  showSort(sort) {
    this.heads.forEach((head, at) => {
      const direction = sort.down ? "descending" : "ascending";
      setAttribute(head, "aria-sort", COLUMNS[at][0] === sort.by ? direction : null);
    });
  }
}

// The details of one agent

function makeButton(text, onclick, label) {
  return h("button.wnb-button", { type: "button", onclick, "aria-label": label }, text);
}

const isShut = (row) => /^(paused|stopped|sleeping)/.test(row.state);

/** The details of one agent: created once, each part drawn when it changes. */
class AgentDetails {
  constructor(act, close) {
    this.act = act;
    this.row = null;
    this.parts = this.makeParts();
    this.text = this.parts.text.appendChild(document.createTextNode(""));
    this.sections = this.makeSections();
    const { parts, sections } = this;
    this.element = h(
      "aside.wnb-details", { "aria-label": "Details", tabindex: "-1" },
      h(
        "header.wnb-who", {}, parts.icon, parts.name, parts.title, h("span.wnb-grow"), parts.dot, parts.word,
        makeButton("✕", close, "Close details"),
      ),
      h("div.wnb-actions", { role: "group", "aria-label": "Actions" }, parts.gate, parts.cancel, parts.clear, parts.stop),
      parts.sum, sections.run, sections.queue, sections.runs, sections.spec, sections.config,
    );
    this.element.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  }

  makeParts() {
    const request = (content) => () => this.act({ agent: this.row.name, ...content() });
    const stop = h("button.wnb-button.wnb-danger", { type: "button", onclick: request(() => ({ do: "stop" })) }, "Stop");
    return {
      icon: hidden("span.wnb-icon"), name: h("strong"), title: h("span.wnb-quiet"), dot: hidden("span.wnb-dot"),
      word: h("span"),
      gate: makeButton("Pause", request(() => ({ do: isShut(this.row) ? "resume" : "pause" }))),
      cancel: makeButton("Cancel run", () => this.act({ do: "cancel", run: this.parts.run.textContent })),
      clear: makeButton("Cancel queued", request(() => ({ do: "clear" }))),
      stop,
      sum: h("p.wnb-sum"), run: h("strong.wnb-id"), status: h("span.wnb-quiet"), prompt: h("p.wnb-prompt"),
      steps: h("ul.wnb-list"), cut: h("p.wnb-quiet"), runError: h("p.wnb-error"),
      text: h("div.wnb-text", { tabindex: "0", role: "region", "aria-label": "Text of the run" }),
      queue: h("ol.wnb-list"), queued: h("span.wnb-quiet"), runs: h("ul.wnb-list"), config: h("tbody"),
      spec: h("dl.wnb-spec"),
    };
  }

  makeSections() {
    const { parts } = this;
    const section = (title, ...children) => h("section.wnb-section", {}, h("h4", {}, ...[title].flat()), ...children);
    const heads = ["field", "value", "from"].map((one) => h("th", { scope: "col" }, one));
    const config = h("table.wnb-table", {}, h("thead", {}, h("tr", {}, ...heads)), parts.config);
    return {
      run: section(
        ["Run ", parts.run, " ", parts.status], parts.prompt, parts.steps, parts.cut, parts.text, parts.runError,
      ),
      queue: section(["Queue ", parts.queued], parts.queue),
      runs: section("Last runs", parts.runs),
      config: section("Config", config),
      spec: section("Agent", parts.spec),
    };
  }

  draw(row, details, clock) {
    this.row = row;
    this.drawHead(details, clock);
    // The sections may still show the agent that was open before.
    for (const part of Object.values(this.sections)) part.hidden = !details?.spec;
    if (!details?.spec) return;
    this.drawRun(details, clock);
    this.drawQueue(details.queue, clock);
    const others = details.runs.filter((one) => one.id !== details.run?.id);
    keyed(this.parts.runs, others, (one) => one.id, makeDone, (item, one) => item.draw(one, clock));
    this.sections.runs.hidden = !others.length;
    this.drawConfig(details.config);
    this.drawSpec(details.spec);
  }

  drawHead(details, clock) {
    const { parts, row } = this;
    drawIcon(parts.icon, row);
    setAttribute(this.element, "data-state", row.state.split(" ")[0]);
    setText(parts.name, row.name);
    setText(parts.title, row.title || details?.spec?.role || "");
    setText(parts.word, row.since === null ? row.state : `${row.state} ${ago(clock - row.since)}`);
    const runs = `${row.runs} run${row.runs === 1 ? "" : "s"}`;
    setText(parts.sum, [runs, `tokens ${tokensInWords(row)}`, `cost ${costInWords(row)}`, row.model].join(" · "));
    setText(parts.gate, isShut(row) ? "Resume" : "Pause");
    setEnabled(parts.cancel, details?.run && !details.run.finished);
    setEnabled(parts.clear, row.queued);
    setEnabled(parts.stop, row.state !== "stopped");
  }

  drawRun({ run, text }, clock) {
    const { parts } = this;
    this.sections.run.hidden = !run;
    parts.text.hidden = run?.finished && !text?.text;
    setText(parts.run, run?.id ?? "");
    setText(parts.status, run ? runLine(run, clock) : "");
    setText(parts.prompt, run?.prompt ?? "");
    setText(parts.runError, run?.error ?? "");
    const steps = (run?.steps ?? []).map((step, at) => ({ ...step, at }));
    keyed(parts.steps, steps, (step) => step.at, () => h("li"), (item, step) => {
      setText(item, step.line);
      setAttribute(item, "class", step.failed ? "wnb-step wnb-error" : "wnb-step");
      setAttribute(item, "title", step.arguments === undefined ? null : `${step.arguments}\n${step.outcome}`);
    });
    this.drawText(text);
  }

  /** Show a streamed text. It scrolls with its end, unless the user has scrolled away from it. */
  drawText(piece) {
    const { parts, text } = this;
    const follows = piece && text.wnbAt === piece.at && text.wnbRun === piece.run && piece.text.startsWith(text.data);
    if (follows && piece.text.length === text.data.length) return;
    const atEnd = parts.text.scrollHeight - parts.text.scrollTop - parts.text.clientHeight < 24;
    if (follows) text.appendData(piece.text.slice(text.data.length));
    else text.data = piece?.text ?? "";
    [text.wnbAt, text.wnbRun] = [piece?.at, piece?.run];
    setText(parts.cut, piece?.at ? `… ${piece.at.toLocaleString("en")} characters above …` : "");
    if (atEnd) parts.text.scrollTop = parts.text.scrollHeight;
  }

  drawQueue(queue, clock) {
    setText(this.parts.queued, queue.length ? String(queue.length) : "empty");
    keyed(this.parts.queue, queue, (one) => one.id, (one) => makeQueued(one, this.act), (item, one) => {
      const at = queue.indexOf(one);
      item.around = { before: queue[at - 1]?.id, after: queue[at + 1]?.id };
      item.draw(one, clock);
    });
  }

  drawConfig(config) {
    const make = () => h("tr", {}, h("th", { scope: "row" }), h("td"), h("td.wnb-quiet"));
    keyed(this.parts.config, config, (one) => one.field, make, (line, one) => {
      [one.field, one.value, one.from].forEach((value, at) => setText(line.children[at], value));
    });
  }

  drawSpec(spec) {
    const facts = [
      ["description", spec.description], ["system prompt", spec.prompt], ["tools", spec.tools.join(", ")],
      ["limits", spec.limits], ["history", `${spec.history} messages`], ["revision", String(spec.revision)],
    ].filter(([, value]) => value);
    const make = ([name]) => h("div", {}, h("dt", {}, name), h("dd"));
    keyed(this.parts.spec, facts, ([name]) => name, make, (line, [, value]) => setText(line.lastChild, value));
  }
}

function runLine(run, clock) {
  const facts = [run.status];
  if (run.started) facts.push(ago((run.finished ?? clock) - run.started));
  if (run.input !== null) facts.push(`${count(run.input)} + ${count(run.output)} tokens`);
  else if (run.finished) facts.push("tokens unknown");
  if (run.finished) facts.push(run.cost === null ? "cost unknown" : dollars(run.cost));
  return facts.join(" · ");
}

/** An item of an agent's queue. */
function makeQueued(one, act) {
  const small = (text, label, onclick) => h(
    "button.wnb-button.wnb-small", { type: "button", "aria-label": `${label} ${one.id}`, title: label, onclick }, text,
  );
  const id = h("span.wnb-id"), prompt = h("span.wnb-words"), age = h("span.wnb-quiet");
  const priority = h("select.wnb-select", { "aria-label": `Priority of ${one.id}` }, ...options(PRIORITIES));
  const item = h("li.wnb-queued");
  priority.addEventListener("change", () => act({ do: "prioritize", run: one.id, priority: priority.value }));
  const up = small("↑", "Move up", () => act({ do: "move", run: one.id, before: item.around.before }));
  const down = small("↓", "Move down", () => act({ do: "move", run: item.around.after, before: one.id }));
  const cancel = small("✕", "Cancel", () => act({ do: "cancel", run: one.id }));
  item.append(id, prompt, age, priority, up, down, cancel);
  item.draw = (run, clock) => {
    setText(id, run.id.slice(run.id.indexOf("#")));
    setText(prompt, run.prompt);
    setAttribute(prompt, "title", run.prompt);
    setText(age, run.needs.length ? `needs ${run.needs.join(", ")}` : ago(clock - run.since));
    if (item.getRootNode().activeElement !== priority) priority.value = run.priority;
    setEnabled(up, item.around.before);
    setEnabled(down, item.around.after);
  };
  return item;
}

/** An item of an agent's finished runs. */
function makeDone() {
  const parts = {
    id: h("span.wnb-id"), status: h("span.wnb-quiet"), prompt: h("div.wnb-words"), result: h("div.wnb-result"),
  };
  const head = h("div", {}, hidden("span.wnb-dot"), parts.id, parts.status);
  const item = h("li.wnb-done", {}, head, parts.prompt, parts.result);
  item.draw = (run, clock) => {
    setAttribute(item, "data-state", run.status);
    setText(parts.id, run.id);
    setText(parts.status, `${runLine(run, clock)} · ${ago(clock - run.finished)} ago`);
    setText(parts.prompt, run.prompt);
    setText(parts.result, run.error || run.result);
    setAttribute(parts.result, "class", run.error ? "wnb-result wnb-error" : "wnb-result");
  };
  return item;
}

// The header, and the form for prompts

/** Fold up the static form beside the panel, once: a user who unfolds it keeps it so. */
function foldStatic(element) {
  const area = element.closest(".jp-OutputArea");
  if (!area) return null;
  const fold = () => area.querySelectorAll("details.wnb-snapshot[open]:not([data-seen])").forEach((one) => {
    one.dataset.seen = "";
    one.open = false;
  });
  const observer = new MutationObserver(fold);
  observer.observe(area, { childList: true, subtree: true });
  fold();
  return observer;
}

/** The sums of all agents, the filter, and the buttons for all agents. */
class Header {
  constructor(onFilter, act) {
    const states = [["", "all states"], ...STATES.map((one) => [one, one]), ["failed", "failed last"]];
    this.filter = h("input.wnb-input", {
      type: "search", placeholder: "Filter", "aria-label": "Filter agents", oninput: onFilter,
    });
    this.state = h(
      "select.wnb-select", { "aria-label": "Show agents in state", onchange: onFilter },
      ...states.map(([value, name]) => h("option", { value }, name)),
    );
    this.agents = h("strong");
    this.states = h("span.wnb-states");
    this.queued = h("span");
    this.spent = { tokens: h("span"), cost: h("span") };
    this.stopAll = h("button.wnb-button.wnb-danger", { type: "button" }, "Stop all");
    this.stopAll.addEventListener("click", () => this.onStopAll(act));
    this.resumeAll = makeButton("Resume all", () => act({ do: "resume", agent: "*" }));
    const sums = h(
      "div.wnb-total", {}, this.agents, this.states, this.queued,
      h("span", {}, "tokens ", this.spent.tokens), h("span", {}, "cost ", this.spent.cost),
    );
    this.element = h("div.wnb-top", {}, sums, this.filter, this.state, this.stopAll, this.resumeAll);
    this.confirming = 0;
  }

  /** The first click asks for a second one, within three seconds. */
  onStopAll(act) {
    const confirmed = this.confirming;
    clearTimeout(confirmed);
    const cancel = () => {
      this.confirming = 0;
      setText(this.stopAll, "Stop all");
    };
    if (confirmed) {
      cancel();
      act({ do: "stop", agent: "*" });
      return;
    }
    this.confirming = setTimeout(cancel, 3000);
    setText(this.stopAll, "Really stop all?");
  }

  draw(rows, gone) {
    const sum = total(rows, gone);
    setText(this.agents, `${rows.size} agent${rows.size === 1 ? "" : "s"}`);
    const states = Object.entries(sum.states).sort(([a], [b]) => rank(a) - rank(b));
    if (sum.failed) states.push(["failed last", sum.failed]);
    const make = () => h("span.wnb-count", {}, hidden("span.wnb-dot"), h("span"));
    keyed(this.states, states, ([state]) => state, make, (item, [state, number]) => {
      setAttribute(item, "data-state", state.split(" ")[0]);
      setText(item.lastChild, `${number} ${state}`);
    });
    setText(this.queued, `${sum.queued} queued`);
    drawSpent(this.spent, sum, sum.at_work ? " so far" : "");
    for (const part of [this.filter, this.state]) part.hidden = !rows.size;
    const allStopped = [...rows.values()].every((row) => row.state.startsWith("stopped"));
    this.stopAll.hidden = !rows.size || allStopped;
    this.resumeAll.hidden = !rows.size || !allStopped;
  }
}

/** The form that sends a prompt to one agent, or to all. */
class PromptForm {
  constructor(act) {
    this.act = act;
    this.to = h("select.wnb-select", { "aria-label": "To" });
    this.priority = h("select.wnb-select", { "aria-label": "Priority" }, ...options(PRIORITIES));
    this.priority.value = "normal";
    this.prompt = h("textarea.wnb-input.wnb-ask-text", {
      rows: "1", placeholder: "Send a prompt…", "aria-label": "Prompt",
    });
    this.button = h("button.wnb-button.wnb-main-button", { type: "submit" }, "Send");
    this.element = h("form.wnb-ask", {}, this.to, this.prompt, this.priority, this.button);
    this.choices = ""; // the content of the list of agents
    this.pending = ""; // a prompt that was sent and not answered
    this.lost = false; // the chosen agent was removed: none is chosen, until the user chooses
    this.element.addEventListener("submit", (event) => this.onSubmit(event));
    this.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.element.requestSubmit();
    });
    this.prompt.addEventListener("input", () => { this.pending = ""; });
    this.to.addEventListener("change", () => {
      this.lost = false;
      this.nameButton();
    });
  }

  onSubmit(event) {
    event.preventDefault();
    const { to, prompt } = this;
    if (!to.value) return to.focus();
    const text = prompt.value;
    if (!text.trim() || text === this.pending) return prompt.focus(); // sent once, and not answered yet
    this.pending = text;
    return this.act({ do: "ask", agent: to.value, prompt: text, priority: this.priority.value }, (answer) => {
      this.pending = "";
      if (answer.ok && prompt.value === text) prompt.value = "";
    });
  }

  nameButton() {
    setText(this.button, this.to.value === "*" ? `Send to all ${this.agents}` : "Send");
  }

  draw(names, size) {
    this.element.hidden = !size;
    const shown = names.slice(0, 200);
    const choices = `${size} ${shown.join(" ")}`;
    const { to } = this;
    if (choices === this.choices || to.getRootNode().activeElement === to) return;
    [this.choices, this.agents] = [choices, size];
    const chosen = to.value;
    if (names.includes(chosen) && !shown.includes(chosen)) shown.push(chosen);
    to.replaceChildren(...options(shown));
    if (size > 1) to.append(h("option", { value: "*" }, `all ${size} agents`));
    if (chosen === "*" ? size > 1 : names.includes(chosen)) to.value = chosen;
    else if (chosen || this.lost) {
      this.lost = true;
      to.selectedIndex = -1;
    }
    this.nameButton();
  }

  choose(agent) {
    if (![...this.to.options].some((one) => one.value === agent)) this.to.prepend(...options([agent]));
    this.to.value = agent;
    this.lost = false;
    this.nameButton();
  }
}

// The view

/** One view of the panel, in one output of a page. */
class PanelView {
  state = nothing();
  order = [];
  shown = []; // the names that the filter lets through, in order
  sort = null;
  open = ""; // the agent whose details are open
  clockOffset = -Infinity; // from the browser's clock to the kernel's
  stoppedClock = null; // the time at which the agents stopped, while a cell blocks them
  threaded = false; // agents run in a thread of their own
  frame = 0;
  stale = false; // more than the scroll position has changed
  reported = "";

  constructor(model, el) {
    this.el = el;
    this.connection = new Connection(model, (message) => this.hear(message));
    this.act = (content, done) => this.connection.ask(content, (answer) => {
      this.notify(answer.text, answer.ok ? "done" : "error");
      done?.(answer);
    });
    this.build();
    el.append(this.root);
    this.sizes = new ResizeObserver(() => this.onResize());
    this.sizes.observe(this.root);
    this.sizes.observe(this.list.grid);
    this.seconds = setInterval(() => this.onSecond(), 1000);
    this.openRow("");
    this.connection.send({ do: "hello" });
    this.late = setTimeout(() => {
      if (!this.state.known) this.hear({ kind: "silent", gone: !this.connection.busy });
    }, 1500);
  }

  build() {
    this.notice = h("span.wnb-notice", { role: "status" });
    this.hint = h("span.wnb-hint", {}, "↑ ↓ choose · Enter opens · Esc closes");
    this.list = new RowList({
      onScroll: () => this.schedule(),
      onOpen: (name) => this.openRow(this.open === name ? "" : name),
      onSort: (by) => this.sortBy(by),
    });
    this.list.repaint = () => this.paintRows();
    const onFilter = () => {
      this.list.scroll.scrollTop = 0;
      this.paintSoon();
    };
    this.header = new Header(onFilter, this.act);
    this.empty = h("div.wnb-empty");
    this.details = new AgentDetails(this.act, () => this.openRow(""));
    this.form = new PromptForm(this.act);
    this.root = h(
      "div.wnb", { role: "region", "aria-label": "Team of agents" },
      this.header.element, h("div.wnb-foot", {}, this.notice, this.hint),
      h("div.wnb-main", {}, this.list.grid, this.empty, this.details.element), this.form.element,
    );
    this.root.hidden = true;
  }

  /** The kernel's time; it stops with the agents. */
  get clock() {
    return this.stoppedClock ?? Date.now() / 1000 + this.clockOffset;
  }

  /** Take a message of the kernel, or one of the connection: `turn`, `silent`, `alive`. */
  hear(message) {
    if (message.kind === "turn") { // a cell has ended: a request for all rows may have been lost
      if (!this.state.known) this.connection.send({ do: "hello" });
      return;
    }
    if (message.kind === "silent") {
      this.onSilence(message.gone);
      return;
    }
    this.stoppedClock = null;
    // An update of agents in a thread does not mean that the kernel takes requests.
    const answers = !(message.threaded && message.kind === "update");
    if (answers && ["busy", "gone"].includes(this.root.dataset.notice)) this.notify("", "");
    if (message.kind !== "alive") this.onUpdate(message);
  }

  onSilence(gone) {
    this.root.hidden = false;
    if (gone || !this.threaded) this.stoppedClock ??= this.clock;
    this.paintSoon();
    const busy = this.threaded ? BUSY_THREADED : BUSY;
    this.notify(gone ? GONE : busy, gone ? "gone" : "busy");
  }

  onUpdate(message) {
    const isAll = message.kind === "all";
    if (message.number) this.threaded = message.threaded === true;
    if (message.now) {
      this.clockOffset = Math.max(isAll ? -Infinity : this.clockOffset, message.now - Date.now() / 1000);
    }
    const { state, missed } = take(this.state, message);
    this.state = state;
    if (missed) this.connection.send({ do: "hello" });
    if (isAll) {
      this.root.hidden = false;
      this.reported = "";
      if (this.open && !state.rows.has(this.open)) this.openRow("");
      this.folded ??= foldStatic(this.el);
    } else if (message.number % ACKNOWLEDGED === 0) this.connection.send({ do: "seen", number: message.number });
    this.paintSoon();
  }

  notify(text, kind) {
    setText(this.notice, text);
    setAttribute(this.notice, "title", text || null);
    setAttribute(this.root, "data-notice", text ? kind : null);
  }

  onSecond() {
    if (!document.hidden && this.root.isConnected && this.state.known) this.paintSoon();
    // A server that limits the rate of messages may have dropped the last update, and no later one shows the gap.
    const waits = this.open && !this.state.details.get(this.open)?.spec;
    if (!waits || performance.now() - this.openedAt < this.patience * 1000) return;
    this.openedAt = performance.now();
    this.patience *= 2; // more requests would not make a slow kernel faster
    this.connection.send({ do: "hello" });
  }

  /** Paint everything in the next frame. */
  paintSoon() {
    this.stale = true;
    this.schedule();
  }

  schedule() {
    // A hidden page has no frames.
    this.frame ||= document.hidden ? setTimeout(() => this.paint()) : requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { stale, state, header } = this;
    [this.frame, this.stale] = [0, false];
    if (stale) {
      const words = header.filter.value.trim(), wanted = header.state.value;
      this.order = keptOrder(this.order, state.rows);
      this.shown = this.order.filter((name) => matches(state.rows.get(name), words, wanted));
    }
    this.paintRows();
    if (!stale) return;
    header.draw(state.rows, state.gone);
    this.paintEmpty();
    if (this.open && !state.rows.has(this.open)) this.openRow("");
    if (this.open) this.details.draw(state.rows.get(this.open), state.details.get(this.open), this.clock);
    this.form.draw(this.order, state.rows.size);
    this.hint.hidden = !state.rows.size;
  }

  paintRows() {
    const names = this.shown.filter((name) => this.state.rows.has(name));
    this.report(this.list.paint(names, this.state.rows, this.clock, this.open));
  }

  paintEmpty() {
    const { state, empty } = this;
    this.list.grid.hidden = !state.rows.size;
    empty.hidden = !state.known || this.shown.length > 0;
    if (empty.hidden) return;
    const content = state.rows.size ? "filtered" : state.team;
    if (empty.wnbContent === content) return;
    empty.wnbContent = content;
    if (state.rows.size) empty.replaceChildren(h("p", {}, "No agent matches the filter."));
    else empty.replaceChildren(...this.makeInvitation(state.team));
  }

  /** Create the text about how to create an agent, and buttons for agents that files describe. */
  makeInvitation(team) {
    const code = (text) => h("code", {}, text);
    const create = ({ name, about }) => h("button.wnb-button", {
      type: "button", title: about, onclick: () => this.act({ do: "create", agent: name }),
    }, `+ ${name}`);
    return [
      h("p", {}, h("strong", {}, "There are no agents yet.")),
      h(
        "p", {}, "Create one with ", code("%agent new NAME"), " or in the form of ", code("%agent new"),
        team.length ? ". These are described by files:" : ".",
      ),
      h("div.wnb-create", {}, ...team.slice(0, 24).map(create)),
    ];
  }

  /** Report the agents in view to the kernel, a moment after they have changed: their updates come first. */
  report(names) {
    const inView = names.slice(0, 200).sort().join(" "), { open } = this;
    if (`${inView}|${open}` === this.reported || !this.state.known) return;
    this.reported = `${inView}|${open}`;
    clearTimeout(this.reportTimer);
    this.reportTimer = setTimeout(() => this.connection.send({ do: "look", names: inView, open }), 60);
  }

  openRow(name) {
    const before = this.open;
    this.open = name;
    [this.openedAt, this.patience] = [performance.now(), DETAILS_S];
    this.details.element.hidden = !name;
    if (name) this.form.choose(name);
    else if (before) this.list.elements.get(before)?.focus();
    this.reported = "";
    this.paintSoon();
  }

  sortBy(by) {
    this.sort = { by, down: this.sort?.by === by && !this.sort.down };
    this.order = ordered(this.state.rows, this.sort);
    this.list.showSort(this.sort);
    this.paintSoon();
  }

  onResize() {
    const widths = [
      [this.list.grid, { wide: 936, broad: 824, medium: 540, narrow: 1 }],
      [this.root, { wide: 1340, medium: 540, narrow: 1 }],
    ];
    for (const [element, names] of widths) {
      const { width } = element.getBoundingClientRect();
      if (width) setAttribute(element, "data-width", Object.keys(names).find((name) => width >= names[name]));
    }
    this.paintSoon();
  }

  close() {
    clearInterval(this.seconds);
    for (const timer of [this.late, this.reportTimer, this.header.confirming]) clearTimeout(timer);
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.folded?.disconnect();
    this.connection.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const view = new PanelView(model, el);
  return () => view.close();
}

export default { render };
