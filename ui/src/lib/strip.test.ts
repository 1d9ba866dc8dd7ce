import { describe, expect, it } from "vitest";
import type { GlanceOut } from "../api/schema";
import { barsOf, HEIGHT, STEP, summaryOf, wordsOf } from "./strip";

function glance(state: GlanceOut["state"], more: Partial<GlanceOut> = {}): GlanceOut {
  return {
    id: "id",
    fire_time: "2026-11-27T10:00:00Z",
    state,
    reason: null,
    skipped_count: null,
    attempt_count: 1,
    duration_ms: 100,
    lateness_ms: 1,
    http_status: 200,
    error_kind: null,
    ...more,
  };
}

describe("the strip of last results", () => {
  it("draws one path for each tone, the newest at the right", () => {
    const paths = barsOf([glance("succeeded"), glance("succeeded"), glance("failed")], 5);
    expect(paths.map(([tone]) => tone)).toEqual(["good", "bad"]);
    const [good, bad] = paths.map(([, path]) => path) as [string, string];
    expect(good.match(/M/g)).toHaveLength(2);
    expect(good.startsWith(`M${2 * STEP} `)).toBe(true);
    expect(bad).toContain(`M${4 * STEP} ${HEIGHT}v${-HEIGHT}`);
  });

  it("draws a long one higher than a short one, and what did not run low", () => {
    const paths = barsOf(
      [
        glance("succeeded", { duration_ms: 1 }),
        glance("succeeded", { duration_ms: 900 }),
        glance("skipped", { duration_ms: null }),
      ],
      3,
    );
    const heights = paths.flatMap(([, path]) =>
      [...path.matchAll(/v-([\d.]+)/g)].map((found) => Number(found[1])),
    );
    const [short, long, hollow] = heights as [number, number, number];
    expect(short).toBeLessThan(long);
    expect(hollow).toBeLessThan(long);
  });

  it("is said in words", () => {
    expect(summaryOf([])).toBe("Nothing has run yet");
    expect(summaryOf([glance("succeeded"), glance("failed")])).toBe(
      "Of the last 2 executions 1 succeeded, 1 failed; the newest: failed",
    );
    expect(wordsOf(glance("failed", { http_status: 503 }), "UTC")).toBe(
      "Failed · 503 · 100 ms\n2026-11-27 10:00:00 UTC",
    );
  });
});
