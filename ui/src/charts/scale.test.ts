import { describe, expect, it } from "vitest";
import { clockTime } from "../lib/time";
import { alone, countsInWords, linear, logarithmic, valuesInWords } from "./scale";
import { timeTicks } from "./TimeBars";

describe("positions of a chart", () => {
  it("are even, whichever way the axis runs, and lead back", () => {
    const y = linear([0, 50], [100, 0]);
    expect([y(0), y(25), y(50)]).toEqual([100, 50, 0]);
    expect(y.invert(75)).toBe(12.5);
  });

  it("are a place and no number that is none, where the range is empty", () => {
    expect(linear([3, 3], [0, 10])(3)).toBe(0);
    expect(linear([0, 1], [5, 5]).invert(5)).toBe(0);
  });

  it("are by magnitude where lengths of time are small mostly", () => {
    const y = logarithmic([1, 10_000], [0, 4]);
    expect([y(1), y(100), y(10_000)]).toEqual([0, 2, 4]);
    expect(y.invert(3)).toBeCloseTo(1_000);
  });
});

describe("what a chart shows, in words", () => {
  it("are sums, and when there was most", () => {
    const bars = [
      { at: 1, values: [3, 0] },
      { at: 2, values: [1_200, 4] },
    ];
    expect(countsInWords(bars, ["succeeded", "failed"], (at) => `minute ${at}`)).toBe(
      "1,203 succeeded, 4 failed; most at minute 2",
    );
    expect(countsInWords([], ["succeeded"], String)).toBe("0 succeeded");
  });

  it("are the least, the most and the newest of what was measured", () => {
    const points = [{ values: [5, null] }, { values: [2, null] }, { values: [null, null] }];
    expect(valuesInWords(points, ["p50", "p99"], (ms) => `${ms} ms`)).toBe(
      "p50 from 2 ms to 5 ms, the newest 2 ms; p99 is not known",
    );
  });
});

describe("a line", () => {
  it("shows the points that no other is beside", () => {
    const values = [1, null, 2, 3, null, null, 4];
    const points = values.map((value, at) => ({ at, values: [value] }));
    expect(alone(points, 0)).toEqual([
      { at: 0, value: 1 },
      { at: 6, value: 4 },
    ]);
    expect(alone([{ at: 5, values: [7] }], 0)).toEqual([{ at: 5, value: 7 }]);
  });
});

describe("the ticks of an axis of time", () => {
  it.each([
    ["Europe/Berlin", "2026-10-22T10:00:00Z", "2026-10-28T10:00:00Z"],
    ["Europe/Berlin", "2026-03-26T10:00:00Z", "2026-04-01T10:00:00Z"],
    ["America/New_York", "2026-10-29T10:00:00Z", "2026-11-04T10:00:00Z"],
    ["Asia/Kolkata", "2026-10-29T10:00:00Z", "2026-11-04T10:00:00Z"],
  ])("are midnights in %s on both sides of a change of the clocks", (zone, since, until) => {
    const ticks = timeTicks(Date.parse(since), Date.parse(until), 600, zone);
    expect(ticks.length).toBeGreaterThan(4);
    for (const at of ticks) expect(clockTime(at, zone, false)).toBe("00:00");
  });
});
