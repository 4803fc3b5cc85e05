// The details of one agent.

import { h, hidden, keyed, makeButton, options, setAttribute, setEnabled, setText } from "./elements.js";
import { drawIcon } from "./rows.js";
import { PRIORITIES } from "./state.js";
import { about, ago, costInWords, dollars, inAndOut, tokensInWords } from "./words.js";

const isShut = (row) => /^(paused|stopped|sleeping)/.test(row.state);

/** The details of one agent: created once, each part drawn when it changes. */
export class AgentDetails {
  constructor(act, close, openRun) {
    this.act = act;
    this.openRun = openRun;
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
      sum: h("p.wnb-sum"), run: makeOpen(() => this.openRun(this.parts.run.textContent)), status: h("span.wnb-quiet"), prompt: h("p.wnb-prompt"),
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
    keyed(this.parts.runs, others, (one) => one.id, () => makeDone(this.openRun), (item, one) => item.draw(one, clock));
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
    const facts = [runs, `tokens ${tokensInWords(row)}`, `cost ${costInWords(row)}`, `memory ${about(row.memory)}`];
    setText(parts.sum, [...facts, row.model].join(" · "));
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
      ["answers", spec.answers], ["limits", spec.limits], ["history", spec.history], ["memory", spec.memory],
      ["revision", String(spec.revision)],
    ].filter(([, value]) => value);
    const make = ([name]) => h("div", {}, h("dt", {}, name), h("dd"));
    keyed(this.parts.spec, facts, ([name]) => name, make, (line, [, value]) => setText(line.lastChild, value));
  }
}

/** The id of a run, as a button that opens its transcript. */
const makeOpen = (onclick) => h("button.wnb-id.wnb-open", { type: "button", title: "Open its transcript", onclick });

function runLine(run, clock) {
  const facts = run.fresh ? [run.status, "fresh"] : [run.status];
  if (run.started) facts.push(ago((run.finished ?? clock) - run.started));
  if (run.input !== null) facts.push(inAndOut(run.input, run.output));
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
    const waits = run.needs.length ? `needs ${run.needs.join(", ")}` : ago(clock - run.since);
    setText(age, run.fresh ? `fresh, ${waits}` : waits);
    if (item.getRootNode().activeElement !== priority) priority.value = run.priority;
    setEnabled(up, item.around.before);
    setEnabled(down, item.around.after);
  };
  return item;
}

/** An item of an agent's finished runs. */
function makeDone(openRun) {
  const parts = {
    id: makeOpen(() => openRun(parts.id.textContent)), status: h("span.wnb-quiet"), prompt: h("div.wnb-words"), result: h("div.wnb-result"),
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
