// The budget of all agents: what is spent, reserved and left, and the field that changes it.

import { h, hidden, makeButton, setAttribute, setText } from "./elements.js";
import { asPrice, budgetShares, budgetState, dollars } from "./words.js";

const NOTES = { near: (share) => `${share} % spent`, used: () => "used up: raise it to go on" };

/** The line below the header, and the button that opens its field. */
export class BudgetLine {
  constructor(act) {
    this.act = act;
    this.isOpen = false;
    this.parts = {
      name: h("strong"), spent: h("span.wnb-meter-spent"), reserved: h("span.wnb-meter-reserved"),
      note: h("strong.wnb-budget-note", { "aria-live": "polite" }),
    };
    const { parts } = this;
    this.meter = h("div.wnb-meter", { role: "meter", "aria-label": "Budget", "aria-valuemin": "0" }, parts.spent, parts.reserved);
    this.figures = ["spent", "reserved", "left"].map((name) => {
      const text = h("span");
      return { name, text, element: h("span.wnb-key", {}, hidden(`i.wnb-meter-key.wnb-meter-${name}`), text) };
    });
    this.facts = h("div.wnb-budget-facts", {}, parts.name, this.meter, ...this.figures.map(({ element }) => element), parts.note);
    this.input = h("input.wnb-input.wnb-dollars", {
      type: "number", min: "0", max: "1000000", step: "any", required: true, "aria-label": "Budget in US dollars",
    });
    this.form = h(
      "form.wnb-budget-form", { onsubmit: (event) => this.onSubmit(event) }, "Budget of all agents: $", this.input,
      h("button.wnb-button.wnb-main-button", { type: "submit" }, "Set"), makeButton("Cancel", () => this.toggle(false)),
    );
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.toggle(false);
      if (event.key !== "Enter" || event.target !== this.input) return;
      event.preventDefault(); // JupyterLab keeps the browser from submitting it
      this.form.requestSubmit();
    });
    this.button = h("button.wnb-button", { type: "button", onclick: () => this.toggle(!this.isOpen) }, "Budget…");
    this.element = h("div.wnb-budget", {}, this.facts, this.form);
    this.budget = undefined;
    this.draw(null, 0);
  }

  toggle(open) {
    this.isOpen = open;
    this.show();
    if (!open) {
      this.button.focus();
      return;
    }
    this.input.value = this.budget ? String(this.budget.limit) : "";
    this.input.focus();
    this.input.select();
  }

  onSubmit(event) {
    event.preventDefault();
    this.act({ do: "budget", usd: this.input.valueAsNumber }, (answer) => {
      if (answer.ok) this.toggle(false);
    });
  }

  show() {
    this.facts.hidden = !this.budget;
    this.form.hidden = !this.isOpen;
    this.element.hidden = !this.budget && !this.isOpen;
    setAttribute(this.button, "aria-expanded", String(this.isOpen));
  }

  /** Draw the budget; null: there is none. */
  draw(budget) {
    if (budget === this.budget) return;
    this.budget = budget;
    this.show();
    if (!budget) return;
    const { parts } = this, shares = budgetShares(budget), state = budgetState(budget);
    setText(parts.name, `Budget ${asPrice(budget.limit)}`);
    parts.spent.style.width = `${shares.spent}%`;
    parts.reserved.style.width = `${shares.reserved}%`;
    const said = this.figures.map(({ name, text }) => {
      const words = `${name} ${dollars(budget[name])}`;
      setText(text, words);
      return words;
    });
    const used = Math.min(budget.spent + budget.reserved, budget.limit);
    for (const [name, value] of [["valuemax", budget.limit || 1], ["valuenow", used], ["valuetext", said.join(", ")]]) {
      setAttribute(this.meter, `aria-${name}`, value);
    }
    setAttribute(this.element, "data-state", state || null);
    setText(parts.note, NOTES[state]?.(Math.floor(shares.spent)) ?? "");
  }
}
