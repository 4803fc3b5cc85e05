// The list of agents: rows, of which only those in view have elements.

import { color, h, hidden, keyed, setAttribute, setText } from "./elements.js";
import { bars, inView, timelineLabel } from "./state.js";
import { ago, costInWords, hue, initials, knownCost, knownTokens, tokensInWords } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
/** Rows that the list shows at once, and row elements that are kept for reuse while it scrolls. */
const VISIBLE_ROWS = 14, SPARE_ROWS = 24;
/** The height of a row in pixels; in the narrow layout it has two lines. */
const ROW_HEIGHT = 32, NARROW_ROW_HEIGHT = 58;
const COLUMNS = [
  ["agent", "Agent"], ["state", "State"], ["now", "Doing now"], ["queue", "Queue"], ["timeline", "Last 5 min"],
  ["tokens", "Tokens"], ["cost", "Cost"], ["model", "Model"],
];

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

/** Draw an agent's icon in its color; without them, its initials in a color that follows from its name. */
export function drawIcon(element, row) {
  if (element.wnbName !== row.name) {
    [element.wnbName, element.wnbInitials] = [row.name, initials(row.name)];
    element.style.setProperty("--wnb-hue", hue(row.name));
  }
  setText(element, row.icon || element.wnbInitials);
  const shade = color(row.color);
  if (element.wnbShade === shade) return;
  element.wnbShade = shade;
  if (shade) element.style.setProperty("--wnb-agent", shade);
  else element.style.removeProperty("--wnb-agent");
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
  setAttribute(parts.state, "title", row.state.includes(" ") ? row.state : null);
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
export function drawSpent(parts, spent, soFar = "") {
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
export class RowList {
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
    return this.grid.dataset.width === "narrow" ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
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
