// The picture of the team: one lane per agent, runs as bars over time.

import {
  WINDOWS, barAt, barsIn, clockTime, description, emptyLane, endOf, isTooCoarse, laneLabel, sortedBars, takeBars, ticks,
  windowName, zoomed,
} from "./bars.js";
import { LANE, drawLanes } from "./draw.js";
import { h, hidden, keyed, makeButton, setAttribute, setText } from "./elements.js";
import { drawIcon } from "./rows.js";

/** Lanes that are shown at once, and pixels after the present time. */
const VISIBLE_LANES = 12, AHEAD = 24;
/** Milliseconds between the frames of a short window, and until lanes are requested. */
const FRAME_MS = 100, ASK_MS = 80;
/** Bars of a lane after which it is requested again, so that old ones are joined; seconds until that is repeated. */
const MOST_BARS = 2000, REPEAT_S = 5;
const OUTCOMES = ["running", "succeeded", "failed", "cancelled"];
const COLORS = { text: "text", dim: "dim", back: "back", rule: "rule", accent: "accent", waiting: "waiting" };
const KEPT = "whisper_nb.picture";

/** What the user chose last, in this browser: whether the timeline is shown, and its window in seconds. */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {}; // the browser refuses, or something else is stored there
  }
}

function keep(choice) {
  try {
    localStorage.setItem(KEPT, JSON.stringify({ ...kept(), ...choice }));
  } catch {
    // it is forgotten with the page
  }
}

/** The lanes of all agents. It asks for the bars of those in view, and draws them on one canvas. */
export class Picture {
  lanes = new Map(); // agent → its bars; lanes out of view are dropped
  asked = new Map(); // agent → the request for its lane that was sent: {since, step, at}
  names = []; // all agents, in order
  seconds = WINDOWS.includes(kept().seconds) ? kept().seconds : 300;
  until = null; // the end of the window; null: it follows the present time
  clock = 0;
  width = 600;
  chosen = null; // {agent, number}: the bar that the pointer or the keyboard is on
  focus = "";
  elements = new Map();
  inView = [];
  reported = ""; // the lanes that the kernel sends changes of
  watches = false;

  constructor({ send, repaint, repaintNow, onOpen, onOpenRun, onSwitch }) {
    Object.assign(this, { send, repaint, repaintNow, onOpen, onOpenRun });
    this.makeTools();
    this.makeSwitch(onSwitch);
    this.axis = hidden("div.wnb-axis");
    this.canvas = hidden("canvas.wnb-canvas");
    this.space = h("div.wnb-space", { role: "presentation" });
    this.scroll = h(
      "div.wnb-lanes", { role: "listbox", "aria-label": "Timeline: one lane per agent" }, this.canvas, this.space,
    );
    this.tip = h("div.wnb-tip", { role: "tooltip" });
    this.tip.hidden = true;
    this.probes = Object.fromEntries([...OUTCOMES, ...Object.keys(COLORS)].map((name) => [
      name, hidden(`i.wnb-probe.wnb-probe-${name}`),
    ]));
    this.said = h("span.wnb-hidden", { role: "status" });
    this.element = h(
      "div.wnb-picture", { role: "group", "aria-label": "Timeline" },
      this.tools, this.axis, this.scroll, this.tip, this.said, ...Object.values(this.probes),
    );
    // A probe's color has a transition, which ends after the theme has changed.
    this.element.addEventListener("transitionend", (event) => {
      if (!event.target.matches(".wnb-probe")) return;
      this.colored = null;
      this.repaint();
    });
    this.listen();
    this.show(kept().shown === true);
  }

  makeTools() {
    this.window = h(
      "select.wnb-select", { "aria-label": "Time shown", onchange: () => this.zoomTo(Number(this.window.value)) },
      ...WINDOWS.map((one) => h("option", { value: one }, windowName(one))),
    );
    this.now = h("button.wnb-button", { type: "button", onclick: () => this.follow() }, "Now");
    const tool = (text, label, onclick) => h(
      "button.wnb-button.wnb-tool", { type: "button", onclick, "aria-label": label, title: label }, text,
    );
    const swatch = (name, words) => h("span.wnb-key", {}, hidden(`i.wnb-swatch.wnb-swatch-${name}`), words);
    this.period = h("span.wnb-period");
    this.tools = h(
      "div.wnb-picture-tools", { role: "group", "aria-label": "Time" },
      tool("−", "Zoom out", () => this.zoom(1)), this.window, tool("+", "Zoom in", () => this.zoom(-1)),
      tool("‹", "Earlier", () => this.pan(-this.seconds / 2)), tool("›", "Later", () => this.pan(this.seconds / 2)),
      this.now, this.period, h("span.wnb-grow"),
      h(
        "span.wnb-legend", {},
        ...OUTCOMES.map((name) => swatch(name, name)),
        swatch("solid", "thinking"), swatch("tool", "tool"), swatch("thin", "waiting"),
        swatch("queued", "queued for a run"),
      ),
    );
  }

  /** The two buttons that choose between the list of agents and this picture. */
  makeSwitch(onSwitch) {
    const button = (text, shown) => h("button.wnb-button", {
      type: "button", onclick: () => {
        this.show(shown);
        keep({ shown });
        onSwitch();
      },
    }, text);
    this.sides = [button("Agents", false), button("Timeline", true)];
    this.switch = h("div.wnb-switch", { role: "group", "aria-label": "View" }, ...this.sides);
  }

  show(yes) {
    this.shown = yes;
    this.sides.forEach((side, at) => setAttribute(side, "aria-pressed", String((at === 1) === yes)));
    if (!yes) this.leave();
  }

  get step() {
    return this.seconds / Math.max(100, this.width);
  }

  /** The window: [since, until]. */
  get range() {
    const until = this.until ?? this.clock + AHEAD * this.step;
    return [until - this.seconds, until];
  }

  // Messages

  take({ kind, bars = {}, lanes = [], rows = {} }, view) {
    if (kind === "all") this.forget(); // bars may have been lost before
    for (const name of [...(rows.removed ?? []), ...(rows.added ?? [])]) this.drop(name);
    for (const [name, found] of Object.entries(bars)) if (this.lanes.has(name)) takeBars(this.lanes.get(name), found);
    for (const [asker, name, since, step, found] of lanes) {
      if (asker !== view || !this.shown) continue;
      const lane = emptyLane(since, step);
      takeBars(lane, found);
      this.lanes.set(name, lane);
      this.asked.delete(name);
    }
  }

  forget() {
    this.lanes.clear();
    this.asked.clear();
    this.reported = "";
  }

  drop(name) {
    this.lanes.delete(name);
    this.asked.delete(name);
    this.reported = "";
  }

  /** Ask for the lanes in view that are missing, or known less precisely than the window shows them. */
  ask(names) {
    const [since] = this.range, { step } = this, time = performance.now();
    const whole = names.filter((name) => {
      const lane = this.lanes.get(name), asked = this.asked.get(name);
      if (asked && !isTooCoarse(asked, since, step) && time - asked.at < REPEAT_S * 1000) return false;
      return isTooCoarse(lane, since, step) || lane.bars.size > MOST_BARS;
    });
    const inView = names.join(" ");
    if (!whole.length && inView === this.reported) return;
    const from = Math.max(0, Math.floor(since - this.seconds / 2));
    for (const name of whole) this.asked.set(name, { since: from, step, at: time });
    this.reported = inView;
    this.watches = true;
    this.send({ do: "lanes", names: inView, whole: whole.join(" "), since: from, step: Math.floor(step * 1000) });
  }

  /** End the updates of bars. */
  leave() {
    this.forget();
    if (!this.watches) return;
    this.watches = false;
    this.send({ do: "lanes", names: "", whole: "", since: 0, step: 1 });
  }

  // Drawing

  /** Draw the lanes in view. Returns their names. */
  paint(names, rows, clock, open) {
    this.names = names;
    this.rows = rows;
    this.clock = clock;
    // Everything is read before anything is written.
    const { scrollTop } = this.scroll, width = Math.max(0, this.scroll.clientWidth - this.labelWidth);
    const colors = this.colors();
    if (width) this.width = width;
    const height = Math.min(names.length, VISIBLE_LANES) * LANE;
    const top = Math.min(scrollTop, Math.max(0, names.length * LANE - height));
    const first = Math.floor(top / LANE), end = Math.min(names.length, Math.ceil((top + height) / LANE));
    const inView = names.slice(first, end);
    this.top = top;
    this.resize(height);
    this.drawLabels(inView, first, open);
    this.drawAxis();
    const [since, until] = this.range;
    const context = this.canvas.getContext("2d"), ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawLanes(context, {
      width: this.width, height, top, first, names: inView, order: names, lanes: this.lanes, since, until, now: clock,
      chosen: this.chosenBar, colors,
    });
    for (const name of [...this.lanes.keys()]) if (!inView.includes(name)) this.drop(name);
    this.drawTip();
    this.inView = inView;
    this.later ||= setTimeout(() => {
      this.later = 0;
      if (this.shown) this.ask(this.inView);
    }, ASK_MS);
    this.animate(inView);
    return inView;
  }

  get labelWidth() {
    return this.element.dataset.width === "narrow" ? 84 : 150;
  }

  /** The colors of the theme, read when it changes and once a second: the browser computes all styles then. */
  colors() {
    const second = Math.floor(performance.now() / 1000);
    if (this.colored?.second === second) return this.colored.found;
    const found = Object.entries(this.probes).map(([name, probe]) => [name, getComputedStyle(probe).color]);
    this.colored = { second, found: Object.fromEntries(found) };
    return this.colored.found;
  }

  resize(height) {
    const ratio = devicePixelRatio || 1, { width } = this;
    const size = `${width} ${height} ${ratio} ${this.names.length}`;
    if (size === this.size) return;
    this.size = size;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    Object.assign(this.canvas.style, {
      width: `${width}px`, height: `${height}px`, marginBottom: `${-height}px`, marginLeft: `${this.labelWidth}px`,
    });
    this.space.style.height = `${this.names.length * LANE}px`;
    this.scroll.style.height = `${height}px`;
    setAttribute(this.scroll, "data-scrolls", this.names.length > VISIBLE_LANES || null);
  }

  drawLabels(inView, first, open) {
    const [since, until] = this.range;
    if (!this.names.includes(this.focus)) this.focus = this.names[0] ?? "";
    const places = new Map(inView.map((name, at) => [name, first + at]));
    const active = this.scroll.getRootNode().activeElement;
    const focusAt = this.names.indexOf(this.focus);
    if (focusAt >= 0) places.set(this.focus, focusAt); // it stays in the page, so that it keeps the focus
    const spare = []; // elements of lanes that are out of view now: others take them
    for (const [name, element] of this.elements) {
      if (places.has(name)) continue;
      this.elements.delete(name);
      if (element === active) element.remove();
      else spare.push(element);
    }
    for (const [name, at] of places) {
      const element = this.elements.get(name) ?? this.makeLabel(name, spare.pop());
      const row = this.rows.get(name), lane = this.lanes.get(name);
      element.style.transform = `translateY(${at * LANE}px)`;
      setAttribute(element, "data-state", row.state.split(" ")[0]);
      setAttribute(element, "aria-selected", String(name === open));
      setAttribute(element, "tabindex", name === this.focus ? 0 : -1);
      setAttribute(element, "aria-posinset", at + 1);
      setAttribute(element, "aria-setsize", this.names.length);
      drawIcon(element.parts.icon, row);
      setAttribute(element.parts.name, "title", row.title || null);
      setText(element.parts.queued, row.queued ? `+${row.queued}` : "");
      setAttribute(element.parts.queued, "title", row.queued ? `${row.queued} queued` : null);
      setText(element.parts.name, name);
      // A label that changes while it has the focus would be read again and again.
      if (element === active && element.ariaLabel) continue;
      const found = lane ? barsIn(lane, since, until, this.clock) : [];
      setAttribute(element, "aria-label", laneLabel(name, row, found, this.clock));
    }
    for (const element of spare) element.remove();
  }

  /** The element of a lane that comes into view. */
  makeLabel(name, spare) {
    const element = spare ?? h("div.wnb-lane", { role: "option", tabindex: "-1" });
    element.dataset.name = name;
    this.elements.set(name, element);
    if (spare) return element;
    element.parts = {
      icon: hidden("span.wnb-icon"), name: h("span.wnb-name"), queued: h("span.wnb-quiet"), dot: hidden("span.wnb-dot"),
    };
    element.append(h("div.wnb-lane-name", {}, ...Object.values(element.parts)));
    this.space.append(element);
    return element;
  }

  drawAxis() {
    const [since, until] = this.range;
    const marks = ticks(since, until, this.width).filter(({ x, label }) => x > 18 && x < this.width - 4 * label.length);
    keyed(this.axis, marks, (mark) => mark.label, () => h("span.wnb-tick"), (element, { x, label }) => {
      setText(element, label);
      element.style.left = `${this.labelWidth + x}px`;
    });
    setText(this.period, `${clockTime(since, false)} – ${this.until === null ? "now" : clockTime(until, false)}`);
    setAttribute(this.now, "aria-pressed", String(this.until === null));
    this.window.value = String(this.seconds);
  }

  /** A short window moves ten times a second while somebody works. */
  animate(inView) {
    clearTimeout(this.frame);
    if (this.until !== null || this.step > 0.6) return;
    const works = inView.some((name) => /^(running|waiting)/.test(this.rows.get(name).state));
    if (!works || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.frame = setTimeout(() => this.repaint(), Math.max(FRAME_MS, this.step * 1000));
  }

  // The window

  zoomTo(seconds, around = null) {
    const [since, until] = this.range;
    if (this.until !== null || around !== null) {
      const center = around ?? (since + until) / 2;
      this.until = center + ((until - center) * seconds) / this.seconds;
    }
    this.seconds = seconds;
    keep({ seconds });
    this.settle();
  }

  zoom(levels, around = null) {
    this.zoomTo(zoomed(this.seconds, levels), around);
  }

  pan(seconds) {
    this.until = this.range[1] + seconds;
    this.settle();
  }

  follow() {
    this.until = null;
    this.settle();
  }

  /** Follow the present time again where a window reaches it. */
  settle() {
    if (this.until !== null && this.until >= this.clock + AHEAD * this.step) this.until = null;
    this.repaint();
  }

  // The pointer and the keyboard

  get chosenBar() {
    return this.chosen && this.lanes.get(this.chosen.agent)?.bars.get(this.chosen.number);
  }

  listen() {
    const { scroll } = this;
    scroll.addEventListener("scroll", () => this.repaint(), { passive: true });
    scroll.addEventListener("pointerdown", (event) => this.onDown(event));
    scroll.addEventListener("pointermove", (event) => this.onMove(event));
    scroll.addEventListener("pointerup", () => { this.drag = null; });
    scroll.addEventListener("pointercancel", () => { this.drag = null; });
    scroll.addEventListener("pointerleave", () => this.choose(null));
    scroll.addEventListener("click", (event) => this.onClick(event));
    scroll.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    scroll.addEventListener("keydown", (event) => this.onKey(event));
    scroll.addEventListener("focusin", (event) => {
      this.focus = event.target.closest(".wnb-lane")?.dataset.name ?? this.focus;
    });
    scroll.addEventListener("focusout", () => this.choose(null));
  }

  /** Where a pointer is: `{agent, time, bar}`. */
  at(event) {
    const box = this.scroll.getBoundingClientRect();
    const y = event.clientY - box.top + this.scroll.scrollTop, x = event.clientX - box.left - this.labelWidth;
    const agent = this.names[Math.floor(y / LANE)];
    const time = this.range[0] + x * this.step;
    const lane = this.lanes.get(agent);
    return { agent, time, bar: x >= 0 && lane ? barAt(lane, time, 4 * this.step, this.clock) : null };
  }

  onDown(event) {
    if (event.button === 0) this.drag = { x: event.clientX, until: this.range[1], moved: false };
  }

  onMove(event) {
    const { drag } = this;
    if (drag && !(event.buttons & 1)) this.drag = null;
    else if (drag && (drag.moved || Math.abs(event.clientX - drag.x) > 4)) {
      if (!drag.moved) this.scroll.setPointerCapture(event.pointerId);
      drag.moved = this.moved = true;
      this.until = drag.until - (event.clientX - drag.x) * this.step;
      this.choose(null);
      this.settle();
      return;
    }
    const { agent, bar } = this.at(event);
    this.choose(bar && { agent, number: bar.number });
  }

  onClick(event) {
    if (this.moved) { // the end of a drag
      this.moved = false;
      return;
    }
    const { agent, bar } = this.at(event);
    if (agent) this.openAt(agent, bar);
  }

  /** Open a run, or its agent; runs that were joined are told apart by zooming in on them. */
  openAt(agent, bar) {
    if (!bar) this.onOpen(agent);
    else if (bar.runs > 1) this.zoom(-2, bar.since + bar.seconds / 2);
    else this.onOpenRun(agent, `${agent}#${bar.number}`);
  }

  onWheel(event) {
    const shift = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    const around = this.until === null ? null : this.at(event).time;
    if (event.ctrlKey || event.metaKey) this.zoom(Math.sign(event.deltaY), around);
    else if (Math.abs(shift) > Math.abs(event.shiftKey ? 0 : event.deltaY)) this.pan(shift * this.step);
    else return; // the list scrolls
    event.preventDefault();
  }

  onKey(event) {
    const at = this.names.indexOf(this.focus), last = this.names.length - 1;
    const lanes = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last };
    const keys = {
      ArrowLeft: () => this.chooseNext(-1), ArrowRight: () => this.chooseNext(1),
      PageUp: () => this.pan(-this.seconds / 2), PageDown: () => this.pan(this.seconds / 2),
      "+": () => this.zoom(-1), "=": () => this.zoom(-1), "-": () => this.zoom(1), 
      n: () => this.follow(), N: () => this.follow(),
      Enter: () => this.openAt(this.focus, this.chosen?.agent === this.focus ? this.chosenBar : null),
      Escape: () => (this.chosen ? this.choose(null) : this.onOpen("")),
    };
    keys[" "] = keys.Enter;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in lanes) this.focusLane(Math.min(Math.max(lanes[event.key], 0), last));
    else if (Object.hasOwn(keys, event.key)) keys[event.key]();
    else return;
    event.preventDefault();
  }

  focusLane(at) {
    if (at < 0) return;
    this.focus = this.names[at];
    const y = at * LANE, { scroll } = this;
    if (y < scroll.scrollTop) scroll.scrollTop = y;
    else if (y + LANE > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = y + LANE - scroll.clientHeight;
    this.choose(null);
    this.repaintNow();
    this.elements.get(this.focus)?.focus({ preventScroll: true });
  }

  /** Choose the next or the previous run of the lane that has the focus; the window moves to it. */
  chooseNext(direction) {
    const lane = this.lanes.get(this.focus);
    const bars = lane ? sortedBars(lane) : [];
    if (!bars.length) return;
    const [since, until] = this.range;
    const before = this.chosen?.agent === this.focus ? bars.indexOf(this.chosenBar) : -1;
    let next = before + direction;
    if (before < 0) next = bars.findLastIndex((bar) => bar.since <= until && endOf(bar, this.clock) >= since);
    const bar = bars[Math.min(Math.max(next, 0), bars.length - 1)];
    if (bar.since > until || endOf(bar, this.clock) < since) this.until = bar.since + this.seconds / 2;
    this.choose({ agent: this.focus, number: bar.number });
    const { title, line, facts } = description(this.focus, bar, this.clock);
    setText(this.said, [title, line, ...facts].join(". "));
    this.settle();
  }

  choose(chosen) {
    if (this.chosen?.agent === chosen?.agent && this.chosen?.number === chosen?.number) return;
    this.chosen = chosen;
    if (!chosen) setText(this.said, "");
    this.repaint();
  }

  /** The tooltip of the chosen bar, below its lane, or above it where there is no room. */
  drawTip() {
    const bar = this.chosenBar;
    this.tip.hidden = !bar;
    if (!bar) return;
    const { title, line, facts } = description(this.chosen.agent, bar, this.clock);
    const texts = [title, line, ...facts].filter(Boolean);
    keyed(this.tip, texts.map((text, at) => ({ text, at })), ({ at }) => at, () => h("div"), (element, one) => {
      setText(element, one.text);
    });
    const [since] = this.range;
    const y = this.names.indexOf(this.chosen.agent) * LANE - this.top;
    const left = this.labelWidth + Math.max(0, (bar.since - since) / this.step);
    const height = Math.min(this.names.length, VISIBLE_LANES) * LANE, above = y > height / 2 && height > 150;
    Object.assign(this.tip.style, {
      left: `${Math.max(4, Math.min(left, this.labelWidth + this.width - 300))}px`,
      top: above ? "" : `${this.scroll.offsetTop + y + LANE}px`,
      bottom: above ? `${height - y + 2}px` : "",
    });
  }

  close() {
    for (const timer of [this.later, this.frame]) clearTimeout(timer);
  }
}
