// Drawing the picture of the team on a canvas: a picture of a thousand bars has no element for any of them.

import { arrows, barsIn, endOf, partsOf, ticks } from "./bars.js";

export const LANE = 32;
/** Arrows that are drawn at once; with more, only those of the chosen run are. */
const ARROWS = 60;
const BAR = 20, THIN = 5;
/** The width of a part that has room for words, and the fewest characters of a prompt that are shown. */
const ROOM = 60, WORDS = 8;

/**
 * Draw lanes. `view` has the size and what is shown: `{width, height, top, first, names, order, lanes, since, until,
 * now, chosen, colors}`, where `names` are the lanes in view, `first` the index of the first of them in `order`.
 */
export function drawLanes(context, view) {
  const { width, height, since, until, names, lanes, colors, now } = view;
  const scale = width / (until - since);
  const x = (time) => (time - since) * scale;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colors.rule;
  for (const tick of ticks(since, until, width)) context.fillRect(Math.round(tick.x), 0, 1, height);
  const brush = { context, x, colors, now, stripes: stripesFor(context, colors) };
  names.forEach((name, at) => {
    const lane = lanes.get(name);
    if (!lane) return;
    const y = (view.first + at) * LANE - view.top + (LANE - BAR) / 2;
    for (const bar of barsIn(lane, since, until, now)) {
      drawBar(brush, bar, y, Math.max(0, x(bar.since)), Math.min(width, x(endOf(bar, now))));
      if (bar === view.chosen) drawOutline(brush, y, x(bar.since), x(endOf(bar, now)));
    }
  });
  drawArrows(brush, view);
  if (now > since && now < until) {
    context.fillStyle = colors.accent;
    context.fillRect(Math.round(x(now)), 0, 1, height);
  }
}

/** A pattern of stripes in each color: the bar of a tool. Made again when colors or resolution change. */
function stripesFor(context, colors) {
  const ratio = context.getTransform().a;
  const key = `${ratio} ${Object.values(colors).join(" ")}`;
  if (context.wnbStripes?.key === key) return context.wnbStripes.found;
  const found = {};
  const size = 6 * ratio;
  for (const outcome of ["running", "succeeded", "failed", "cancelled"]) {
    const tile = document.createElement("canvas");
    [tile.width, tile.height] = [size, size];
    const pen = tile.getContext("2d");
    pen.fillStyle = colors[outcome];
    pen.globalAlpha = 0.3;
    pen.fillRect(0, 0, size, size);
    pen.globalAlpha = 1;
    pen.strokeStyle = colors[outcome];
    pen.lineWidth = 1.9 * ratio;
    pen.beginPath();
    for (const shift of [-size, 0, size]) {
      pen.moveTo(shift - 1, size + 1);
      pen.lineTo(shift + size + 1, -1);
    }
    pen.stroke();
    found[outcome] = context.createPattern(tile, "repeat");
    found[outcome].setTransform(new DOMMatrix().scale(1 / ratio));
  }
  context.wnbStripes = { key, found };
  return found;
}

function drawBar(brush, bar, y, left, right) {
  const { context, x, colors, now } = brush;
  const middle = y + BAR / 2;
  if (bar.outcome === "queued") {
    context.strokeStyle = colors.waiting;
    context.setLineDash([3, 3]);
    drawLine(context, left, middle, right, middle, 2);
    context.setLineDash([]);
    return;
  }
  const shade = colors[bar.outcome];
  const hollow = bar.outcome === "cancelled";
  let place = null; // of the words: the first part with room for them, or else the widest
  for (const { kind, from, to } of partsOf(bar, now)) {
    const start = Math.max(left, x(from)), end = Math.min(right, x(to));
    const wide = Math.max(end - start, 1.5);
    if (end < left || start > right) continue;
    if (kind.startsWith("waiting")) {
      context.fillStyle = shade;
      context.fillRect(start, middle - THIN / 2, wide, THIN);
      continue;
    }
    context.fillStyle = kind === "tool" ? brush.stripes[bar.outcome] : shade;
    if (hollow && kind !== "tool") context.globalAlpha = 0.35;
    fillBox(context, start, y, wide);
    context.globalAlpha = 1;
    if (kind === "tool" || hollow) frameBox(context, shade, start, y, wide);
    if (kind === "thinking" && (!place || (place.wide < ROOM && wide > place.wide))) place = { start, wide };
  }
  if (bar.outcome === "failed") drawCross(brush, right, y, right - left);
  if (place) drawWords(brush, bar, y, place, hollow);
}

function fillBox(context, x, y, width) {
  if (width < 5) return context.fillRect(x, y, width, BAR);
  context.beginPath();
  context.roundRect(x, y, width, BAR, 2.5);
  return context.fill();
}

function frameBox(context, shade, x, y, width) {
  if (width < 4) return;
  context.strokeStyle = shade;
  context.lineWidth = 1;
  context.strokeRect(x + 0.5, y + 0.5, width - 1, BAR - 1);
}

/** A failed run ends in a cross, so that it is told apart without colors, too. */
function drawCross({ context, colors }, right, y, width) {
  const half = width > 16 ? 3 : 2;
  const middle = y + BAR / 2, center = width > 16 ? right - 9 : right;
  context.strokeStyle = width > 16 ? colors.back : colors.text;
  for (const tilt of [half, -half]) drawLine(context, center - half, middle - tilt, center + half, middle + tilt, 1.8);
}

function drawWords({ context, colors }, bar, y, { start, wide }, hollow) {
  const room = wide - (bar.outcome === "failed" ? 22 : 9);
  if (room < 14) return;
  const short = bar.runs > 1 ? `${bar.runs} runs` : `#${bar.number}`;
  const text = bar.runs > 1 ? short : `${short} ${bar.line}`;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillStyle = hollow ? colors.text : colors.back;
  let shown = text.slice(0, Math.ceil(room / 4));
  let cut = shown.length < text.length;
  while (shown && context.measureText(cut ? `${shown}…` : shown).width > room) {
    shown = shown.slice(0, -1 - Math.floor(shown.length / 12));
    cut = true;
  }
  if (cut) shown = shown.length < short.length + WORDS ? short : `${shown}…`;
  if (shown === short && context.measureText(short).width > room) return;
  context.fillText(shown, start + 5, y + BAR / 2 + 0.5);
}

function drawOutline({ context, colors }, y, left, right) {
  context.strokeStyle = colors.text;
  context.lineWidth = 2;
  context.strokeRect(left - 2, y - 2, Math.max(right - left, 1.5) + 4, BAR + 4);
}

function drawLine(context, fromX, fromY, toX, toY, wide) {
  context.lineWidth = wide;
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

function drawArrows(brush, { names, order, lanes, first, top, since, until, now, chosen, height }) {
  const found = arrows(names, lanes, since, until, now);
  const { context, x, colors } = brush;
  const middle = (name) => {
    const at = order.indexOf(name);
    return at < 0 ? null : Math.min(Math.max((at + 0.5) * LANE - top, 3), height - 3);
  };
  for (const { agent, bar, target, from, to } of found) {
    const isChosen = bar === chosen;
    if (found.length > ARROWS && !isChosen) continue;
    const startY = middle(agent), endY = middle(target);
    if (endY === null || startY === null || startY === endY) continue;
    context.strokeStyle = context.fillStyle = isChosen ? colors.accent : colors.dim;
    context.globalAlpha = isChosen ? 1 : 0.65;
    drawArrow(context, x(from), startY, x(to), endY + Math.sign(startY - endY) * (BAR / 2), isChosen ? 2 : 1.2);
    context.globalAlpha = 1;
  }
}

/** A curve that leaves and arrives vertically, with a head at its end. */
function drawArrow(context, fromX, fromY, toX, toY, wide) {
  const sign = Math.sign(toY - fromY), bend = Math.min(Math.abs(toY - fromY) / 2, 30);
  context.lineWidth = wide;
  context.beginPath();
  context.moveTo(fromX, fromY + (sign * BAR) / 2);
  context.bezierCurveTo(fromX, fromY + sign * bend, toX, toY - sign * bend, toX, toY - sign * 5);
  context.stroke();
  context.beginPath();
  context.moveTo(toX, toY);
  context.lineTo(toX - 4, toY - sign * 7);
  context.lineTo(toX + 4, toY - sign * 7);
  context.fill();
}
