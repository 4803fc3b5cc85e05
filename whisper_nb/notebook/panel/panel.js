// The panel of whisper_nb: what whisper_nb/notebook/panel/panel.py tells it, drawn; what the user does, sent there as requests.
// The first part is pure and has tests of its own; the second draws. Everything that the kernel says is text, never markup.

// ── Pure ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Seconds of the timeline. */
export const TIMELINE_S = 300;
/** Characters of a streaming text that are kept. */
const TEXT_KEPT = 20_000;
/** Changes of state that a timeline holds, as in the kernel. */
const SPANS = 120;
export const PRIORITIES = ["urgent", "high", "normal", "low"];
const LEVEL = { running: 1, waiting: 0.6, paused: 0.35, sleeping: 0.35, stopped: 0.2 };

/** The state of a panel that has received no message yet. */
export const nothing = () => ({ rows: new Map(), details: new Map(), team: [], gone: {}, number: 0, known: false });

/**
 * Apply a message to the state; the state is changed in place where it can be, so that a thousand rows cost nothing.
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
  for (const name of removed) state.rows.delete(name);
  for (const name of added) state.rows.set(name, { name, spans: [] }); // nothing of a removed agent of this name
  for (const { name: names, spans, ...columns } of tables) {
    const facts = Object.entries(columns);
    names.forEach((name, at) => {
      const row = state.rows.get(name);
      if (!row) return; // its `added` was lost: all rows will come
      for (const [fact, values] of facts) row[fact] = values[at];
      if (spans) row.spans = recent([...row.spans, ...spans[at]], now).slice(-SPANS);
    });
  }
}

/** A text with the piece that has come: `at` and `to` are places in the whole text of a turn, as the kernel counts. */
export function joined(text, piece) {
  if (!piece) return text;
  const follows = text && text.run === piece.run && text.turn === piece.turn && text.to === piece.at;
  const whole = follows ? { ...text, to: piece.to, text: text.text + piece.text } : { ...piece };
  const over = whole.text.length - TEXT_KEPT;
  return over > 0 ? { ...whole, at: whole.at + over, text: whole.text.slice(over) } : whole;
}

/** The spans that the timeline still reaches, and the one before them. */
function recent(spans, now) {
  const first = spans.findIndex(([when]) => when > now - TIMELINE_S);
  return first > 1 ? spans.slice(first - 1) : spans;
}

/** The bars of a timeline: `{state, x, width, level}`, x from 0 (TIMELINE_S ago) to 1 (now). What was idle has none. */
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

/** What a timeline says to who cannot see it. */
export function told(spans, now) {
  const seconds = {};
  for (const { state, width } of bars(spans, now)) seconds[state] = (seconds[state] ?? 0) + width * TIMELINE_S;
  const parts = Object.entries(seconds).map(([state, s]) => `${state} ${ago(s)}`);
  return `last 5 minutes: ${parts.join(", ") || "idle"}`;
}

/** The states in the order in which people want to see them. */
const rank = (state) => ["running", "waiting", "paused", "sleeping", "idle", "stopped"].findIndex((one) => state.startsWith(one));

const KEYS = {
  agent: (row) => row.name.toLowerCase(),
  state: (row) => rank(row.state),
  now: (row) => row.error ? 0 : row.now ? 1 : 2,
  queue: (row) => -row.queued,
  tokens: (row) => (row.uncounted ? -Infinity : -(row.input + row.output)),
  cost: (row) => (row.unpriced ? -Infinity : -row.cost),
  model: (row) => row.model,
};

/** The names of all rows in the order of a column; without one, in the order of their making. */
export function ordered(rows, sort) {
  const names = [...rows.keys()];
  const key = KEYS[sort?.by];
  if (!key) return names;
  const keys = new Map(names.map((name) => [name, key(rows.get(name))]));
  const sign = sort.down ? -1 : 1;
  return names.sort((a, b) => sign * (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0));
}

/** An order that was taken earlier, without who has gone, and with who has come at its end: rows stay put. */
export function kept(order, rows) {
  const known = new Set(order);
  return [...order.filter((name) => rows.has(name)), ...[...rows.keys()].filter((name) => !known.has(name))];
}

/** Whether a row is wanted: it has every word of the filter somewhere, and is in the state. */
export function wanted(row, words, state) {
  if (state === "failed" ? !row.error : state && !row.state.startsWith(state)) return false;
  if (!words) return true;
  const text = [row.name, row.title, row.about, row.now, row.model, row.error, row.state].join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const SPENT = ["runs", "input", "output", "cost", "unpriced", "uncounted", "at_work"];

/** All rows together, and what was spent on agents that have gone. */
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

/** The rows that a scrolled list shows, and a few beside: [first, end). */
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
  return number < 1e6 ? `${(number / 1000).toFixed(number < 1e5 ? 1 : 0)}k` : `${(number / 1e6).toFixed(1)}M`;
}

/** What is known of a cost, and of tokens in and out, where that of some runs is not: in short, and in the static form's words. */
export function knownCost({ cost, unpriced }) {
  if (!unpriced) return dollars(cost);
  return cost ? `≥ ${dollars(cost)}` : "unknown";
}
export function knownTokens({ input, output, uncounted }, said = count) {
  if (uncounted && !input && !output) return "unknown";
  return `${uncounted ? "≥ " : ""}${said(input)} + ${said(output)}`;
}
export function toldCost(spent) {
  const rest = spent.unpriced && spent.cost ? `, ${spent.unpriced} run${spent.unpriced > 1 ? "s" : ""} unknown` : "";
  return knownCost(spent).replace("≥", "at least") + rest + (spent.at_work ? " so far" : "");
}
export const toldTokens = (spent) => knownTokens(spent, (number) => number.toLocaleString("en")).replace("≥", "at least");

export function dollars(cost) {
  if (cost === null || cost === undefined) return "unknown";
  if (cost === 0) return "$0";
  const decimals = Math.max(4, 2 - Math.floor(Math.log10(Math.abs(cost)))); // so that a small amount has three digits
  return `$${cost.toFixed(Math.min(decimals, 100)).replace(/(\.\d{4}\d*?)0+$/, "$1")}`;
}

/** A color that only the agent's own file or a person can have written, and only of CSS's plain words. */
export const color = (text) =>
  /^(#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,20})$/i.test(text) && CSS.supports("color", text) ? text : "";

// ── Drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const SVG = "http://www.w3.org/2000/svg";
/** Seconds without a word from a busy kernel after which it counts as held up; updates between two acknowledgements. */
const SILENCE_S = 0.5, ACKNOWLEDGED = 20;
const COLUMNS = [
  ["agent", "Agent"], ["state", "State"], ["now", "Doing now"], ["queue", "Queue"], ["timeline", "Last 5 min"],
  ["tokens", "Tokens"], ["cost", "Cost"], ["model", "Model"],
];
let views = 0;

/** An element: `h("button.wnb-x", {onclick, "aria-label": …}, "text", child)`. Strings become text nodes, nothing else. */
function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  // JupyterLab's keys act on cells wherever the focus is, but in an element that says so itself.
  if (["button", "input", "select", "textarea"].includes(tag) || "tabindex" in attributes) element.dataset.lmSuppressShortcuts = "true";
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", (event) => { if (element.ariaDisabled !== "true") value(event); });
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Set only what differs: a screen reader and the layout notice nothing else. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Whether a button can be used. One that cannot keeps the focus, which `disabled` would lose. */
const able = (button, yes) => mark(button, "aria-disabled", yes ? null : "true");

/** Children by key, each element kept as long as its key is there, the focus in it, too. */
function keyed(parent, items, keyOf, make, update) {
  const focused = parent.getRootNode().activeElement;
  const before = (parent.wnbItems ??= new Map());
  const after = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = before.get(key) ?? make(item);
    before.delete(key);
    after.set(key, element);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
    update(element, item);
  }
  const gone = [...before.values()];
  const lost = gone.some((element) => element.contains(focused));
  for (const element of gone) element.remove();
  parent.wnbItems = after;
  if (lost) (parent.querySelector("button, select") ?? parent.closest("[tabindex]"))?.focus();
  else if (focused && parent.contains(focused) && focused !== parent.getRootNode().activeElement) focused.focus();
}

/** The wire of one view: what it asks for, and whether anybody answers. */
function wire(model, hear) {
  const view = `v${(++views).toString(36)}${crypto.getRandomValues(new Uint32Array(2)).join("")}`.slice(0, 32);
  const asked = new Map(), cells = new Set(); // questions that are open; cells that run
  const over = new AbortController();
  const kernel = model.widget_manager?.kernel;
  let id = 0, heard = performance.now(), watch = 0;

  const send = (content) => {
    try {
      model.send({ view, id: ++id, ...content });
      return id;
    } catch {
      hear({ kind: "silent", gone: true });
      return 0;
    }
  };
  const ask = (content, done) => {
    const number = send(content);
    if (!number) return;
    asked.set(number, { done, timer: setTimeout(() => hear({ kind: "silent", gone: false }), SILENCE_S * 1000) });
  };
  const onMessage = (message) => {
    heard = performance.now();
    if (message.kind !== "done") return hear(message);
    if (message.view !== view) return hear({ kind: "alive" });
    const request = asked.get(message.id);
    clearTimeout(request?.timer);
    asked.delete(message.id);
    hear({ kind: "alive" });
    request?.done?.(message);
    return undefined;
  };
  // While a cell runs and the panel hears nothing, a question finds out whether that cell holds the kernel up.
  const listen = (wait) => {
    clearTimeout(watch);
    if (!cells.size) return;
    watch = setTimeout(() => {
      if (!asked.size && performance.now() - heard > SILENCE_S * 1000) ask({ do: "ping" });
      listen(Math.min(wait * 2, 6));
    }, wait * 1000);
  };
  const onAnything = (_, { header, parent_header: parent, content }) => {
    // What the panel itself sends makes a kernel busy, too, in every front end for a moment.
    if (header.msg_type !== "status" || parent.msg_type !== "execute_request") return;
    if (content.execution_state === "busy") cells.add(parent.msg_id);
    else if (cells.delete(parent.msg_id)) hear({ kind: "turn" });
    listen(SILENCE_S);
  };
  const onStatus = () => {
    if (!["restarting", "autorestarting", "dead", "terminating"].includes(kernel.status)) return;
    cells.clear();
    hear({ kind: "silent", gone: true });
  };
  model.on("msg:custom", onMessage);
  kernel?.statusChanged?.connect(onStatus);
  kernel?.iopubMessage?.connect(onAnything);
  over.signal.addEventListener("abort", () => {
    model.off("msg:custom", onMessage);
    kernel?.statusChanged?.disconnect(onStatus);
    kernel?.iopubMessage?.disconnect(onAnything);
    clearTimeout(watch);
    for (const { timer } of asked.values()) clearTimeout(timer);
  });
  return { tell: send, ask, busy: () => cells.size > 0 || kernel?.status === "busy", close: () => over.abort() };
}

function timeline() {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", "0 0 300 20"], ["preserveAspectRatio", "none"], ["role", "img"]]) svg.setAttribute(name, value);
  svg.classList.add("wnb-line");
  return svg;
}

function drawTimeline(svg, spans, now) {
  const found = bars(spans, now);
  while (svg.childNodes.length > found.length) svg.lastChild.remove();
  found.forEach(({ state, x, width, level }, index) => {
    const bar = svg.childNodes[index] ?? svg.appendChild(document.createElementNS(SVG, "rect"));
    mark(bar, "class", `wnb-bar-${state}`);
    mark(bar, "x", (x * 300).toFixed(1));
    mark(bar, "width", (width * 300).toFixed(1));
    mark(bar, "height", (level * 16).toFixed(1));
    mark(bar, "y", (18 - level * 16).toFixed(1));
  });
  mark(svg, "aria-label", told(spans, now));
}

function makeRow() {
  const cell = (name, ...children) => h(`div.wnb-cell.wnb-${name}`, { role: "gridcell" }, ...children);
  const row = h("div.wnb-row", { role: "row", tabindex: "-1" });
  const parts = {
    icon: h("span.wnb-icon", { "aria-hidden": "true" }), name: h("span.wnb-name"), mark: h("span.wnb-mark", { role: "img" }), title: h("span.wnb-quiet"), dot: h("span.wnb-dot", { "aria-hidden": "true" }),
    state: h("span.wnb-word"), since: h("span.wnb-since"), now: h("span"), chips: h("span.wnb-chips"), line: timeline(),
    tokens: h("span"), cost: h("span"), model: h("span"),
  };
  row.append(
    cell("agent", parts.icon, parts.name, parts.title), cell("state", parts.dot, parts.state, parts.mark, parts.since), cell("now", parts.now),
    cell("queue", parts.chips), cell("timeline", parts.line), cell("tokens", parts.tokens), cell("cost", parts.cost), cell("model", parts.model),
  );
  row.parts = parts;
  return row;
}

function drawIcon(element, row) {
  say(element, row.icon || (row.title || row.name).slice(0, 1).toUpperCase());
  element.style.setProperty("--wnb-agent", color(row.color) || "var(--wnb-dim)");
}

function drawRow(element, row, clock) {
  const { parts } = element;
  drawIcon(parts.icon, row);
  say(parts.name, row.name);
  mark(parts.name, "title", row.about || row.title || null);
  say(parts.mark, row.error ? "!" : "");
  mark(parts.mark, "aria-label", row.error ? `its last run failed: ${row.error}` : null);
  mark(parts.mark, "title", row.error || null);
  say(parts.title, row.title);
  mark(element, "data-state", row.state.split(" ")[0]);
  say(parts.state, row.state);
  say(parts.since, row.since === null ? "" : ago(clock - row.since));
  const failed = !row.now && row.error;
  say(parts.now, row.now || row.error);
  mark(parts.now, "class", failed ? "wnb-error" : "");
  mark(parts.now, "title", row.now || row.error || null);
  drawChips(parts.chips, row);
  drawTimeline(parts.line, row.spans, clock);
  drawSpent(parts, row);
  say(parts.model, row.model);
  mark(parts.model, "title", row.model);
}

/** Tokens and cost in short; in full where the mouse rests. */
function drawSpent(parts, spent, soFar = "") {
  say(parts.tokens, knownTokens(spent));
  mark(parts.tokens, "title", `tokens in + out: ${toldTokens(spent)}`);
  mark(parts.tokens, "class", spent.uncounted ? "wnb-quiet" : "");
  say(parts.cost, knownCost(spent) + soFar);
  mark(parts.cost, "title", `cost ${toldCost(spent)}`);
  mark(parts.cost, "class", spent.unpriced ? "wnb-quiet" : "");
}

function drawChips(element, row) {
  const chips = row.queued ? [["", "count", ""], ...row.queue.slice(0, 4)] : [];
  keyed(element, chips, ([id]) => id, () => h("span.wnb-chip"), (chip, [id, priority, words]) => {
    const number = id.slice(id.indexOf("#"));
    say(chip, priority === "count" ? String(row.queued) : priority === "normal" ? number : `${number} ${priority}`);
    mark(chip, "data-priority", priority);
    mark(chip, "title", words || null);
  });
  mark(element.parentElement, "aria-label", row.queued ? `${row.queued} queued` : null);
}

/** The details of one agent: built once, each part drawn when it changes. */
function makeDetails(act, close) {
  const button = (text, onclick, label) => h("button.wnb-button", { type: "button", onclick, "aria-label": label }, text);
  let row = null;
  const parts = {
    icon: h("span.wnb-icon", { "aria-hidden": "true" }), name: h("strong"), title: h("span.wnb-quiet"), dot: h("span.wnb-dot", { "aria-hidden": "true" }), word: h("span"),
    gate: button("Pause", () => act({ do: row.state.startsWith("paused") || row.state.startsWith("stopped") ? "resume" : "pause", agent: row.name })),
    cancel: button("Cancel run", () => act({ do: "cancel", run: parts.run.textContent })),
    clear: button("Cancel queued", () => act({ do: "clear", agent: row.name })),
    stop: h("button.wnb-button.wnb-danger", { type: "button", onclick: () => act({ do: "stop", agent: row.name }) }, "Stop"),
    sum: h("p.wnb-sum"), run: h("strong.wnb-id"), status: h("span.wnb-quiet"), prompt: h("p.wnb-prompt"), steps: h("ul.wnb-list"), cut: h("p.wnb-quiet"),
    text: h("div.wnb-text", { tabindex: "0", role: "region", "aria-label": "Text of the run" }), runError: h("p.wnb-error"),
    queue: h("ol.wnb-list"), queued: h("span.wnb-quiet"), runs: h("ul.wnb-list"), config: h("tbody"), spec: h("dl.wnb-spec"),
  };
  const text = parts.text.appendChild(document.createTextNode(""));
  const section = (title, ...children) => h("section.wnb-section", {}, h("h4", {}, ...[title].flat()), ...children);
  const sections = {
    run: section(["Run ", parts.run, " ", parts.status], parts.prompt, parts.steps, parts.cut, parts.text, parts.runError),
    queue: section(["Queue ", parts.queued], parts.queue),
    runs: section("Last runs", parts.runs),
    config: section("Config", h("table.wnb-table", {}, h("thead", {}, h("tr", {}, ...["field", "value", "from"].map((one) => h("th", { scope: "col" }, one)))), parts.config)),
    spec: section("Agent", parts.spec),
  };
  const element = h(
    "aside.wnb-details", { "aria-label": "Details", tabindex: "-1" },
    h("header.wnb-who", {}, parts.icon, parts.name, parts.title, h("span.wnb-grow"), parts.dot, parts.word, button("✕", close, "Close details")),
    h("div.wnb-actions", { role: "group", "aria-label": "Actions" }, parts.gate, parts.cancel, parts.clear, parts.stop), parts.sum,
    sections.run, sections.queue, sections.runs, sections.spec, sections.config,
  );
  element.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });

  function drawQueue(queue, clock) {
    say(parts.queued, queue.length ? String(queue.length) : "empty");
    keyed(parts.queue, queue, (one) => one.id, (one) => makeQueued(one, act), (item, one) => {
      const at = queue.indexOf(one);
      item.around = { before: queue[at - 1]?.id, after: queue[at + 1]?.id };
      item.draw(one, clock);
    });
  }

  function drawText(piece) {
    const follows = piece && text.wnbAt === piece.at && text.wnbRun === piece.run && piece.text.startsWith(text.data);
    if (follows && piece.text.length === text.data.length) return;
    const stick = parts.text.scrollHeight - parts.text.scrollTop - parts.text.clientHeight < 24;
    if (follows) text.appendData(piece.text.slice(text.data.length));
    else text.data = piece?.text ?? "";
    [text.wnbAt, text.wnbRun] = [piece?.at, piece?.run];
    say(parts.cut, piece?.at ? `… ${piece.at.toLocaleString("en")} characters above …` : "");
    if (stick) parts.text.scrollTop = parts.text.scrollHeight;
  }

  element.draw = (agent, details, clock) => {
    row = agent;
    drawIcon(parts.icon, row);
    mark(element, "data-state", row.state.split(" ")[0]);
    say(parts.name, row.name);
    say(parts.title, row.title || details?.spec?.role || "");
    say(parts.word, row.since === null ? row.state : `${row.state} ${ago(clock - row.since)}`);
    say(parts.sum, [`${row.runs} run${row.runs === 1 ? "" : "s"}`, `tokens ${toldTokens(row)}`, `cost ${toldCost(row)}`, row.model].join(" · "));
    const shut = /^(paused|stopped|sleeping)/.test(row.state);
    say(parts.gate, shut ? "Resume" : "Pause");
    const run = details?.run;
    const going = run && !run.finished;
    able(parts.cancel, going);
    able(parts.clear, row.queued);
    able(parts.stop, row.state !== "stopped");
    parts.text.hidden = run?.finished && !details.text?.text;
    // What was told of the agent that was open before is not this one's.
    for (const part of Object.values(sections)) part.hidden = !details?.spec;
    if (!details?.spec) return;
    sections.run.hidden = !run;
    say(parts.run, run?.id ?? "");
    say(parts.status, run ? runLine(run, clock) : "");
    say(parts.prompt, run?.prompt ?? "");
    say(parts.runError, run?.error ?? "");
    keyed(parts.steps, (run?.steps ?? []).map((step, at) => ({ ...step, at })), (step) => step.at, () => h("li"), (item, step) => {
      say(item, step.line);
      mark(item, "class", step.failed ? "wnb-step wnb-error" : "wnb-step");
      mark(item, "title", step.arguments === undefined ? null : `${step.arguments}\n${step.outcome}`);
    });
    drawText(details.text);
    drawQueue(details.queue, clock);
    const others = details.runs.filter((one) => one.id !== run?.id);
    keyed(parts.runs, others, (one) => one.id, makeDone, (item, one) => item.draw(one, clock));
    sections.runs.hidden = !others.length;
    keyed(parts.config, details.config, (one) => one.field, () => h("tr", {}, h("th", { scope: "row" }), h("td"), h("td.wnb-quiet")), (line, one) => {
      [one.field, one.value, one.from].forEach((value, at) => say(line.children[at], value));
    });
    const { spec } = details;
    const facts = [["description", spec.description], ["system prompt", spec.prompt], ["tools", spec.tools.join(", ")], ["limits", spec.limits],
      ["history", `${spec.history} messages`], ["revision", String(spec.revision)]].filter(([, value]) => value);
    keyed(parts.spec, facts, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")), (line, [, value]) => say(line.lastChild, value));
  };
  return element;
}

function runLine(run, clock) {
  const facts = [run.status];
  if (run.started) facts.push(ago((run.finished ?? clock) - run.started));
  if (run.input !== null) facts.push(`${count(run.input)} + ${count(run.output)} tokens`);
  else if (run.finished) facts.push("tokens unknown");
  if (run.finished) facts.push(run.cost === null ? "cost unknown" : dollars(run.cost));
  return facts.join(" · ");
}

function makeQueued(one, act) {
  const small = (text, label, onclick) => h("button.wnb-button.wnb-small", { type: "button", "aria-label": `${label} ${one.id}`, title: label, onclick }, text);
  const id = h("span.wnb-id"), prompt = h("span.wnb-words"), age = h("span.wnb-quiet");
  const priority = h("select.wnb-select", { "aria-label": `Priority of ${one.id}` }, ...PRIORITIES.map((name) => h("option", { value: name }, name)));
  const item = h("li.wnb-queued");
  priority.addEventListener("change", () => act({ do: "prioritize", run: one.id, priority: priority.value }));
  const up = small("↑", "Move up", () => act({ do: "move", run: one.id, before: item.around.before }));
  const down = small("↓", "Move down", () => act({ do: "move", run: item.around.after, before: one.id }));
  item.append(id, prompt, age, priority, up, down, small("✕", "Cancel", () => act({ do: "cancel", run: one.id })));
  item.draw = (now, clock) => {
    say(id, now.id.slice(now.id.indexOf("#")));
    say(prompt, now.prompt);
    mark(prompt, "title", now.prompt);
    say(age, now.needs.length ? `needs ${now.needs.join(", ")}` : ago(clock - now.since));
    if (item.getRootNode().activeElement !== priority) priority.value = now.priority;
    able(up, item.around.before);
    able(down, item.around.after);
  };
  return item;
}

function makeDone() {
  const parts = { id: h("span.wnb-id"), status: h("span.wnb-quiet"), prompt: h("div.wnb-words"), result: h("div.wnb-result") };
  const item = h("li.wnb-done", {}, h("div", {}, h("span.wnb-dot", { "aria-hidden": "true" }), parts.id, parts.status), parts.prompt, parts.result);
  item.draw = (run, clock) => {
    mark(item, "data-state", run.status);
    say(parts.id, run.id);
    say(parts.status, `${runLine(run, clock)} · ${ago(clock - run.finished)} ago`);
    say(parts.prompt, run.prompt);
    say(parts.result, run.error || run.result);
    mark(parts.result, "class", run.error ? "wnb-result wnb-error" : "wnb-result");
  };
  return item;
}

/** Fold up the static form beside the panel, once; whoever unfolds it has it so. */
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

function makeBar(look) {
  const parts = {
    agents: h("strong"), states: h("span.wnb-states"), queued: h("span"), tokens: h("span"), cost: h("span"),
    filter: h("input.wnb-input", { type: "search", placeholder: "Filter", "aria-label": "Filter agents", oninput: look }),
    state: h("select.wnb-select", { "aria-label": "Show agents in state", onchange: look },
      ...[["", "all states"], ...["running", "waiting", "idle", "paused", "sleeping", "stopped"].map((one) => [one, one]), ["failed", "failed last"]]
        .map(([value, name]) => h("option", { value }, name))),
  };
  const element = h("div.wnb-top", {}, h("div.wnb-total", {}, parts.agents, parts.states, parts.queued, h("span", {}, "tokens ", parts.tokens), h("span", {}, "cost ", parts.cost)),
    parts.filter, parts.state);
  element.draw = (rows, gone) => {
    const sum = total(rows, gone);
    say(parts.agents, `${rows.size} agent${rows.size === 1 ? "" : "s"}`);
    const states = [...Object.entries(sum.states).sort(([a], [b]) => rank(a) - rank(b)), ...(sum.failed ? [["failed last", sum.failed]] : [])];
    keyed(parts.states, states, ([state]) => state, () => h("span.wnb-count", {}, h("span.wnb-dot", { "aria-hidden": "true" }), h("span")), (item, [state, number]) => {
      mark(item, "data-state", state.split(" ")[0]);
      say(item.lastChild, `${number} ${state}`);
    });
    say(parts.queued, `${sum.queued} queued`);
    drawSpent(parts, sum, sum.at_work ? " so far" : "");
  };
  return { element, parts };
}

function makeAsk(act) {
  const to = h("select.wnb-select", { "aria-label": "To" }), priority = h("select.wnb-select", { "aria-label": "Priority" }, ...PRIORITIES.map((one) => h("option", { value: one }, one)));
  const prompt = h("textarea.wnb-input.wnb-ask-text", { rows: "1", placeholder: "Give work…", "aria-label": "Prompt" });
  const send = h("button.wnb-button.wnb-main-button", { type: "submit" }, "Send");
  const element = h("form.wnb-ask", {}, to, prompt, priority, send);
  priority.value = "normal";
  let names = "", open = "", lost = false; // who was chosen has gone: nobody is, until somebody chooses
  const name = () => say(send, to.value === "*" ? `Send to all ${to.wnbCount}` : "Send");
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!to.value) return to.focus();
    if (!prompt.value.trim() || prompt.value === open) return prompt.focus(); // once is enough while nobody has answered
    const asked = (open = prompt.value);
    return act({ do: "ask", agent: to.value, prompt: asked, priority: priority.value }, (done) => {
      open = "";
      if (done.ok && prompt.value === asked) prompt.value = "";
    });
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      element.requestSubmit();
    }
  });
  prompt.addEventListener("input", () => { open = ""; });
  to.addEventListener("change", () => { lost = false; name(); });
  element.draw = (order, size) => {
    const shown = order.slice(0, 200);
    const now = `${size} ${shown.join(" ")}`;
    if (now === names || to.getRootNode().activeElement === to) return;
    names = now;
    to.wnbCount = size;
    const chosen = to.value;
    if (order.includes(chosen) && !shown.includes(chosen)) shown.push(chosen);
    to.replaceChildren(...shown.map((one) => h("option", { value: one }, one)), ...(size > 1 ? [h("option", { value: "*" }, `all ${size} agents`)] : []));
    if (chosen === "*" ? size > 1 : order.includes(chosen)) to.value = chosen;
    else if (chosen || lost) {
      lost = true;
      to.selectedIndex = -1;
    }
    name();
  };
  element.choose = (agent) => {
    if (![...to.options].some((one) => one.value === agent)) to.prepend(h("option", { value: agent }, agent));
    to.value = agent;
    lost = false;
    name();
  };
  return element;
}

function render({ model, el }) {
  let state = nothing();
  let order = [], sort = null, shown = [], open = "", focus = "", offset = -Infinity, frame = 0, looked = "", lookTimer = 0, folded = null, still = null, threaded = false;
  const rows = new Map(); // name → the element of a row that is drawn
  const clock = () => still ?? Date.now() / 1000 + offset; // it stands still with the agents
  const link = wire(model, hear);
  const act = (content, done) => link.ask(content, (answer) => {
    notify(answer.text, answer.ok ? "done" : "error");
    done?.(answer);
  });

  const notice = h("span.wnb-notice", { role: "status" });
  const hint = h("span.wnb-hint", {}, "↑ ↓ choose · Enter opens · Esc closes");
  const foot = h("div.wnb-foot", {}, notice, hint);
  const { element: top, parts: bar } = makeBar(() => { scroll.scrollTop = 0; paintSoon(); });
  const stopAll = h("button.wnb-button.wnb-danger", { type: "button" }, "Stop all");
  top.append(stopAll);
  const heads = COLUMNS.map(([by, name]) => h(
    `div.wnb-cell.wnb-${by}`, { role: "columnheader" },
    by === "timeline" ? name : h("button.wnb-sort", { type: "button", onclick: () => sortBy(by) }, name),
  ));
  const space = h("div.wnb-space", { role: "presentation" });
  const scroll = h("div.wnb-scroll", { role: "rowgroup" }, space);
  const grid = h("div.wnb-grid", { role: "grid", "aria-label": "Agents" }, h("div.wnb-heads", { role: "rowgroup" }, h("div.wnb-head", { role: "row", "aria-rowindex": "1" }, ...heads)), scroll);
  const empty = h("div.wnb-empty");
  const details = makeDetails(act, () => openRow(""));
  const main = h("div.wnb-main", {}, grid, empty, details);
  const ask = makeAsk(act);
  const root = h("div.wnb", { role: "region", "aria-label": "Team of agents" }, top, foot, main, ask);
  root.hidden = true;
  el.append(root);

  function hear(message) {
    if (message.kind === "turn") { // a cell has ended: whoever was not answered asks again
      if (!state.known) link.tell({ do: "hello" });
      return undefined;
    }
    if (message.kind === "silent") {
      const why = message.gone ? "No kernel answers. Where it was restarted, run %agents again."
        : threaded ? "The kernel is busy with a cell. Agents go on; what you ask for is done when it ends or awaits. To end them now: python -m whisper_nb stop --all, in a terminal."
        : "The kernel is busy with a cell: agents stand still until it ends or awaits. What you ask for is done then.";
      root.hidden = false;
      if (message.gone || !threaded) still ??= clock();
      paintSoon();
      return notify(why, message.gone ? "gone" : "busy");
    }
    still = null;
    // What agents in a thread send is no sign that the kernel has heard what was asked.
    const heard = !(message.threaded && message.kind === "update");
    if (heard && ["busy", "gone"].includes(root.dataset.notice)) notify("", "");
    if (message.kind === "alive") return undefined;
    if (message.number) threaded = message.threaded === true;
    if (message.now) offset = Math.max(message.kind === "all" ? -Infinity : offset, message.now - Date.now() / 1000);
    const { state: next, missed } = take(state, message);
    state = next;
    if (missed) link.tell({ do: "hello" });
    if (message.kind === "all") {
      root.hidden = false;
      looked = "";
      order = kept(order, state.rows);
      if (open && !state.rows.has(open)) openRow("");
      folded ??= foldStatic(el);
    } else if (message.number % ACKNOWLEDGED === 0) link.tell({ do: "seen", number: message.number });
    return paintSoon();
  }

  function notify(text, kind) {
    say(notice, text);
    mark(notice, "title", text || null);
    mark(root, "data-notice", text ? kind : null);
  }

  function paintSoon() {
    // A page that nobody sees has no frames.
    frame ||= document.hidden ? setTimeout(paint) : requestAnimationFrame(paint);
  }

  const rowHeight = () => (grid.dataset.width === "narrow" ? 58 : 36);

  function paint() {
    frame = 0;
    order = kept(order, state.rows);
    shown = order.filter((name) => wanted(state.rows.get(name), bar.filter.value.trim(), bar.state.value));
    top.draw(state.rows, state.gone);
    paintRows();
    paintEmpty();
    if (open && !state.rows.has(open)) openRow("");
    if (open) details.draw(state.rows.get(open), state.details.get(open), clock());
    ask.draw(order, state.rows.size);
    for (const part of [ask, hint, bar.filter, bar.state]) part.hidden = !state.rows.size;
    const all = [...state.rows.values()].every((row) => row.state.startsWith("stopped"));
    stopAll.hidden = !state.rows.size || all;
    resumeAll.hidden = !state.rows.size || !all;
  }

  function paintRows() {
    const height = rowHeight(), now = clock();
    space.style.height = `${shown.length * height}px`;
    scroll.style.height = `${Math.min(shown.length, 12) * height}px`;
    mark(grid, "data-scrolls", shown.length > 12 || null);
    mark(grid, "aria-rowcount", shown.length + 1);
    const [first, end] = inView(scroll.scrollTop, scroll.clientHeight || 12 * height, height, shown.length);
    const drawn = new Set(shown.slice(first, end));
    if (focus && shown.includes(focus)) drawn.add(focus);
    for (const [name, element] of rows) if (!drawn.has(name)) { element.remove(); rows.delete(name); }
    for (const name of drawn) {
      const at = shown.indexOf(name);
      let element = rows.get(name);
      if (!element) {
        rows.set(name, (element = makeRow()));
        element.dataset.name = name;
        space.append(element);
      }
      element.style.transform = `translateY(${at * height}px)`;
      mark(element, "aria-rowindex", at + 2);
      mark(element, "aria-selected", name === open);
      element.tabIndex = name === (focus && shown.includes(focus) ? focus : shown[0]) ? 0 : -1;
      drawRow(element, state.rows.get(name), now);
    }
    look([...drawn]);
  }

  function paintEmpty() {
    const none = state.known && !shown.length;
    grid.hidden = !state.rows.size;
    empty.hidden = !none;
    if (!none) return;
    if (state.rows.size) empty.wnbTeam = null;
    if (state.rows.size) return empty.replaceChildren(h("p", {}, "No agent matches the filter."));
    if (empty.wnbTeam === state.team) return;
    empty.wnbTeam = state.team;
    empty.replaceChildren(
      h("p", {}, h("strong", {}, "Nobody is at work yet.")), h("p", {}, "Make an agent with ", h("code", {}, "%agent new NAME"), " or in the form of ", h("code", {}, "%agent new"), state.team.length ? ". Or take one that is at hand:" : "."),
      h("div.wnb-create", {}, ...state.team.slice(0, 24).map(({ name, about }) => h("button.wnb-button", { type: "button", title: about, onclick: () => act({ do: "create", agent: name }) }, `+ ${name}`))),
    );
  }

  /** Tell the kernel what is in view, a moment after that has changed. */
  function look(names) {
    const now = [names.slice(0, 200).sort().join(" "), open];
    if (now.join("|") === looked || !state.known) return;
    looked = now.join("|");
    clearTimeout(lookTimer);
    lookTimer = setTimeout(() => link.tell({ do: "look", names: now[0], open: now[1] }), 60);
  }

  function openRow(name) {
    const before = open;
    open = name;
    details.hidden = !name;
    if (name) ask.choose(name);
    else if (before) rows.get(before)?.focus();
    looked = "";
    paintSoon();
  }

  function sortBy(by) {
    sort = { by, down: sort?.by === by && !sort.down };
    order = ordered(state.rows, sort);
    heads.forEach((head, at) => mark(head, "aria-sort", COLUMNS[at][0] === by ? (sort.down ? "descending" : "ascending") : null));
    paintSoon();
  }

  function focusRow(at) {
    const name = shown[Math.min(Math.max(at, 0), shown.length - 1)];
    if (!name) return;
    focus = name;
    const y = shown.indexOf(name) * rowHeight();
    if (y < scroll.scrollTop) scroll.scrollTop = y;
    else if (y + rowHeight() > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = y + rowHeight() - scroll.clientHeight;
    paintRows();
    rows.get(name).focus({ preventScroll: true });
  }

  scroll.addEventListener("keydown", (event) => {
    const name = event.target.closest(".wnb-row")?.dataset.name;
    const at = shown.indexOf(name), page = Math.max(1, Math.floor(scroll.clientHeight / rowHeight()) - 1);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1, PageDown: at + page, PageUp: at - page }[event.key];
    if (to !== undefined) focusRow(to);
    else if (event.key === "Enter" || event.key === " ") openRow(open === name ? "" : name);
    else if (event.key === "Escape") openRow("");
    else return;
    event.preventDefault();
  });
  scroll.addEventListener("focusin", (event) => { focus = event.target.closest(".wnb-row")?.dataset.name ?? focus; });
  scroll.addEventListener("click", (event) => {
    const name = event.target.closest(".wnb-row")?.dataset.name;
    if (!name) return;
    focus = name;
    openRow(open === name ? "" : name);
  });
  scroll.addEventListener("scroll", paintSoon, { passive: true });
  let sure = 0;
  stopAll.addEventListener("click", () => {
    const really = sure;
    clearTimeout(sure);
    sure = really ? 0 : setTimeout(() => { sure = 0; say(stopAll, "Stop all"); }, 3000);
    say(stopAll, really ? "Stop all" : "Really stop all?");
    if (really) act({ do: "stop", agent: "*" });
  });
  const resumeAll = h("button.wnb-button", { type: "button", onclick: () => act({ do: "resume", agent: "*" }) }, "Resume all");
  top.append(resumeAll);
  const sizes = new ResizeObserver(() => {
    for (const [element, names] of [[grid, { wide: 936, broad: 824, medium: 540, narrow: 1 }], [root, { wide: 1340, medium: 540, narrow: 1 }]]) {
      const { width } = element.getBoundingClientRect();
      if (width) mark(element, "data-width", Object.keys(names).find((name) => width >= names[name]));
    }
    paintSoon();
  });
  sizes.observe(root);
  sizes.observe(grid);
  const seconds = setInterval(() => { if (!document.hidden && root.isConnected && state.known) paintSoon(); }, 1000);
  openRow("");
  link.tell({ do: "hello" });
  const late = setTimeout(() => { if (!state.known) hear({ kind: "silent", gone: !link.busy() }); }, 1500);
  return () => {
    clearInterval(seconds);
    for (const timer of [late, lookTimer, sure]) clearTimeout(timer);
    cancelAnimationFrame(frame);
    sizes.disconnect();
    folded?.disconnect();
    link.close();
    root.remove();
  };
}

export default { render };
