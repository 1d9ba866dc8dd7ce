import { describe, expect, it } from "vitest";
import type { JobOut } from "../api/schema";
import { fromCron } from "./cron";
import { definitionFrom, EMPTY, errorsAt, type Form, formOf } from "./form";

const JOB = {
  id: "019b76da-a800-7085-8499-a6bbcaf0e01d",
  name: "nightly-report",
  description: "Sends the report",
  schedule: {
    cron: "0 2 * * *",
    timezone: "Europe/Berlin",
    starts_at: null,
    ends_at: null,
    jitter: "5s",
    description: "At 02:00 every day, Europe/Berlin",
  },
  target: {
    url: "https://example.com/hook",
    method: "POST",
    headers: { "X-Team": "ops" },
    body: { any: ["json", 1, null] },
    timeout: "30s",
    redirects: 2,
  },
  retry: { max_attempts: 3, initial: "1s", factor: 2, max: "5m", jitter: 0.1, on: ["5xx"] },
  misfire: { policy: "latest", grace: null, max: 100 },
  overlap: "queue",
  delivery: "at_most_once",
  success: ["2xx", "404"],
  tags: ["reports"],
  metadata: { owner: "ops" },
  status: "active",
  version: 4,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
  next_fire_at: null,
  last_execution: null,
} as JobOut;

const isSimple = (cron: string) => fromCron(cron) !== null;

describe("the form of a job", () => {
  it("says the same job again when nothing was typed", () => {
    const { definition, typos } = definitionFrom(formOf(JOB, isSimple));
    expect(typos).toEqual([]);
    expect(definition).toEqual({
      name: JOB.name,
      description: JOB.description,
      schedule: { cron: "0 2 * * *", timezone: "Europe/Berlin", jitter: "5s" },
      target: JOB.target,
      retry: JOB.retry,
      misfire: { policy: "latest", max: 100 },
      overlap: "queue",
      delivery: "at_most_once",
      success: ["2xx", "404"],
      tags: ["reports"],
      metadata: { owner: "ops" },
    });
  });

  it("leaves to the server what is empty", () => {
    const form: Form = { ...EMPTY, target: { ...EMPTY.target, url: " https://example.com " } };
    const { definition } = definitionFrom(form);
    expect(definition.target).toEqual({ url: "https://example.com", method: "POST" });
    expect(definition.retry).toEqual({});
    expect(definition).not.toHaveProperty("name");
    expect(definition).not.toHaveProperty("overlap");
  });

  it("tells of JSON that is none yet, instead of sending something else", () => {
    const form: Form = {
      ...EMPTY,
      metadata: "{",
      target: { ...EMPTY.target, bodyKind: "json", body: '{"a": }' },
    };
    expect(definitionFrom(form).typos.map((one) => one.field)).toEqual(["target.body", "metadata"]);
  });

  it("shows an expression that the builder cannot say as cron", () => {
    const schedule = { ...JOB.schedule, cron: "0 0 2 * * *" };
    expect(formOf({ ...JOB, schedule }, isSimple).schedule.kind).toBe("cron");
    expect(formOf(JOB, isSimple).schedule.kind).toBe("simple");
  });

  it.each([
    ["every", { every: "15m", anchor: "2026-01-01T00:00:00Z" }],
    ["at", { at: "2026-12-24T18:00:00Z" }],
  ] as const)("keeps a schedule of the kind %s", (kind, part) => {
    const schedule = {
      ...part,
      timezone: "UTC",
      starts_at: null,
      ends_at: null,
      jitter: "0s",
      description: "",
    };
    const form = formOf({ ...JOB, schedule } as JobOut, isSimple);
    expect(form.schedule.kind).toBe(kind);
    expect(definitionFrom(form).definition.schedule).toEqual({ ...part, timezone: "UTC" });
  });
});

describe("errors of the server", () => {
  const errors = [
    { field: "retry.on.0", message: "is not known" },
    { field: "retry.only", message: "is something else" },
  ];
  it("are shown at their field, and those of its parts too", () => {
    expect(errorsAt(errors, "retry.on")).toBe("Is not known.");
    expect(errorsAt(errors, "retry")).toBe("Is not known. Is something else.");
    expect(errorsAt(errors, "target")).toBeUndefined();
  });
});
