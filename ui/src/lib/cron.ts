/** A schedule as the builder shows it; each becomes one cron expression. */
export type Simple =
  | { kind: "minutes"; every: number }
  | { kind: "hourly"; minute: number }
  | { kind: "daily"; hour: number; minute: number }
  | { kind: "weekly"; days: number[]; hour: number; minute: number }
  | { kind: "monthly"; day: number; hour: number; minute: number };

export const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;

/** The cron expression (5 fields) of a simple schedule. */
export function toCron(simple: Simple): string {
  switch (simple.kind) {
    case "minutes":
      return simple.every === 1 ? "* * * * *" : `*/${simple.every} * * * *`;
    case "hourly":
      return `${simple.minute} * * * *`;
    case "daily":
      return `${simple.minute} ${simple.hour} * * *`;
    case "weekly":
      return `${simple.minute} ${simple.hour} * * ${days(simple.days)}`;
    case "monthly":
      return `${simple.minute} ${simple.hour} ${simple.day} * *`;
  }
}

/** The simple schedule that a cron expression says; `null` where it says more than that. */
export function fromCron(expression: string): Simple | null {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 5) return null;
  const [minute, hour, day, month, weekday] = fields as [string, string, string, string, string];
  if (month !== "*") return null;
  const m = number(minute, 0, 59);
  const h = number(hour, 0, 23);
  if (hour === "*" && day === "*" && weekday === "*") {
    if (minute === "*") return { kind: "minutes", every: 1 };
    const step = /^\*\/(\d+)$/.exec(minute);
    // */7 starts anew each hour, which "every 7 minutes" does not say.
    if (step && 60 % Number(step[1]) === 0) return { kind: "minutes", every: Number(step[1]) };
    return m === null ? null : { kind: "hourly", minute: m };
  }
  if (m === null || h === null) return null;
  if (day === "*" && weekday === "*") return { kind: "daily", hour: h, minute: m };
  if (day === "*") {
    const found = parseDays(weekday);
    return found && { kind: "weekly", days: found, hour: h, minute: m };
  }
  const d = number(day, 1, 31);
  return weekday === "*" && d !== null ? { kind: "monthly", day: d, hour: h, minute: m } : null;
}

function number(text: string, low: number, high: number): number | null {
  if (!/^\d{1,2}$/.test(text)) return null;
  const value = Number(text);
  return value >= low && value <= high ? value : null;
}

function days(chosen: number[]): string {
  const sorted = [...new Set(chosen)].sort();
  if (sorted.length === 0 || sorted.length === 7) return "*";
  if (sorted.join() === "1,2,3,4,5") return "MON-FRI";
  return sorted.map((day) => (WEEKDAYS[day] as string).toUpperCase()).join(",");
}

function parseDays(text: string): number[] | null {
  const found = new Set<number>();
  for (const part of text.toUpperCase().split(",")) {
    const [from, to, more] = part.split("-");
    const first = dayNumber(from ?? "");
    const last = to === undefined ? first : dayNumber(to);
    if (first === null || last === null || more !== undefined || last < first) return null;
    for (let day = first; day <= last; day += 1) found.add(day % 7);
  }
  return [...found].sort();
}

function dayNumber(text: string): number | null {
  const named = WEEKDAYS.findIndex((name) => name.toUpperCase() === text);
  return named >= 0 ? named : number(text, 0, 7);
}
