import { describe, expect, it } from "vitest";
import type { JobOut } from "../api/schema";
import { asCurl, asPython, asYaml, python } from "./export";

const JOB = {
  name: "it-s",
  description: 'It\'s "quoted"',
  schedule: {
    every: "15m",
    timezone: "UTC",
    starts_at: null,
    ends_at: null,
    jitter: "0s",
    description: "Every 15 minutes",
  },
  target: {
    url: "https://example.com/?a='b'",
    method: "POST",
    body: { ok: true, no: null, list: [], text: "ü\n" },
  },
  retry: {},
  misfire: { policy: "latest", grace: null, max: 100 },
  overlap: "allow",
  delivery: "at_least_once",
  success: ["2xx"],
  tags: [],
  metadata: {},
} as unknown as JobOut;

describe("a job to be copied", () => {
  it("survives the quotes of a shell", () => {
    const command = asCurl(JOB, "http://localhost:8080");
    expect(command).toContain("curl -X PUT 'http://localhost:8080/api/v1/jobs/it-s'");
    expect(command).toContain("It'\\''s");
    // What the shell makes of it: the quotes that are closed and opened again are one quote.
    const body = /-d '([\s\S]*)'$/.exec(command)?.[1]?.replaceAll("'\\''", "'") ?? "";
    expect(JSON.parse(body).target.url).toBe("https://example.com/?a='b'");
    expect(JSON.parse(body).schedule).not.toHaveProperty("description");
  });

  it("is Python", () => {
    expect(python({ ok: true, no: null, list: [], more: [1, "x"] }, 0)).toBe(
      '{\n    "ok": True,\n    "no": None,\n    "list": [],\n    "more": [\n        1,\n        "x",\n    ],\n}',
    );
    expect(asPython(JOB, "http://localhost:8080")).toContain(
      '"http://localhost:8080/api/v1/jobs/it-s"',
    );
  });

  it("is YAML that can be applied", async () => {
    const { parse } = await import("yaml");
    const found = parse(await asYaml(JOB));
    expect(found.jobs[0].target.body).toEqual({ ok: true, no: null, list: [], text: "ü\n" });
    expect(found.jobs[0].misfire).toEqual({ policy: "latest", max: 100 });
  });
});
