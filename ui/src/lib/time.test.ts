import { describe, expect, it } from "vitest";
import {
  clockTime,
  dateOf,
  exactTime,
  fromWall,
  millis,
  offsetName,
  parseDuration,
  relative,
  shortTime,
  span,
  toWall,
  zoneOffset,
} from "./time";

const NOW = Date.parse("2026-11-27T12:00:00Z");

describe("times in a zone", () => {
  it("are written with their offset, and with milliseconds where there are any", () => {
    expect(exactTime(NOW, "Europe/Berlin")).toBe("2026-11-27 13:00:00 UTC+1");
    expect(exactTime(NOW + 7, "UTC")).toBe("2026-11-27 12:00:00.007 UTC");
  });

  it("name the day only where it is another one", () => {
    expect(shortTime(NOW - 3_600_000, "UTC", NOW)).toBe("11:00:00");
    expect(shortTime(NOW - 13 * 3_600_000, "UTC", NOW)).toBe("Thu 26 Nov, 23:00");
    expect(clockTime(Date.parse("2026-11-27T00:00:00Z"), "UTC")).toBe("00:00:00");
    expect(dateOf(Date.parse("2026-11-27T23:30:00Z"), "Asia/Tokyo")).toBe("2026-11-28");
  });

  it("know half hours and changes of the clocks", () => {
    expect(offsetName(NOW, "Asia/Kolkata")).toBe("UTC+5:30");
    expect(offsetName(NOW, "America/St_Johns")).toBe("UTC−3:30");
    expect(zoneOffset(Date.parse("2026-07-01T00:00:00Z"), "Europe/Berlin")).toBe(7_200_000);
  });

  it.each(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])(
    "come back from the wall time in %s",
    (zone) => {
      for (let at = Date.parse("2026-01-01T00:30:00Z"); at < NOW; at += 91 * 3_600_000) {
        expect(fromWall(toWall(at, zone), zone)).toBe(at);
      }
    },
  );

  it("take a wall time that is skipped for one beside the gap", () => {
    const at = fromWall("2026-03-29T02:30", "Europe/Berlin");
    expect(Math.abs(at - Date.parse("2026-03-29T01:00:00Z"))).toBeLessThanOrEqual(1_800_000);
    expect(fromWall("", "UTC")).toBeNaN();
  });
});

describe("lengths of time", () => {
  it.each([
    [999, "0s"],
    [59_000, "59s"],
    [61_000, "1m 1s"],
    [600_000, "10m"],
    [3_660_000, "1h 1m"],
    [90_000_000, "1d 1h"],
    [14 * 86_400_000, "14d"],
    [89 * 86_400_000, "89d"],
    [184 * 86_400_000, "6mo"],
    [365 * 86_400_000, "1y"],
    [1_096 * 86_400_000, "3y"],
    [1_494 * 86_400_000, "4y 1mo"],
    [40 * 366 * 86_400_000, "40y"],
  ])("%d ms is %s", (ms, text) => expect(span(ms)).toBe(text));

  it("tell past and future apart", () => {
    expect(relative(NOW + 5_000, NOW)).toBe("in 5s");
    expect(relative(NOW - 5_000, NOW)).toBe("5s ago");
    expect(relative(NOW - 500, NOW)).toBe("now");
  });

  it("have as many digits as they deserve", () => {
    expect([null, 0.84, 42.4, 1_249, 65_000].map((ms) => millis(ms))).toEqual([
      "–",
      "0.8 ms",
      "42 ms",
      "1.25 s",
      "1m 5s",
    ]);
  });

  it.each([
    ["30", 30_000],
    ["1h30m", 5_400_000],
    ["500ms", 500],
    ["2d", 172_800_000],
    ["1.5h", 5_400_000],
  ])("%s is %d ms", (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(["", "soon", "1h soon", "-5s"])("%j is none", (text) =>
    expect(parseDuration(text)).toBeNaN(),
  );
});
