import { describe, expect, it } from "vitest";
import type { JobOut } from "../api/schema";
import { asCurl, asPython, asYaml, type Door, python } from "./export";

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

const OPEN: Door = { origin: "http://localhost:8080", key: false, namespace: "default" };
const GUARDED: Door = { origin: "http://here", key: true, namespace: "team" };

describe("a job to be copied", () => {
  it("survives the quotes of a shell", () => {
    const command = asCurl(JOB, OPEN);
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
    expect(asPython(JOB, OPEN)).toContain('"http://localhost:8080/api/v1/jobs/it-s"');
  });

  it("is YAML that can be applied", async () => {
    const { parse } = await import("yaml");
    const found = parse(await asYaml(JOB));
    expect(found.jobs[0].target.body).toEqual({ ok: true, no: null, list: [], text: "ü\n" });
    expect(found.jobs[0].misfire).toEqual({ policy: "latest", max: 100 });
  });

  it("brings the key where one is asked for, and never a key itself", () => {
    expect(asCurl(JOB, GUARDED)).toContain('-H "Authorization: Bearer $TOCSIN_KEY"');
    expect(asCurl(JOB, GUARDED)).toContain("-H 'Tocsin-Namespace: team'");
    expect(asPython(JOB, GUARDED)).toContain(
      '"Authorization": "Bearer " + os.environ["TOCSIN_KEY"]',
    );
    expect(asCurl(JOB, OPEN)).not.toContain("Authorization");
    expect(asPython(JOB, OPEN)).not.toContain("import os");
  });
});
