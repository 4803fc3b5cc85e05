// The transcript of one run: its prompt, replies, tool calls and end, as they come.

import { drawMarkdown } from "./markdown.js";
import { h, hidden, keyed, makeButton, makeCopy, setAttribute, setText } from "./elements.js";
import { ago, count, dollars } from "./words.js";

/** Characters of a piece of a text, as the kernel counts them. */
const PIECE = 30_000;

const spentLine = ({ input, output, cost, seconds }) => [
  input === null || input === undefined ? "tokens unknown" : `${count(input)} + ${count(output)} tokens`,
  cost === null ? "cost unknown" : dollars(cost),
  seconds === null ? "" : `${seconds.toFixed(1)} s`,
].filter(Boolean).join(" · ");

/** The transcript of the run that is open. `ask` sends a request; the pieces of texts that it asks for come to `onPart`. */
export class RunTranscript {
  constructor({ ask, act, close, back }) {
    this.ask = ask;
    this.act = act;
    this.id = "";
    this.markdown = true;
    this.wanted = new Map(); // what a piece of a text belongs to → what takes it
    this.parts = {
      id: h("strong.wnb-id"), dot: hidden("span.wnb-dot"), status: h("span"), sum: h("p.wnb-sum"),
      cut: h("p.wnb-quiet"), items: h("ol.wnb-list"), live: h("div.wnb-prose.wnb-plain"), liveHead: h("h4"),
      raw: h("div"),
    };
    const { parts } = this;
    parts.thinking = h("div.wnb-prose.wnb-plain");
    this.thinking = h("details.wnb-fold", {}, h("summary", {}, "Thoughts so far"), parts.thinking);
    this.live = h("section.wnb-item", { "aria-label": "Reply in progress" }, parts.liveHead, parts.live);
    this.back = makeButton("‹ Back", back, "Back to the agent");
    this.style = h("button.wnb-button", { type: "button", "aria-pressed": "true", onclick: () => this.toggle() }, "Markdown");
    this.raw = h("button.wnb-button", { type: "button", "aria-expanded": "false", onclick: () => this.showRaw() }, "Raw request");
    this.again = makeButton("Run again", () => act({ do: "again", run: this.id }));
    this.element = h(
      "aside.wnb-details.wnb-transcript", { "aria-label": "Transcript", tabindex: "-1" },
      h("header.wnb-who", {}, this.back, parts.id, parts.dot, parts.status, h("span.wnb-grow"),
        makeButton("✕", close, "Close transcript")),
      h("div.wnb-actions", { role: "group", "aria-label": "Actions" }, this.style,
        makeCopy("Copy the answer", () => this.answer?.textOf() ?? "", () => this.answer?.left() ?? 0), this.again, this.raw),
      parts.sum, parts.raw, parts.cut, parts.items, this.live,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      back();
    });
  }

  /** Show a run, from the beginning. */
  open(id) {
    this.id = id;
    this.wanted.clear();
    this.parts.items.replaceChildren();
    this.parts.items.wnbItems = undefined;
    this.parts.raw.replaceChildren();
    setAttribute(this.raw, "aria-expanded", "false");
    this.answer = null; // the item of the last reply
    this.element.scrollTop = 0;
  }

  toggle() {
    this.markdown = !this.markdown;
    setAttribute(this.style, "aria-pressed", String(this.markdown));
    for (const item of this.parts.items.children) item.showMarkdown?.(this.markdown);
  }

  draw(transcript, clock) {
    const { parts } = this;
    setText(parts.id, this.id);
    const run = transcript?.run;
    setText(parts.status, run ? run.status : "loading…");
    setAttribute(this.element, "data-state", run?.status ?? null);
    if (!run) return;
    const end = run.finished ?? clock;
    const facts = { input: run.input, output: run.output, cost: run.cost, seconds: run.started ? Math.max(0, end - run.started) : null };
    const age = run.finished ? `${ago(clock - run.finished)} ago` : "so far";
    setText(parts.sum, run.started ? [...(run.fresh ? ["fresh"] : []), spentLine(facts), run.model, age].join(" · ") : run.prompt);
    setText(parts.cut, transcript.cut ? `… ${transcript.cut} earlier records of the run are not shown …` : "");
    this.drawItems(transcript.items);
    this.drawLive(run, transcript);
  }

  drawItems(items) {
    const shown = items.filter(({ kind, error, text }) => kind !== "result" && (kind !== "end" || error || text));
    const last = items.findLast(({ kind, text }) => kind === "reply" || (kind === "end" && text));
    // The call of a result is the last one of that id before it; ids are unique within a turn.
    keyed(this.parts.items, shown, (item) => item.at, (item) => this.make(item), (element, item) => {
      if (item.kind === "call" && !element.wnbDone) {
        const result = items.find((one) => one.kind === "result" && one.call === item.call && one.at > item.at);
        if (result) element.finish(result);
      }
      if (item === last) this.answer = element;
    });
  }

  make(item) {
    return { start: makePrompt, reply: makeReply, call: makeCall, note: makeNote, continued: makeContinued, end: makeEnd }[item.kind](item, this);
  }

  drawLive(run, { live, thinking }) {
    this.live.hidden = Boolean(run.finished) || !(live?.text || thinking?.text);
    if (this.live.hidden || !thinking?.text) this.thinking.remove();
    else if (!this.thinking.isConnected) this.parts.liveHead.after(this.thinking);
    if (this.live.hidden) return;
    setText(this.parts.thinking, thinking?.text ?? "");
    const atEnd = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 24;
    setText(this.parts.liveHead, live?.at ? `Reply in progress · ${live.at.toLocaleString("en")} characters above` : "Reply in progress");
    setText(this.parts.live, live?.text ?? "");
    if (atEnd) this.element.scrollTop = this.element.scrollHeight;
  }

  /** A text of an item: its beginning, and the rest as far as it was asked for. */
  makeText(item, field, selector) {
    const part = item[field];
    const begin = h("span", {}, part.text), rest = document.createTextNode("");
    const element = h("div", {}, h(selector, {}, begin, rest));
    element.textOf = () => begin.textContent + rest.data;
    element.left = 0;
    element.showBegin = (yes) => {
      begin.hidden = !yes;
      element.hidden = !yes && !part.more;
    };
    if (part.more) element.append(this.makeMore(part.to, part.more, `${item.at} ${field}`, (start) => (
      { do: "part", run: this.id, item: item.at, field, start }
    ), rest, element));
    return element;
  }

  /** A button that asks for the next piece of a text. `owner.left` is the number of characters that are not here. */
  makeMore(to, more, key, request, text, owner) {
    const button = h("button.wnb-button.wnb-more", { type: "button" });
    let start = to, left = more;
    const label = () => {
      owner.left = left;
      setText(button, `… ${left.toLocaleString("en")} more characters: show the next`);
    };
    label();
    button.addEventListener("click", () => {
      this.wanted.set(key, (message) => {
        if (message.start !== start) return;
        text.appendData(message.text);
        const taken = Math.min(PIECE, left);
        [start, left] = [start + taken, left - taken];
        label();
        if (!left) button.remove();
      });
      this.ask(request(start));
    });
    return button;
  }

  /** Take a piece of a text that was asked for. */
  onPart(message) {
    if (message.run !== this.id) return;
    const key = message.field === "request" ? "request" : `${message.item} ${message.field}`;
    const taken = this.wanted.get(key);
    this.wanted.delete(key);
    taken?.(message);
  }

  showRaw() {
    const shown = this.raw.getAttribute("aria-expanded") === "true";
    setAttribute(this.raw, "aria-expanded", String(!shown));
    this.parts.raw.replaceChildren();
    if (shown) return;
    this.wanted.set("request", (message) => {
      const text = document.createTextNode(message.text);
      const code = h("pre.wnb-code", { tabindex: "0", role: "group", "aria-label": "Raw request" }, text);
      const block = h(
        "section.wnb-item", {},
        h("p.wnb-quiet", {}, "The last call of this run, made anew and compared by its fingerprint: a first line tells if it "
          + "differs. Without key and headers."),
        h("div.wnb-block", {}, makeCopy("Copy the request", () => text.data), code),
      );
      if (message.more) block.append(this.makeMore(PIECE, message.more, "request", (start) => (
        { do: "request", run: this.id, start }
      ), text, block));
      this.parts.raw.replaceChildren(block);
    });
    this.ask({ do: "request", run: this.id, start: 0 });
  }
}

function makePrompt(item, transcript) {
  const text = transcript.makeText(item, "text", "div.wnb-prose.wnb-plain");
  const images = item.images.map((one, at) => h("p.wnb-quiet", {}, `⟨image ${at + 1}⟩ ${one}`));
  return h("li.wnb-item", {}, h("h4", {}, "Prompt"), text, ...images);
}

function makeReply(item, transcript) {
  const text = transcript.makeText(item, "text", "div.wnb-prose.wnb-plain");
  const prose = h("div.wnb-prose", {}, ...drawMarkdown(item.tree));
  const thoughts = item.thoughts ? [h(
    "details.wnb-fold", {}, h("summary", {}, "Thoughts"), transcript.makeText(item, "thoughts", "div.wnb-prose.wnb-plain"),
  )] : [];
  const served = (item.served ?? []).map((line) => h("p.wnb-step", {}, `✓ ${line} · run by the provider`));
  const element = h(
    "li.wnb-item", {}, h("h4", {}, h("strong", {}, `Reply ${item.turn}`), ` · ${spentLine(item)}`, ...makePrint(item.fingerprint)),
    ...thoughts, ...served, prose, text,
  );
  element.textOf = () => text.textOf();
  element.left = () => text.left;
  element.showMarkdown = (yes) => {
    prose.hidden = !yes;
    text.showBegin(!yes); // what comes on demand is text: it follows the part that is rendered
  };
  element.showMarkdown(transcript.markdown);
  return element;
}

/** The fingerprint of the request that was sent: its beginning, and all of it in the tooltip. */
const makePrint = (print) => (print ? [" · request ", h("code.wnb-print", { title: print }, print.slice(0, 8))] : []);

/** A prompt with which the run goes on by itself. */
function makeContinued(item, transcript) {
  const text = transcript.makeText(item, "text", "div.wnb-prose.wnb-plain");
  return h("li.wnb-item", {}, h("h4", {}, h("strong", {}, item.line)), text);
}

function makeCall(item, transcript) {
  const line = h("span.wnb-call"), outcome = h("div");
  setText(line, `… ${item.line}`);
  const argumentsText = transcript.makeText(item, "arguments", "pre.wnb-code");
  const element = h(
    "li.wnb-item", {},
    h("details.wnb-fold", {}, h("summary", {}, line), h("h4", {}, "Arguments"), argumentsText, outcome),
  );
  element.finish = (result) => {
    element.wnbDone = true;
    setText(line, `${result.failed ? "✗" : "✓"} ${item.line} → ${result.line}`);
    setAttribute(line, "class", result.failed ? "wnb-call wnb-error" : "wnb-call");
    outcome.append(h("h4", {}, result.failed ? "Error" : "Result"), transcript.makeText(result, "text", "pre.wnb-code"));
  };
  return element;
}

const makeNote = (item) => h("li.wnb-item.wnb-quiet", {}, item.text);

function makeEnd(item, transcript) {
  const line = h(
    item.outcome === "failed" ? "p.wnb-error" : "p.wnb-quiet", {}, [item.outcome, item.error].filter(Boolean).join(": "),
  );
  if (!item.text) return h("li.wnb-item", {}, line);
  const text = transcript.makeText(item, "text", "div.wnb-prose.wnb-plain");
  const element = h("li.wnb-item", {}, h("h4", {}, h("strong", {}, "Incomplete reply")), text, line);
  element.textOf = () => text.textOf();
  element.left = () => text.left;
  return element;
}
