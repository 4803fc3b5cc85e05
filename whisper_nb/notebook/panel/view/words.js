// Numbers, times and costs in words. Pure.

export function ago(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

export function count(number) {
  if (number < 10_000) return String(number);
  if (number < 1e5) return `${(number / 1000).toFixed(1)}k`;
  return number < 1e6 ? `${(number / 1000).toFixed(0)}k` : `${(number / 1e6).toFixed(1)}M`;
}

// A cost, and tokens in and out, of which those of some runs may be unknown: never understated. First in short, then in
// the words of the static form.

export function knownCost({ cost, unpriced }) {
  if (!unpriced) return dollars(cost);
  return cost ? `≥ ${dollars(cost)}` : "unknown";
}

export function knownTokens({ input, output, uncounted }, format = count) {
  if (uncounted && !input && !output) return "unknown";
  return `${uncounted ? "≥ " : ""}${format(input)} + ${format(output)}`;
}

export function costInWords(spent) {
  const rest = spent.unpriced && spent.cost ? `, ${spent.unpriced} run${spent.unpriced > 1 ? "s" : ""} unknown` : "";
  return knownCost(spent).replace("≥", "at least") + rest + (spent.at_work ? " so far" : "");
}

export function tokensInWords(spent) {
  return knownTokens(spent, (number) => number.toLocaleString("en")).replace("≥", "at least");
}

export function dollars(cost) {
  if (cost === null || cost === undefined) return "unknown";
  if (cost === 0) return "$0";
  const decimals = Math.max(4, 2 - Math.floor(Math.log10(Math.abs(cost)))); // three digits of a small amount
  return `$${cost.toFixed(Math.min(decimals, 100)).replace(/(\.\d{4}\d*?)0+$/, "$1")}`;
}
