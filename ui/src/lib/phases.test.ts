import { describe, expect, it } from "vitest";
import type { AttemptOut } from "../api/schema";
import { courseOf } from "./phases";

type Timings = NonNullable<AttemptOut["timings"]>;

function attempt(timings: Partial<Timings>, more: Partial<AttemptOut> = {}): AttemptOut {
  return {
    number: 1,
    started_at: "2026-11-27T10:00:00Z",
    duration_ms: 1_000,
    http_status: null,
    error_kind: "timeout",
    error: "timed out",
    node: "alpha",
    response: null,
    timings: {
      dns_ms: null,
      connect_ms: null,
      tls_ms: null,
      first_byte_ms: null,
      total_ms: 1_000,
      ...timings,
    },
    ...more,
  };
}

function open(one: AttemptOut) {
  const course = courseOf(one);
  return course?.parts.filter((part) => part.open);
}

describe("where a call waited when it ended", () => {
  it("is the first byte where most of the time comes after the connection", () => {
    const one = attempt({ dns_ms: 2, connect_ms: 8, tls_ms: 20 });
    expect(open(one)).toEqual([{ phase: "first_byte_ms", start: 30, length: 970, open: true }]);
    expect(courseOf(one)?.untold).toBe(false);
  });

  it("is the first byte on a connection that was there already", () => {
    expect(open(attempt({}, { error_kind: "connection" }))).toEqual([
      { phase: "first_byte_ms", start: 0, length: 1_000, open: true },
    ]);
  });

  it.each([
    ["dns_ms", { dns_ms: 999 }, 0],
    ["connect_ms", { dns_ms: 2, connect_ms: 997 }, 2],
    ["proxy_ms", { connect_ms: 2, proxy_ms: 997 }, 2],
    ["tls_ms", { dns_ms: 2, connect_ms: 8, tls_ms: 989 }, 10],
  ])("is %s where that fills the time to the end", (phase, timings, start) => {
    expect(open(attempt(timings))).toMatchObject([{ phase, start }]);
  });

  it("is the body where a first byte came", () => {
    expect(open(attempt({ connect_ms: 10, first_byte_ms: 90 }))).toEqual([
      { phase: "body", start: 100, length: 900, open: true },
    ]);
  });

  it.each([
    ["it waited for a connection", attempt({}, { error: "waiting for a free connection to x" })],
    ["the rest is neither little nor most", attempt({ connect_ms: 700 })],
    ["it took no time", attempt({ total_ms: 0 })],
  ])("is not told where %s", (_, one) => {
    expect(open(one)).toEqual([]);
    expect(courseOf(one)?.untold).toBe(true);
  });
});

describe("a call that did not wait in vain", () => {
  it("has no phase without an end", () => {
    const one = attempt({ connect_ms: 10, first_byte_ms: 90 }, { error_kind: null });
    expect(open(one)).toEqual([]);
    expect(courseOf(one)).toMatchObject({ untold: false, total: 1_000 });
    expect(courseOf(one)?.parts.at(-1)).toMatchObject({ start: 100, length: 900 });
  });

  it("has none either where the answer was an error, or nothing was measured", () => {
    expect(open(attempt({ first_byte_ms: 900 }, { error_kind: "http_status" }))).toEqual([]);
    expect(courseOf(attempt({}, { timings: null }))).toBeNull();
  });
});
