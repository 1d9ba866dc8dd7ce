import { describe, expect, it } from "vitest";
import { type Facts, verdict } from "./verdict";

const FINE: Facts = {
  reachable: true,
  ready: true,
  limited: false,
  readyProblems: [],
  degraded: false,
  degradedReason: null,
  jobs: { active: 3, paused: 0, completed: 0, cancelled: 0 },
  failing: [],
  failingMore: false,
  skipped: 0,
  failed: 0,
  lapsedNodes: 0,
  window: "1h",
};

describe("is everything fine?", () => {
  it("says so only where it is", () => {
    expect(verdict(FINE)).toMatchObject({ tone: "good", title: "Everything is fine" });
  });

  // Each of these alone keeps it from saying that all is well.
  it.each<[string, Partial<Facts>, string, string]>([
    ["no answer", { reachable: false }, "bad", "The server does not answer"],
    ["not ready", { ready: false, readyProblems: ["no lease"] }, "bad", "This node does not fire"],
    ["degraded", { degraded: true, degradedReason: "5 of 9 failed" }, "bad", "Many calls fail"],
    ["one failing", { failing: ["a"] }, "bad", "a fails"],
    ["several failing", { failing: ["a", "b"] }, "bad", "2 jobs fail"],
    ["many failing", { failing: ["a", "b"], failingMore: true }, "bad", "More than 2 jobs fail"],
    ["a silent node", { lapsedNodes: 1 }, "warn", "1 node went silent"],
    ["skipped fires", { skipped: 2 }, "warn", "Everything that ran succeeded"],
    ["skipped and failed", { skipped: 2, failed: 1 }, "warn", "No job fails at the moment"],
    ["what fails not known yet", { failing: undefined }, "quiet", "Looking…"],
    ["the nodes not known yet", { lapsedNodes: undefined }, "quiet", "Looking…"],
    [
      "all paused",
      { jobs: { active: 0, paused: 2, completed: 0, cancelled: 0 } },
      "warn",
      "No job is active",
    ],
    [
      "nothing at all",
      { jobs: { active: 0, paused: 0, completed: 0, cancelled: 0 } },
      "quiet",
      "Ready, and nothing to do",
    ],
    [
      "a key that sees some jobs only",
      { limited: true, jobs: undefined },
      "good",
      "No job that this key sees fails",
    ],
    [
      "such a key, and one of its jobs fails",
      { limited: true, jobs: undefined, failing: ["a"] },
      "bad",
      "a fails",
    ],
    ["not known yet", { jobs: undefined }, "quiet", "Looking…"],
  ])("%s", (_, change, tone, title) => {
    expect(verdict({ ...FINE, ...change })).toMatchObject({ tone, title });
  });

  it("names the worst first", () => {
    const worst = verdict({ ...FINE, ready: false, degraded: true, failing: ["a"], skipped: 9 });
    expect(worst.title).toBe("This node does not fire");
  });
});
