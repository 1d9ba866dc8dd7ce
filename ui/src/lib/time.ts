const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** On average, in the Gregorian calendar. */
const YEAR = 365.2425 * DAY;
const MONTH = YEAR / 12;

export const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, kind: string, options: Intl.DateTimeFormatOptions) {
  const key = `${zone}|${kind}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-CA", { timeZone: zone, hourCycle: "h23", ...options });
    formats.set(key, found);
  }
  return found;
}

function parts(at: number, zone: string): Record<string, string> {
  const found = format(zone, "parts", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    weekday: "short",
  }).formatToParts(at);
  return Object.fromEntries(found.map((part) => [part.type, part.value]));
}

/** `2026-11-27 14:03:05 UTC+1`, with milliseconds where there are any. */
export function exactTime(at: number, zone: string): string {
  const p = parts(at, zone);
  const ms = Math.floor(at) % SECOND;
  const fraction = ms ? `.${String(ms).padStart(3, "0")}` : "";
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}${fraction} ${offsetName(at, zone)}`;
}

/** `14:03:05`. */
export function clockTime(at: number, zone: string, seconds = true): string {
  const p = parts(at, zone);
  return `${p.hour}:${p.minute}${seconds ? `:${p.second}` : ""}`;
}

/** `Fri 27 Nov`. */
export function dayOf(at: number, zone: string): string {
  const month = format(zone, "month", { month: "short" }).format(at).replace(".", "");
  const p = parts(at, zone);
  return `${p.weekday?.replace(".", "")} ${Number(p.day)} ${month}`;
}

/** `2026-11-27`, the local date. */
export function dateOf(at: number, zone: string): string {
  const p = parts(at, zone);
  return `${p.year}-${p.month}-${p.day}`;
}

/** The time alone for today, with the day for another one. */
export function shortTime(at: number, zone: string, now: number): string {
  if (dateOf(at, zone) === dateOf(now, zone)) return clockTime(at, zone);
  return `${dayOf(at, zone)}, ${clockTime(at, zone, false)}`;
}

/** `3m`, `2h 5m`, `4d 3h`, `5mo`, `4y 1mo`: at most two units, rounded down. */
export function span(ms: number): string {
  const abs = Math.abs(ms);
  if (abs < MINUTE) return `${Math.floor(abs / SECOND)}s`;
  if (abs < HOUR) {
    const seconds = Math.floor((abs % MINUTE) / SECOND);
    return abs < 10 * MINUTE && seconds
      ? `${Math.floor(abs / MINUTE)}m ${seconds}s`
      : `${Math.floor(abs / MINUTE)}m`;
  }
  if (abs < DAY) {
    const minutes = Math.floor((abs % HOUR) / MINUTE);
    return minutes ? `${Math.floor(abs / HOUR)}h ${minutes}m` : `${Math.floor(abs / HOUR)}h`;
  }
  const hours = Math.floor((abs % DAY) / HOUR);
  const days = Math.floor(abs / DAY);
  if (days < 90) return hours && days < 14 ? `${days}d ${hours}h` : `${days}d`;
  // A little is forgiven: three years by the calendar are a few hours off from three on average.
  const months = Math.floor((abs + DAY) / MONTH);
  if (months < 12) return `${months}mo`;
  const rest = months % 12;
  return rest && months < 120
    ? `${Math.floor(months / 12)}y ${rest}mo`
    : `${Math.floor(months / 12)}y`;
}

/** `in 3m`, `2h 5m ago`, `now`. */
export function relative(at: number, now: number): string {
  const left = at - now;
  if (Math.abs(left) < SECOND) return "now";
  return left > 0 ? `in ${span(left)}` : `${span(left)} ago`;
}

/** A measured length of time: `0.8 ms`, `12 ms`, `1.25 s`, `2m 3s`. */
export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < MINUTE) return `${(ms / SECOND).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return span(ms);
}

/** The milliseconds of a duration as the API writes it (`1h30m`, `500ms`); NaN where it is none. */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * SECOND;
  const units: Record<string, number> = {
    ms: 1,
    s: SECOND,
    m: MINUTE,
    h: HOUR,
    d: DAY,
    w: 7 * DAY,
  };
  let rest = trimmed;
  let sum = 0;
  while (rest) {
    const found = /^(\d+(?:\.\d+)?)(ms|[smhdw])\s*/.exec(rest);
    if (!found) return Number.NaN;
    sum += Number(found[1]) * (units[found[2] as string] as number);
    rest = rest.slice(found[0].length);
  }
  return trimmed ? sum : Number.NaN;
}

/** For `<input type="datetime-local">`: the wall time in a zone. */
export function toWall(at: number, zone: string): string {
  const p = parts(at, zone);
  return `${p.year}-${p.month}-${p.day}T${p.hour}:${p.minute}:${p.second}`;
}

/** The instant of a wall time in a zone; the later offset where clocks go back. */
export function fromWall(wall: string, zone: string): number {
  const asUtc = Date.parse(`${wall.length === 16 ? `${wall}:00` : wall}Z`);
  if (Number.isNaN(asUtc)) return Number.NaN;
  // Twice, because the first guess may lie on the other side of a change of the clocks.
  let at = asUtc;
  for (let round = 0; round < 2; round += 1) at = asUtc - zoneOffset(at, zone);
  return at;
}

/** How far a zone's wall time is ahead of UTC, in milliseconds. */
export function zoneOffset(at: number, zone: string): number {
  const second = Math.floor(at / SECOND) * SECOND;
  return Date.parse(`${toWall(second, zone)}Z`) - second;
}

/** `UTC+1`, `UTC−3:30`. */
export function offsetName(at: number, zone: string): string {
  const minutes = zoneOffset(at, zone) / MINUTE;
  if (minutes === 0) return "UTC";
  const abs = Math.abs(minutes);
  const rest = abs % 60;
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(abs / 60)}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}
