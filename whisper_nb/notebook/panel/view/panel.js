// The panel of whisper_nb. It draws the messages of whisper_nb/notebook/panel/panel.py, and sends the user's actions as
// requests.

import { Connection } from "./connection.js";
import { AgentDetails } from "./details.js";
import { h, setAttribute, setText } from "./elements.js";
import { Picture } from "./picture.js";
import { RowList } from "./rows.js";
import { endedWith, keptOrder, matches, nextSort, nothing, ordered, take } from "./state.js";
import { Header, PromptForm } from "./top.js";
import { RunTranscript } from "./transcript.js";

/** Updates between two acknowledgements. */
const ACKNOWLEDGED = 20;
/** Seconds without details of the open agent after which they are requested again; twice as long after each time. */
const DETAILS_S = 5;
const HINTS = ["↑ ↓ choose · Enter opens · Esc closes", "↑ ↓ ← → choose · Enter opens · + − zoom · drag moves · N now"];
const IN_A_TAB = " · right-click, Create New View for Cell Output: a tab of its own";
const GONE = "No kernel answers. If it was restarted, run %agents again.";
const BUSY = "The kernel is busy with a cell: agents wait until it ends or awaits, and so do your requests.";
const BUSY_THREADED = "The kernel is busy with a cell. Agents go on; your requests wait until it ends or awaits. "
  + "To stop agents now: python -m whisper_nb stop --all, in a terminal.";

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

/** One view of the panel, in one output of a page. */
class PanelView {
  state = nothing();
  order = [];
  shown = []; // the names that the filter lets through, in order
  sort = null;
  open = ""; // the agent whose details are open
  run = ""; // the run whose transcript is open in their place
  clockOffset = -Infinity; // from the browser's clock to the kernel's
  stoppedClock = null; // the time at which the agents stopped, while a cell blocks them
  threaded = false; // agents run in a thread of their own
  ended = null; // a sentence about what ended with the kernel
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
    this.sizes.observe(this.picture.element);
    this.seconds = setInterval(() => this.onSecond(), 1000);
    this.openRow("");
    this.connection.send({ do: "hello" });
    this.late = setTimeout(() => {
      if (!this.state.known) this.hear({ kind: "silent", gone: !this.connection.busy });
    }, 1500);
  }

  build() {
    this.notice = h("span.wnb-notice", { role: "status" });
    this.hint = h("span.wnb-hint");
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
    this.picture = new Picture({
      send: (content) => this.connection.send(content),
      repaint: () => this.schedule(),
      repaintNow: () => this.paintRows(),
      onOpen: (name) => this.openRow(this.open === name ? "" : name),
      onOpenRun: (_, run) => this.openRun(run),
      onSwitch: () => this.onSwitch(),
    });
    this.header.filter.before(this.picture.switch);
    this.empty = h("div.wnb-empty");
    this.details = new AgentDetails(this.act, () => this.openRow(""), (run) => this.openRun(run));
    this.transcript = new RunTranscript({
      act: this.act,
      ask: (content) => this.connection.ask(content),
      back: () => this.openRun(""),
      close: () => this.openRow(""),
    });
    this.form = new PromptForm(this.act);
    this.root = h(
      "div.wnb", { role: "region", "aria-label": "Team of agents" },
      this.header.element, h("div.wnb-foot", {}, this.notice, this.hint),
      h("div.wnb-main", {}, this.list.grid, this.picture.element, this.empty, this.details.element, this.transcript.element),
      this.form.element,
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
      this.onSilence(message);
      return;
    }
    this.stoppedClock = null;
    // An update of agents in a thread does not mean that the kernel takes requests.
    const answers = !(message.threaded && message.kind === "update");
    if (answers && ["busy", "gone"].includes(this.root.dataset.notice)) this.notify("", "");
    if (message.kind === "part") {
      if (message.view === this.connection.view) this.transcript.onPart(message);
    } else if (message.kind !== "alive") this.onUpdate(message);
  }

  onSilence({ gone, ended }) {
    this.root.hidden = false;
    if (gone || !this.threaded) this.stoppedClock ??= this.clock;
    this.paintSoon();
    if (ended) this.ended ??= endedWith(this.state.rows);
    const busy = this.threaded ? BUSY_THREADED : BUSY;
    const why = this.ended ? `${this.ended} Run %load_ext whisper_nb and %agents again.` : GONE;
    this.notify(gone ? why : busy, gone ? "gone" : "busy");
  }

  onUpdate(message) {
    const isAll = message.kind === "all";
    if (message.number) this.threaded = message.threaded === true;
    if (message.now) {
      this.clockOffset = Math.max(isAll ? -Infinity : this.clockOffset, message.now - Date.now() / 1000);
    }
    const { state, missed } = take(this.state, message);
    this.state = state;
    this.picture.take(message, this.connection.view);
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
    header.draw(state.rows, state.gone, state.budget);
    this.paintEmpty();
    if (this.open && !state.rows.has(this.open)) this.openRow("");
    if (this.open) this.details.draw(state.rows.get(this.open), state.details.get(this.open), this.clock);
    if (this.run) this.transcript.draw(state.transcripts.get(this.run), this.clock);
    this.form.draw(this.order, state.rows.size);
    this.hint.hidden = !state.rows.size;
    const inLab = this.root.dataset.width === "wide" && this.el.closest(".jp-Notebook-cell");
    setText(this.hint, HINTS[this.picture.shown ? 1 : 0] + (inLab ? IN_A_TAB : ""));
  }

  paintRows() {
    const names = this.shown.filter((name) => this.state.rows.has(name));
    const side = this.picture.shown ? this.picture : this.list;
    this.report(side.paint(names, this.state.rows, this.clock, this.open));
  }

  paintEmpty() {
    const { state, empty } = this;
    this.list.grid.hidden = !state.rows.size || this.picture.shown;
    this.picture.element.hidden = !state.rows.size || !this.picture.shown;
    this.picture.switch.hidden = !state.rows.size;
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
    this.openRun("");
    [this.openedAt, this.patience] = [performance.now(), DETAILS_S];
    if (name) this.form.choose(name);
    else if (before) (this.picture.shown ? this.picture : this.list).elements.get(before)?.focus();
    this.reported = "";
    this.paintSoon();
  }

  /** Show the list or the timeline, as the user has chosen. */
  onSwitch() {
    this.reported = "";
    this.paintEmpty();
    this.onResize(); // the side that was hidden has a size now
  }

  /** Show the transcript of a run in the place of its agent's details; with an empty id, the details again. */
  openRun(run) {
    const before = this.run, agent = run.split("#")[0];
    if (run && this.open !== agent) this.openRow(agent);
    this.run = run;
    this.transcript.element.hidden = !run;
    this.details.element.hidden = Boolean(run) || !this.open;
    if (run === before) return;
    this.state.transcripts.delete(before);
    this.connection.ask({ do: "transcript", run }, (answer) => {
      if (!answer.ok) this.notify(answer.text, "error");
    });
    if (run) {
      this.transcript.open(run);
      this.transcript.element.focus({ preventScroll: true });
    } else if (this.open) this.details.element.focus({ preventScroll: true });
    this.paintSoon();
  }

  sortBy(by) {
    this.sort = nextSort(this.sort, by);
    this.order = ordered(this.state.rows, this.sort);
    this.list.showSort(this.sort);
    this.paintSoon();
  }

  onResize() {
    const widths = [
      [this.picture.element, { wide: 540, narrow: 1 }],
      [this.list.grid, { wide: 1012, broad: 892, medium: 580, narrow: 1 }],
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
    this.picture.close();
    this.connection.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const view = new PanelView(model, el);
  return () => view.close();
}

export default { render };
