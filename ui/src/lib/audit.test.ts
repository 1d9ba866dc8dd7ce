import { describe, expect, it } from "vitest";
import { actionWords, changeLines, subjectWords } from "./audit";

describe("the audit log in words", () => {
  it.each([
    ["job.pause", "Paused"],
    ["key.revoke", "Revoked"],
    ["session.create", "Signed in"],
    ["job.of_a_later_version", "job.of_a_later_version"],
  ])("%s is %s", (action, words) => expect(actionWords(action)).toBe(words));

  it("names what it was done to", () => {
    expect(subjectWords("signing")).toBe("signing key");
    expect(subjectWords("job")).toBe("job");
  });

  it("tells of what changed, and of nothing else", () => {
    const before = {
      status: "active",
      target: { url: "https://a", headers: { A: "1" } },
      tags: [],
    };
    const after = { status: "paused", target: { url: "https://a", headers: { B: "2" } }, tags: [] };
    expect(changeLines(before, after)).toEqual([
      "status: active → paused",
      "target.headers.A: 1 → none",
      "target.headers.B: 2",
    ]);
  });

  it("tells of what there was where there is nothing any more, and the reverse", () => {
    expect(changeLines({ name: "a", note: null }, null)).toEqual(["name: a"]);
    expect(changeLines(null, { execution: "01", count: 3 })).toEqual(["execution: 01", "count: 3"]);
    expect(changeLines(null, null)).toEqual([]);
    expect(changeLines({ tags: ["a"] }, { tags: ["a", "b"], ids: [] })).toEqual(["tags: a → a, b"]);
    expect(changeLines(null, "text")).toEqual(["text"]);
  });
});
