import { describe, expect, it } from "vitest";
import type { ExecutionOut, FireAheadOut } from "../api/schema";
import { AHEAD, lanesOf, PAST, stepOf, viewOf } from "./timeline";

const NOW = Date.parse("2026-11-27T12:00:30Z");
const HOUR = 3_600_000;

const ran = (job: string, at: number, state: string) =>
  ({
    id: `${job}-${at}`,
    job_id: job,
    job_name: job,
    fire_time: new Date(at).toISOString(),
    state,
  }) as ExecutionOut;
const ahead = (job: string, at: number): FireAheadOut => ({
  job_id: job,
  job_name: job,
  fire_time: new Date(at).toISOString(),
});

describe("what is looked at", () => {
  it("lies on the grid of its steps, with now in it", () => {
    for (const range of [300_000, HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR]) {
      const view = viewOf(NOW, range, NOW);
      expect(view.since % view.step).toBe(0);
      expect(view.until % view.step).toBe(0);
      expect((view.until - view.since) / view.step).toBeLessThanOrEqual(169);
      expect(view.since).toBeLessThan(NOW);
      expect(view.until).toBeGreaterThan(NOW);
    }
  });

  it("stays within what the server tells of, wherever one goes", () => {
    for (const center of [0, NOW - 60 * 24 * HOUR, NOW + 400 * 24 * HOUR]) {
      for (const range of [300_000, 28 * 24 * HOUR]) {
        const view = viewOf(center, range, NOW);
        expect(view.since).toBeGreaterThanOrEqual(NOW - PAST);
        expect(view.until).toBeLessThanOrEqual(NOW + AHEAD);
        expect(view.until).toBeGreaterThan(view.since);
      }
    }
  });

  it("has steps of whole minutes", () => {
    expect(stepOf(300_000)).toBe(60_000);
    expect(stepOf(28 * 24 * HOUR)).toBe(4 * HOUR);
  });
});

describe("the lanes", () => {
  const place = (at: number) => (at - NOW) / 1_000 + 100;

  it("have those that fail first, and show the worst of what falls on one place", () => {
    const lanes = lanesOf(
      [ran("b", NOW, "succeeded"), ran("b", NOW + 1_000, "failed"), ran("a", NOW, "succeeded")],
      [],
      place,
      200,
    );
    expect(lanes.map((lane) => lane.name)).toEqual(["b", "a"]);
    expect(lanes[0]?.marks).toEqual([
      { x: 100, state: "failed", count: 2, id: `b-${NOW + 1_000}`, at: NOW + 1_000 },
    ]);
  });

  it("do not count a fire twice that is claimed already", () => {
    const lanes = lanesOf([ran("a", NOW, "claimed")], [ahead("a", NOW)], place, 200);
    expect(lanes[0]?.total).toBe(1);
  });

  it("leave out what is not in sight", () => {
    expect(lanesOf([], [ahead("a", NOW + HOUR)], place, 200)[0]?.total).toBe(0);
  });
});
