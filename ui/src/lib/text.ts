/** `1 job`, `1,204 jobs`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** With a capital first letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `99.2 %`, `100 %` only where nothing failed. */
export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined) return "–";
  if (ratio === 1 || ratio === 0) return `${ratio * 100} %`;
  const shown = Math.min(99.9, Math.max(0.1, ratio * 100));
  return `${shown.toFixed(1)} %`;
}

/** A rate per minute with as many digits as it deserves. */
export function rate(perMinute: number): string {
  if (perMinute >= 100) return Math.round(perMinute).toLocaleString("en");
  if (perMinute >= 10) return perMinute.toFixed(0);
  return perMinute.toFixed(1).replace(/\.0$/, "");
}

/** JSON on several lines where it is JSON, the text itself otherwise. */
export function pretty(text: string): { text: string; json: boolean } {
  const trimmed = text.trim();
  if (!/^[[{"]/.test(trimmed)) return { text, json: false };
  try {
    return { text: JSON.stringify(JSON.parse(trimmed), null, 2), json: true };
  } catch {
    return { text, json: false };
  }
}

/** Where JSON stops making sense: a sentence with line and column; `null` where it is fine. */
export function jsonProblem(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch {
    // Engines tell of the place in different ways, or not at all.
    const at = jsonErrorAt(text);
    const found = text.slice(at, at + 1);
    const before = text.slice(0, at).split("\n");
    const what = found
      ? `${JSON.stringify(found)} does not fit`
      : "something is missing at the end";
    return `Not JSON: ${what} (line ${before.length}, column ${(before.at(-1) ?? "").length + 1})`;
  }
}

const BLANK = /[ \t\n\r]*/y;
const SCALAR =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in texts
  /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** The index of the first character that JSON (RFC 8259) does not allow where it stands. */
function jsonErrorAt(text: string): number {
  let at = 0;
  const skip = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return null;
    at += found.length;
    return found;
  };
  const is = (one: string): boolean => {
    skip(BLANK);
    if (text[at] !== one) return false;
    at += 1;
    return true;
  };
  // Each returns whether all went well; where it did not, `at` is the place.
  const value = (): boolean => {
    if (is("{")) return is("}") || (list(member) && is("}"));
    if (is("[")) return is("]") || (list(value) && is("]"));
    return skip(SCALAR) !== null;
  };
  const member = (): boolean => {
    skip(BLANK);
    return text[at] === '"' && skip(SCALAR) !== null && is(":") && value();
  };
  const list = (item: () => boolean): boolean => {
    do if (!item()) return false;
    while (is(","));
    return true;
  };
  if (value()) skip(BLANK);
  return at;
}
