// The form for a new agent. It sends what is typed and clicked to whisper_nb/notebook/form/form.py, and shows what the
// kernel answers: problems beside their fields, choices, previews, and the outcome of Create and Save.

import { Connection } from "../panel/view/connection.js";
import { color, h, options, setAttribute, setText } from "../panel/view/elements.js";
import { hue, initials } from "../panel/view/words.js";

/** Models that the list shows at once. */
const MODELS_SHOWN = 60;
/** The shares of the form in view at which its bar is moved, and the height above which the bar is not. */
const STEPS = Array.from({ length: 201 }, (_, step) => step / 200);
const LEAST_IN_VIEW = 170;
const WHAT_FOR = "Create makes the agent in this kernel. Save writes its file, for every notebook of the project.";
const NO_KERNEL = "No kernel answers. If it was restarted, run the cell with the form again.";
const KERNEL_BUSY = "The kernel is busy with a cell: the form goes on when it ends or awaits.";
const NO_TOOLS = "No cell of this notebook has defined a function. Run one that does, and it is listed here: "
  + "the model gets its name, its arguments and its docstring.";
const AUTO = { autocomplete: "off", autocapitalize: "off", spellcheck: "false" };

/** The names in a text with commas between them. */
const namesIn = (text) => text.split(",").map((name) => name.trim()).filter(Boolean);

/** The choices that contain every word of the text; all for an empty text. */
export function matching(choices, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return choices.filter(({ model, about, group }) => {
    const all = `${model} ${about} ${group}`.toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** Copy a text. Where the page may not, select it, so that the user can. */
async function copy(text, element, button) {
  try {
    await navigator.clipboard.writeText(text);
    setText(button, "Copied");
    setTimeout(() => setText(button, "Copy"), 1500);
  } catch {
    getSelection().selectAllChildren(element);
  }
}

function copyButton(element, what) {
  const button = h("button.wnb-button.wnf-copy", { type: "button", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", () => copy(element.textContent, element, button));
  return button;
}

// Fields. Each has `element` to place, `input` with the text, and may have `show(parts)` for what the kernel offers.

/** One line, or several. */
class LineField {
  constructor(form, spec, attributes) {
    this.input = spec.as === "lines"
      ? h("textarea.wnb-input.wnf-input", { rows: "4", placeholder: spec.placeholder, ...attributes })
      : h("input.wnb-input.wnf-input", { type: "text", ...AUTO, ...attributes });
    this.element = this.input;
    if (spec.as === "lines") this.addFiles(form);
  }

  /** Add a list of prompt files, whose choice loads one. */
  addFiles(form) {
    this.files = h("select.wnb-select", { "aria-label": "Load a prompt file" });
    this.files.addEventListener("change", () => {
      form.act({ do: "load", file: this.files.value });
      this.files.value = "";
    });
    this.element = h("div.wnf-stack", {}, this.input, this.files);
    this.show = ({ files }) => {
      if (!files) return;
      this.files.hidden = !files.length;
      this.files.replaceChildren(h("option", { value: "" }, "Load a prompt file…"), ...options(files));
    };
  }
}

/** One of a few values, or the default. */
class ChoiceField {
  constructor(form, spec, attributes) {
    this.input = this.element = h("select.wnb-select.wnf-input", attributes);
    this.input.append(h("option", { value: "" }, "default"), ...options(spec.options));
  }
}

/** A type of answers: typed, or chosen from the browser's own list. */
class TypeField {
  constructor(form, spec, attributes) {
    const list = `${attributes.id}-list`;
    this.choices = h("datalist", { id: list });
    this.input = h("input.wnb-input.wnf-input", { type: "text", list, ...AUTO, ...attributes, placeholder: "Verdict, list[str]" });
    this.element = h("div.wnf-stack", {}, this.input, this.choices);
  }

  show({ types }) {
    if (types) this.choices.replaceChildren(...types.map(({ name, about }) => h("option", { value: name }, about)));
  }
}

/** A model: typed, or chosen from a list that is filtered by what is typed. */
class ModelField {
  choices = [];
  active = -1;

  constructor(form, spec, attributes) {
    const list = `${attributes.id}-list`;
    this.input = h("input.wnb-input.wnf-input", {
      type: "text", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list,
      ...AUTO, ...attributes, placeholder: "provider/model",
    });
    this.list = h("div.wnf-models", { id: list, role: "listbox", "aria-label": "Models", hidden: true });
    this.more = h("div.wnf-more", { hidden: true });
    const arrow = h("button.wnb-button.wnf-arrow", { type: "button", tabindex: "-1", "aria-label": "Show models" }, "▾");
    arrow.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.input.focus();
      this.open(!this.list.hidden ? null : "");
    });
    this.element = h("div.wnf-stack", {}, h("div.wnf-with", {}, this.input, arrow), this.list, this.more);
    this.input.addEventListener("input", () => this.open(this.input.value));
    this.input.addEventListener("click", () => { if (this.list.hidden) this.open(""); });
    this.input.addEventListener("blur", () => this.open(null));
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the focus stays
      const at = [...this.list.children].indexOf(event.target.closest("[role=option]"));
      if (at >= 0) this.choose(at);
    });
  }

  show({ models }) {
    if (!models) return;
    this.choices = models;
    if (!this.list.hidden) this.open(this.filter);
  }

  /** Show the models that match; null closes the list. */
  open(filter) {
    this.filter = filter;
    this.found = filter === null ? [] : matching(this.choices, filter);
    this.list.hidden = !this.found.length;
    const over = this.found.length - MODELS_SHOWN;
    this.more.hidden = over <= 0;
    setText(this.more, `${over} more: type a part of the name`);
    setAttribute(this.input, "aria-expanded", String(!this.list.hidden));
    this.list.replaceChildren(...this.found.slice(0, MODELS_SHOWN).map(({ model, about, group }, at) => {
      const ready = group.startsWith("Can ");
      return h(
        "div.wnf-model", { role: "option", id: `${this.list.id}-${at}`, "aria-selected": "false", "data-ready": ready },
        h("span.wnf-model-name", {}, model),
        h("span.wnf-model-about", {}, [about, ready ? "" : group].filter(Boolean).join(" · ")),
      );
    }));
    this.activate(-1);
  }

  activate(at) {
    const before = this.list.children[this.active], option = this.list.children[at];
    this.active = at;
    if (before) setAttribute(before, "aria-selected", "false");
    setAttribute(this.input, "aria-activedescendant", option?.id);
    if (!option) return;
    setAttribute(option, "aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
  }

  choose(at) {
    this.input.value = this.found[at].model;
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
    this.open(null);
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const wasOpen = !this.list.hidden;
      if (!wasOpen) this.open("");
      const count = this.list.children.length;
      if (count) this.activate(wasOpen ? (this.active + step + count) % count : 0);
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.choose(this.active);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.open(null);
    }
  }
}

/** The functions of the notebook, to be checked; others by name. */
class ToolsField {
  tools = [];

  constructor(form, spec, attributes) {
    this.input = h("input.wnb-input.wnf-input", { type: "text", ...AUTO, ...attributes, placeholder: "rows, plot" });
    this.list = h("div.wnf-tools", { role: "group", "aria-label": "Functions of this notebook" });
    this.before = this.list;
    this.element = this.input;
    this.input.addEventListener("input", () => this.follow());
    this.list.addEventListener("change", ({ target }) => this.toggle(target.value, target.checked));
  }

  show({ tools }) {
    if (!tools) return;
    this.tools = tools;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.value : null;
    this.list.replaceChildren(...tools.map((tool) => this.makeTool(tool)));
    if (!tools.length) this.list.append(h("p.wnf-help", {}, NO_TOOLS));
    this.follow();
    if (focused !== null) [...this.boxes].find((box) => box.value === focused)?.focus();
  }

  get boxes() {
    return this.list.querySelectorAll("input");
  }

  makeTool({ name, signature, about }) {
    return h(
      "label.wnf-tool", {},
      h("input", { type: "checkbox", value: name }),
      h("span", {}, h("code", {}, h("strong", {}, name), signature), h("span.wnf-help", {}, about || "No docstring")),
    );
  }

  toggle(name, yes) {
    const names = namesIn(this.input.value).filter((one) => one !== name);
    this.input.value = (yes ? [...names, name] : names).join(", ");
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  follow() {
    const names = new Set(namesIn(this.input.value));
    for (const box of this.boxes) box.checked = names.has(box.value);
  }
}

/** A row of buttons that type a text, beside the input. */
class PickField {
  constructor(form, spec, attributes) {
    this.input = h("input.wnb-input.wnf-short", { type: "text", ...AUTO, ...attributes });
    this.picks = h("div.wnf-picks", { role: "group", "aria-label": `${spec.label}s to choose from` });
    this.element = h("div.wnf-with.wnf-wrap", {}, this.input);
    if (spec.as === "color") this.addPicker(spec);
    this.element.append(this.picks);
    for (const text of spec.picks) this.picks.append(this.makePick(text, spec.as));
    this.input.addEventListener("input", () => this.follow());
  }

  makePick(text, kind) {
    const pick = h("button.wnb-button.wnf-pick", {
      type: "button", value: text, "aria-label": text, "aria-pressed": "false", onclick: () => this.set(text),
    }, kind === "icon" ? text : "");
    if (kind === "color") pick.style.setProperty("--wnf-shade", text);
    return pick;
  }

  /** Add the browser's own picker. */
  addPicker(spec) {
    this.picker = h("input.wnf-picker", { type: "color", "aria-label": `Pick any ${spec.label.toLowerCase()}` });
    this.picker.addEventListener("input", () => this.set(this.picker.value));
    this.element.append(this.picker);
  }

  set(text) {
    this.input.value = this.input.value === text ? "" : text;
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  follow() {
    const text = this.input.value.trim();
    for (const pick of this.picks.children) setAttribute(pick, "aria-pressed", String(pick.value === text.toLowerCase()));
    if (this.picker && color(text)) this.picker.value = hexOf(text);
  }
}

/** A color of CSS as `#rrggbb`. */
function hexOf(text) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = text;
  return pen.fillStyle;
}

const KINDS = { line: LineField, lines: LineField, choice: ChoiceField, type: TypeField, model: ModelField, tools: ToolsField };

/** A field with its label, its default, its meaning, and the kernel's note about it. */
class Field {
  constructor(form, spec) {
    const id = `${form.connection.view}-${spec.id}`;
    const part = (name) => `${id}-${name}`;
    [this.spec, this.section] = [spec, null];
    const attributes = { id, "aria-describedby": `${part("help")} ${part("note")} ${part("default")}` };
    this.control = new (KINDS[spec.as] ?? PickField)(form, spec, attributes);
    this.input = this.control.input;
    this.defaultText = h("span.wnf-default", { id: part("default") });
    this.help = h("p.wnf-help", { id: part("help") }, spec.help);
    this.note = h("p.wnf-note", { id: part("note"), role: "status" });
    this.element = h(
      "div.wnf-field", { "data-as": spec.as }, this.control.before ?? "",
      h("div.wnf-label", {}, h("label", { for: id }, spec.label), this.defaultText),
      this.control.element, this.note, this.help,
    );
    this.input.addEventListener(spec.as === "choice" ? "change" : "input", () => {
      this.mark();
      form.typed(spec.id, this.text);
    });
  }

  get text() {
    return this.input.value;
  }

  set text(text) {
    if (this.input.value === text) return;
    this.input.value = text;
    this.control.follow?.();
    this.mark();
  }

  mark() {
    setAttribute(this.element, "data-set", this.text.trim() ? "" : null);
  }

  showNote([kind, text] = ["note", ""]) {
    setText(this.note, text);
    setAttribute(this.note, "data-kind", kind);
    this.isWrong = kind === "error" && text !== "";
    setAttribute(this.input, "aria-invalid", this.isWrong ? "true" : null);
    setAttribute(this.element, "data-wrong", this.isWrong ? "" : null);
  }

  showDefault(text) {
    setText(this.defaultText, text ? `default: ${text}` : "");
  }

  focus() {
    if (this.section) this.section.element.open = true;
    this.input.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "center" }); // with the note below the input
  }
}

/** Fields below one heading, folded or not. */
class FieldSection {
  constructor(form, { title, about, fields }) {
    this.fields = fields.map((spec) => new Field(form, spec));
    const elements = this.fields.map((field) => field.element);
    if (!title) {
      this.element = h("div.wnf-first", {}, ...elements);
      return;
    }
    for (const field of this.fields) field.section = this;
    this.about = about;
    this.state = h("span.wnf-state");
    this.element = h(
      "details.wnf-section", {}, h("summary", { tabindex: "0" }, h("span.wnf-title", {}, title), this.state),
      h("div.wnf-inside", {}, h("p.wnf-about", {}, about), ...elements),
    );
  }

  /** Say in the heading what is set, and what is wrong. */
  summarize() {
    const shown = this.fields.filter((field) => !field.element.hidden);
    this.element.hidden = !shown.length;
    if (!this.state) return;
    const wrong = shown.filter((field) => field.isWrong).length;
    const set = shown.filter((field) => field.text.trim()).map(({ spec, text }) => (
      spec.as === "tools" || spec.as === "icon" ? text : `${spec.label.toLowerCase()} ${text}`
    ));
    const [kind, text] = wrong ? ["error", `${wrong} to correct`] : ["set", set.join(", ")];
    setText(this.state, text || this.about);
    setAttribute(this.state, "data-kind", text ? kind : "about");
  }
}

/** What the agent will be, as text to copy. */
class Preview {
  constructor(name, about) {
    this.text = h("pre", { tabindex: "0", role: "region", "aria-label": name });
    const head = h("div.wnf-preview-head", {}, h("strong", {}, name), h("span.wnf-default", {}, about));
    head.append(copyButton(this.text, name));
    this.element = h("div.wnf-preview", {}, head, this.text);
  }
}

/** The outcome of an action, or a question. */
class Outcome {
  constructor(form) {
    this.text = h("span");
    this.path = h("code.wnf-path", { hidden: true });
    this.copy = copyButton(this.path, "the path");
    this.then = h("div.wnf-help");
    this.question = h("span");
    this.yes = h("button.wnb-button.wnb-danger", { type: "button", onclick: () => form.act({ do: "confirm" }) });
    const keep = h("button.wnb-button", { type: "button", onclick: () => form.act({ do: "keep" }) }, "Keep as it is");
    this.asked = h("div.wnf-asked", { role: "group", "aria-label": "Question", hidden: true }, this.question, this.yes, keep);
    this.line = h("div.wnf-line", {}, this.text, " ", this.path, " ", this.copy);
    this.element = h("div.wnf-outcome", { role: "status" }, this.line, this.then, this.asked);
  }

  show({ status, question }) {
    if (status) {
      setText(this.text, status.text ?? "");
      setText(this.path, status.path ?? "");
      setText(this.then, status.then ?? (status.text ? "" : WHAT_FOR));
      this.line.hidden = !status.text;
      this.path.hidden = this.copy.hidden = !status.path;
      setAttribute(this.element, "data-kind", status.kind);
    }
    if (question) {
      const wasAsked = !this.asked.hidden;
      this.asked.hidden = !question.text;
      setText(this.question, question.text ?? "");
      setText(this.yes, question.yes ?? "");
      if (question.text && !wasAsked) this.yes.nextSibling.focus(); // the harmless answer
    }
  }
}

/** One view of the form. */
class FormView {
  fields = new Map();
  sections = [];
  pending = {}; // what was typed while the kernel checks what was typed before
  inFlight = false;
  parts = {};

  constructor(model, el) {
    this.root = h("div.wnb.wnf", { role: "form", "aria-label": "New agent" });
    this.notice = h("div.wnf-notice", { role: "status", hidden: true });
    el.append(this.root);
    this.inView = new IntersectionObserver(([seen]) => this.lift(seen), { threshold: STEPS });
    this.inView.observe(this.root);
    this.connection = new Connection(model, (message) => this.hear(message));
    this.connection.ask({ do: "hello" });
  }

  build({ sections, icons, palette }) {
    const picks = { icon: icons, color: palette };
    this.sections = sections.map((section) => new FieldSection(this, {
      ...section, fields: section.fields.map((spec) => ({ ...spec, picks: picks[spec.as] })),
    }));
    this.fields = new Map(this.sections.flatMap(({ fields }) => fields).map((field) => [field.spec.id, field]));
    this.icon = h("span.wnf-icon", { "aria-hidden": "true" });
    this.who = h("span.wnf-who");
    this.python = new Preview("Python", "a cell for any notebook");
    this.yaml = new Preview("YAML", "the file that Save writes");
    this.outcome = new Outcome(this);
    const button = (text, request, title, look = "") => h(
      `button.wnb-button${look}`, { type: "button", title, onclick: () => this.submit(request) }, text,
    );
    this.root.replaceChildren(
      h("div.wnf-top", {}, this.icon, this.who),
      h(
        "div.wnf-body", {}, h("div.wnf-fields", {}, ...this.sections.map(({ element }) => element)),
        h("div.wnf-previews", { role: "group", "aria-label": "Preview" }, this.python.element, this.yaml.element),
      ),
      this.bar = h(
        "div.wnf-bar", {},
        button("Create", "create", "Create the agent in this kernel, now", ".wnb-main-button"),
        button("Save", "save", "Write agents/NAME.yaml, for every notebook of the project"), this.outcome.element,
      ),
      this.notice,
    );
  }

  hear(message) {
    if (message.kind === "silent") return this.showNotice(message.gone ? NO_KERNEL : KERNEL_BUSY, message.gone);
    this.showNotice("");
    if (message.kind === "all" && message.view === this.connection.view) {
      this.build(message.parts);
      this.take(message, true);
    } else if (message.kind === "form" && this.fields.size) this.take(message, message.view !== this.connection.view);
    return undefined;
  }

  /** Apply a message of the kernel. A text of mine is older than what was typed since. */
  take({ texts, parts }) {
    for (const [id, text] of Object.entries(texts)) {
      const field = this.fields.get(id);
      if (field && !(id in this.pending)) field.text = text;
    }
    Object.assign(this.parts, parts);
    const { notes, defaults, hidden, python, yaml } = parts;
    for (const [id, field] of this.fields) {
      if (notes) field.showNote(notes[id]);
      if (defaults) field.showDefault(defaults[id]);
      if (hidden) field.element.hidden = hidden.includes(id);
      field.control.show?.(parts);
    }
    for (const section of this.sections) section.summarize();
    if (python !== undefined) setText(this.python.text, python);
    if (yaml !== undefined) setText(this.yaml.text, yaml);
    this.outcome.show(parts);
    this.showWho();
  }

  /** Show how the agent will look in the panel. */
  showWho() {
    const text = (id) => this.fields.get(id).text.trim();
    const name = text("name");
    setText(this.who, [name || "New agent", text("title")].filter(Boolean).join(" · "));
    setText(this.icon, text("icon").slice(0, 8) || (name ? initials(name) : "+"));
    this.icon.style.setProperty("--wnb-hue", hue(name));
    const shade = color(text("color"));
    if (shade) this.icon.style.setProperty("--wnb-agent", shade);
    else this.icon.style.removeProperty("--wnb-agent");
  }

  showNotice(text, gone = false) {
    this.notice.hidden = !text;
    setText(this.notice, text);
    setAttribute(this.root, "data-gone", gone ? "" : null);
  }

  /** Keep the bar in view while the end of the form is not: it cannot stick to a box that scrolls around the output. */
  lift({ boundingClientRect: box, intersectionRect: seen }) {
    const most = box.height - LEAST_IN_VIEW;
    const height = seen.height ? Math.min(Math.max(0, box.bottom - seen.bottom), most) : 0;
    this.bar?.style.setProperty("transform", height > 1 ? `translateY(${-Math.ceil(height)}px)` : "none");
  }

  /** Send a text that was typed; while the kernel is at an earlier one, keep it, so that only the newest is sent. */
  typed(id, text) {
    this.pending[id] = text;
    this.flush();
  }

  flush(anyway = false) {
    if ((this.inFlight && !anyway) || !Object.keys(this.pending).length) return;
    const texts = this.pending;
    [this.pending, this.inFlight] = [{}, true];
    this.connection.ask({ do: "type", texts }, () => {
      this.inFlight = false;
      this.flush();
    });
  }

  act(request, done) {
    this.flush(true);
    this.connection.ask(request, done);
  }

  /** Create or save. If something is wrong, go to the first field that is. */
  submit(request) {
    this.act({ do: request }, () => {
      if (this.parts.wrong.length) this.fields.get(this.parts.wrong[0])?.focus();
    });
  }

  close() {
    this.inView.disconnect();
    this.connection.send({ do: "bye" });
    this.connection.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const view = new FormView(model, el);
  return () => view.close();
}

export default { render };
