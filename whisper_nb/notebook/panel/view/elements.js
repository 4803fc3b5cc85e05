// Elements of the page: created, and changed only where they differ. Texts become text nodes, never markup.

/** The color if it is a name or a hexadecimal number of CSS, or else nothing: no `url()` gets through. */
export const color = (text) =>
  /^(#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,20})$/i.test(text) && CSS.supports("color", text) ? text : "";

/** Create an element: `h("button.wnb-x", {onclick, "aria-label": …}, "text", child)`. Strings become text nodes. */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  // JupyterLab's keys act on cells wherever the focus is, except in an element with this mark.
  const takesKeys = ["button", "input", "select", "textarea", "summary", "a"].includes(tag) || "tabindex" in attributes;
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

export const hidden = (what) => h(what, { "aria-hidden": "true" });
export const options = (names) => names.map((name) => h("option", { value: name }, name));

/** Set a text only if it differs: a screen reader and the layout notice nothing else. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute only if it differs; null and false remove it. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Enable a button. A disabled one keeps the focus, which the attribute `disabled` would lose. */
export const setEnabled = (button, yes) => setAttribute(button, "aria-disabled", yes ? null : "true");

/** Update children by key: an element stays, with the focus in it, as long as its key is there. */
export function keyed(parent, items, keyOf, make, update) {
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

export function makeButton(text, onclick, label) {
  return h("button.wnb-button", { type: "button", onclick, "aria-label": label }, text);
}

/** Copy a text. Where the page may not, the browser's older way is tried. Returns whether it was copied. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { "aria-hidden": "true", style: "position: fixed; opacity: 0" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** A button that copies a text, and says for a moment that it did. `left` characters of the text are not in the page. */
export function makeCopy(label, textOf, left = () => 0) {
  const button = makeButton("Copy", async () => {
    const copied = await copyText(textOf());
    const done = left() ? `Copied all but ${left().toLocaleString("en")} characters` : "Copied";
    setText(button, copied ? done : "The browser forbids it");
    setTimeout(() => setText(button, "Copy"), 1500);
  }, label);
  button.classList.add("wnb-copy");
  return button;
}
