// Numbers, times and costs in words. Pure.

export function ago(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

export function count(number) {
  if (number < 10_000) return number.toLocaleString("en");
  if (number < 1e5) return `${(number / 1000).toFixed(1)}k`;
  return number < 1e6 ? `${(number / 1000).toFixed(0)}k` : `${(number / 1e6).toFixed(1)}M`;
}

/** An estimated number of tokens: `~85`, `~1.2k`. */
export function about(tokens) {
  if (tokens < 1000) return tokens ? `~${tokens}` : "0";
  const [size, unit] = tokens < 999_500 ? [tokens / 1000, "k"] : [tokens / 1e6, "M"];
  return `~${size.toFixed(size < 99.95 ? 1 : 0)}${unit}`;
}

export function inAndOut(input, output) {
  return `in ${input.toLocaleString("en")} · out ${output.toLocaleString("en")} tokens`;
}

// A cost, and tokens in and out, of which those of some runs may be unknown: never understated. First in short, then in
// the words of the static form.

export function knownCost({ cost, unpriced, estimates, estimated }) {
  if (!unpriced) return dollars(cost);
  if (estimates >= unpriced) return `about ${dollars(cost + estimated)}`; // each unknown cost is estimated
  return cost ? `≥ ${dollars(cost)}` : "unknown";
}

export function knownTokens({ input, output, uncounted }, format = count) {
  if (uncounted && !input && !output) return "unknown";
  return `${uncounted ? "≥ " : ""}${format(input)} + ${format(output)}`;
}

export function costInWords(spent) {
  const isUnknown = spent.cost && spent.unpriced > spent.estimates;
  const rest = isUnknown ? `, ${spent.unpriced} run${spent.unpriced > 1 ? "s" : ""} unknown` : "";
  return knownCost(spent).replace("≥", "at least") + rest + (spent.at_work ? " so far" : "");
}

export function tokensInWords(spent) {
  return knownTokens(spent, (number) => number.toLocaleString("en")).replace("≥", "at least");
}

/** An amount that a person has set: `$2.00`, and `$0.0125` where cents are too coarse. */
export function asPrice(usd) {
  const cents = Math.round(usd * 1e9) / 1e7;
  return Number.isInteger(cents) ? `$${usd.toFixed(2)}` : dollars(usd);
}

export function dollars(cost) {
  if (cost === null || cost === undefined) return "unknown";
  if (cost === 0) return "$0";
  const decimals = Math.max(4, 2 - Math.floor(Math.log10(Math.abs(cost)))); // three digits of a small amount
  return `$${cost.toFixed(Math.min(decimals, 100)).replace(/(\.\d{4}\d*?)0+$/, "$1")}`;
}

/** The parts of a budget that are spent and reserved, in percent of it: together at most 100. */
export function budgetShares({ limit, spent, reserved }) {
  const used = limit ? Math.min(100, (100 * spent) / limit) : 100;
  return { spent: used, reserved: limit ? Math.min(100 - used, (100 * reserved) / limit) : 0 };
}

/** `used` if nothing is left to spend, `near` from 80 % on, or nothing. */
export function budgetState({ limit, spent }) {
  if (spent >= limit) return "used";
  return spent >= 0.8 * limit ? "near" : "";
}

/** Two letters that stand for an agent without an icon: of its words, or its first letter and the end of its number. */
export function initials(name) {
  const words = name.split(/[^\p{L}\p{N}]+|(?<=\p{L})(?=\p{N})/u).filter(Boolean);
  const first = [...(words[0] ?? name)], last = [...(words.at(-1) ?? "")];
  if (words.length < 2) return first.slice(0, 2).join("").replace(/^./u, (letter) => letter.toUpperCase());
  const isNumber = /^\p{N}/u.test(last[0]);
  return first[0].toUpperCase() + (isNumber ? last.slice(-1)[0] : last[0].toUpperCase());
}

/** The hue of an agent without a color, one of twelve: the same for the same name. In degrees. */
export function hue(name) {
  let hash = 2_166_136_261; // FNV-1a
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 16_777_619) >>> 0;
  return (((hash ^ (hash >>> 15)) >>> 0) % 12) * 30;
}
