import { describe, expect, it } from "vitest";
import { fromCron, type Simple, toCron } from "./cron";

describe("the builder and cron", () => {
  const pairs: [Simple, string][] = [
    [{ kind: "minutes", every: 1 }, "* * * * *"],
    [{ kind: "minutes", every: 15 }, "*/15 * * * *"],
    [{ kind: "hourly", minute: 5 }, "5 * * * *"],
    [{ kind: "daily", hour: 2, minute: 0 }, "0 2 * * *"],
    [{ kind: "weekly", days: [1, 2, 3, 4, 5], hour: 7, minute: 30 }, "30 7 * * MON-FRI"],
    [{ kind: "weekly", days: [0, 3], hour: 7, minute: 30 }, "30 7 * * SUN,WED"],
    [{ kind: "monthly", day: 31, hour: 23, minute: 59 }, "59 23 31 * *"],
  ];
  it.each(pairs)("%o is %s, and back", (simple, cron) => {
    expect(toCron(simple)).toBe(cron);
    expect(fromCron(cron)).toEqual(simple);
  });

  it("reads the numbers of weekdays, 7 too", () => {
    expect(fromCron("0 9 * * 1-5")).toMatchObject({ days: [1, 2, 3, 4, 5] });
    expect(fromCron("0 9 * * 7")).toMatchObject({ days: [0] });
  });

  it.each([
    "0 0 2 * * *",
    "@hourly",
    "*/7 * * * *",
    "0 2 * 6 *",
    "0 2 1 * MON",
    "0 2,14 * * *",
    "60 2 * * *",
    "0 24 * * *",
    "0 9 * * 5-1",
    "0 9 * * MON-",
    "",
  ])("says that %s is more than it can show", (cron) => {
    expect(fromCron(cron)).toBeNull();
  });

  it("takes all days of the week for every day", () => {
    expect(toCron({ kind: "weekly", days: [0, 1, 2, 3, 4, 5, 6], hour: 1, minute: 0 })).toBe(
      "0 1 * * *",
    );
  });
});
