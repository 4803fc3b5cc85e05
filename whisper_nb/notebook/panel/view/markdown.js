// Markdown that the kernel has parsed: a tree of tags and texts, of which elements are created. Nothing else gets through.

import { h, makeCopy } from "./elements.js";

const TAGS = new Set([
  "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "s", "strong", "table",
  "tbody", "td", "th", "thead", "tr", "ul",
]);
const STYLES = new Set(["keyword", "string", "number", "comment", "builtin", "def"]);

/** The elements and texts of a tree: `["p", "", "text", ["a", "https://…", "text"]]`. */
export function drawMarkdown(tree) {
  return tree.map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const [tag, attribute, ...children] = node;
    if (tag === "pre") return drawCode(attribute, children);
    if (tag === "a" && /^https?:\/\//i.test(attribute)) {
      return h("a", { href: attribute, target: "_blank", rel: "noopener noreferrer" }, ...drawMarkdown(children));
    }
    if (!TAGS.has(tag)) return h("span", {}, ...drawMarkdown(children));
    const start = tag === "ol" && /^\d{1,9}$/.test(attribute) ? attribute : undefined;
    return h(tag === "table" ? "table.wnb-prose-table" : tag, { start }, ...drawMarkdown(children));
  });
}

/** A block of code: pieces of one style each, and a button that copies all of it. */
function drawCode(language, pieces) {
  const spans = pieces.map(([style, text]) => (STYLES.has(style) ? h(`span.wnb-code-${style}`, {}, text) : text));
  const code = h("pre.wnb-code", { tabindex: "0", role: "group", "aria-label": `Code ${language}`.trim() }, ...spans);
  return h("div.wnb-block", {}, makeCopy("Copy the code", () => code.textContent), code);
}
