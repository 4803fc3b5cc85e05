// The header, and the form for prompts.

import { BudgetLine } from "./budget.js";
import { h, hidden, keyed, makeButton, options, setAttribute, setText } from "./elements.js";
import { drawSpent } from "./rows.js";
import { PRIORITIES, STATES, rank, total } from "./state.js";

/** The sums of all agents, the filter, and the buttons for all agents. */
export class Header {
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
    this.budget = new BudgetLine(act);
    this.element = h(
      "div.wnb-top", {}, sums, this.filter, this.state, this.budget.button, this.stopAll, this.resumeAll, this.budget.element,
    );
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

  draw(rows, gone, budget) {
    this.budget.draw(budget);
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
export class PromptForm {
  constructor(act) {
    this.act = act;
    this.to = h("select.wnb-select", { "aria-label": "To" });
    this.priority = h("select.wnb-select", { "aria-label": "Priority" }, ...options(PRIORITIES));
    this.priority.value = "normal";
    this.prompt = h("textarea.wnb-input.wnb-ask-text", {
      rows: "1", placeholder: "Send a prompt…", "aria-label": "Prompt", title: "Sent as it is: {{ … }} is not evaluated here",
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
