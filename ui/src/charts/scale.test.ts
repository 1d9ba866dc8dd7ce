import { describe, expect, it } from "vitest";
import { linear, logarithmic } from "./scale";

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
