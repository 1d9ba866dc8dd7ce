import { describe, expect, it } from "vitest";
import { count, jsonProblem, percent, pretty, rate } from "./text";

it("counts in words", () => {
  expect([count(1, "job"), count(0, "job"), count(1_204, "job")]).toEqual([
    "1 job",
    "0 jobs",
    "1,204 jobs",
  ]);
});

it("never rounds a failure away", () => {
  expect([1, 0.99999, 0.5, 0.00001, 0, null].map((ratio) => percent(ratio))).toEqual([
    "100 %",
    "99.9 %",
    "50.0 %",
    "0.1 %",
    "0 %",
    "–",
  ]);
});

it("gives rates the digits they deserve", () => {
  expect([0, 0.25, 9, 42.4, 12_345].map(rate)).toEqual(["0", "0.3", "9", "42", "12,345"]);
});

describe("JSON", () => {
  it("is printed on several lines, and only JSON is", () => {
    expect(pretty('{"a":1}')).toEqual({ text: '{\n  "a": 1\n}', json: true });
    expect(pretty("{ no")).toEqual({ text: "{ no", json: false });
    expect(pretty("")).toEqual({ text: "", json: false });
  });

  it("says where it stops making sense", () => {
    expect(jsonProblem('{"a": 1}')).toBeNull();
    expect(jsonProblem('{\n  "a": x\n}')).toMatch(/\(line 2, column 8\)$/);
    expect(jsonProblem('{"a": ')).toMatch(/\(line 1, column 7\)$/);
  });
});
