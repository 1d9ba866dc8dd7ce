import type { JobIn, JobOut } from "../api/schema";
import { capital } from "./text";
import { LOCAL_ZONE } from "./time";

export type ScheduleKind = "simple" | "cron" | "every" | "at";
export type BodyKind = "none" | "json" | "text" | "base64";

/** What is typed into the editor: text as it is typed, so that nothing of it is lost. */
export interface Form {
  name: string;
  description: string;
  tags: string[];
  metadata: string;
  schedule: {
    kind: ScheduleKind;
    cron: string;
    every: string;
    anchor: string;
    at: string;
    timezone: string;
    starts_at: string;
    ends_at: string;
    jitter: string;
  };
  target: {
    kind: "url" | "log";
    url: string;
    method: string;
    headers: { id: number; name: string; value: string }[];
    bodyKind: BodyKind;
    body: string;
    timeout: string;
    redirects: string;
    log: string;
  };
  retry: {
    max_attempts: string;
    initial: string;
    factor: string;
    max: string;
    jitter: string;
    on: string[];
  };
  misfire: { policy: string; grace: string; max: string };
  overlap: string;
  delivery: string;
  success: string[];
}

export const EMPTY: Form = {
  name: "",
  description: "",
  tags: [],
  metadata: "",
  schedule: {
    kind: "simple",
    cron: "0 9 * * *",
    every: "15m",
    anchor: "",
    at: "",
    timezone: LOCAL_ZONE,
    starts_at: "",
    ends_at: "",
    jitter: "",
  },
  target: {
    kind: "url",
    url: "",
    method: "POST",
    headers: [],
    bodyKind: "none",
    body: "",
    timeout: "",
    redirects: "",
    log: "",
  },
  retry: { max_attempts: "", initial: "", factor: "", max: "", jitter: "", on: [] },
  misfire: { policy: "", grace: "", max: "" },
  overlap: "",
  delivery: "",
  success: [],
};

let lastId = 0;

/** A key for a row of the form. */
export function rowId(): number {
  lastId += 1;
  return lastId;
}

/** The form for a job as it is. */
export function formOf(job: JobOut, isSimple: (cron: string) => boolean): Form {
  const { schedule, target } = job;
  const [bodyKind, body] = bodyOf(job);
  return {
    name: job.name,
    description: job.description,
    tags: [...job.tags],
    metadata: Object.keys(job.metadata).length ? JSON.stringify(job.metadata, null, 2) : "",
    schedule: {
      kind:
        schedule.cron !== undefined
          ? isSimple(schedule.cron)
            ? "simple"
            : "cron"
          : schedule.every !== undefined
            ? "every"
            : "at",
      cron: schedule.cron ?? EMPTY.schedule.cron,
      every: schedule.every ?? EMPTY.schedule.every,
      anchor: schedule.anchor ?? "",
      at: schedule.at ?? "",
      timezone: schedule.timezone,
      starts_at: schedule.starts_at ?? "",
      ends_at: schedule.ends_at ?? "",
      jitter: schedule.jitter === "0s" ? "" : schedule.jitter,
    },
    target: {
      kind: target.log === undefined ? "url" : "log",
      url: target.url ?? "",
      method: target.method ?? "POST",
      headers: Object.entries(target.headers ?? {}).map(([name, value]) => ({
        id: rowId(),
        name,
        value,
      })),
      bodyKind,
      body,
      timeout: target.timeout ?? "",
      redirects: target.redirects ? String(target.redirects) : "",
      log: target.log ?? "",
    },
    retry: {
      max_attempts: String(job.retry.max_attempts),
      initial: job.retry.initial,
      factor: String(job.retry.factor),
      max: job.retry.max,
      jitter: String(job.retry.jitter),
      on: [...job.retry.on],
    },
    misfire: {
      policy: job.misfire.policy,
      grace: job.misfire.grace ?? "",
      max: String(job.misfire.max),
    },
    overlap: job.overlap,
    delivery: job.delivery,
    success: [...job.success],
  };
}

function bodyOf(job: JobOut): [BodyKind, string] {
  const { body, body_text, body_base64 } = job.target;
  if (body !== undefined && body !== null) return ["json", JSON.stringify(body, null, 2)];
  if (body_text !== undefined) return ["text", body_text];
  if (body_base64 !== undefined) return ["base64", body_base64];
  return ["none", ""];
}

export interface Typo {
  field: string;
  message: string;
}

/**
 * The definition that a form says; what is empty is left to the server's defaults. `typos` are
 * what only the page can see: JSON that is none.
 */
export function definitionFrom(form: Form): { definition: JobIn; typos: Typo[] } {
  const typos: Typo[] = [];
  const json = (text: string, field: string): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      typos.push({ field, message: "is not JSON yet" });
      return undefined;
    }
  };
  const number = (text: string): number | undefined => (text.trim() ? Number(text) : undefined);

  const target: NonNullable<JobIn["target"]> = {};
  if (form.target.kind === "log") {
    target.log = form.target.log;
  } else {
    target.url = form.target.url.trim();
    target.method = form.target.method;
    const headers = form.target.headers.filter((one) => one.name.trim() || one.value);
    if (headers.length) {
      target.headers = Object.fromEntries(headers.map((one) => [one.name.trim(), one.value]));
    }
    if (form.target.bodyKind === "json" && form.target.body.trim()) {
      target.body = json(form.target.body, "target.body") as never;
    }
    if (form.target.bodyKind === "text") target.body_text = form.target.body;
    if (form.target.bodyKind === "base64") target.body_base64 = form.target.body.trim();
    if (form.target.timeout.trim()) target.timeout = form.target.timeout.trim();
    if (form.target.redirects.trim()) target.redirects = number(form.target.redirects) ?? 0;
  }
  const definition: JobIn = {
    ...(form.name.trim() ? { name: form.name.trim() } : {}),
    description: form.description,
    schedule: scheduleFrom(form),
    target,
    retry: present({
      max_attempts: number(form.retry.max_attempts),
      initial: text(form.retry.initial),
      factor: number(form.retry.factor),
      max: text(form.retry.max),
      jitter: number(form.retry.jitter),
      on: form.retry.on.length ? form.retry.on : undefined,
    }) as JobIn["retry"],
    misfire: present({
      policy: text(form.misfire.policy),
      grace: text(form.misfire.grace),
      max: number(form.misfire.max),
    }) as JobIn["misfire"],
    ...(form.overlap ? { overlap: form.overlap as "allow" } : {}),
    ...(form.delivery ? { delivery: form.delivery as "at_least_once" } : {}),
    ...(form.success.length ? { success: form.success } : {}),
    tags: form.tags,
  };
  if (form.metadata.trim()) {
    definition.metadata = json(form.metadata, "metadata") as JobIn["metadata"];
  }
  return { definition, typos };
}

/** The schedule alone, for its preview while it is typed. */
export function scheduleFrom(form: Form): JobIn["schedule"] {
  const { schedule } = form;
  const common = present({
    timezone: schedule.timezone,
    starts_at: text(schedule.starts_at),
    ends_at: text(schedule.ends_at),
    jitter: text(schedule.jitter),
  });
  if (schedule.kind === "every") {
    return {
      every: schedule.every.trim(),
      ...common,
      ...present({ anchor: text(schedule.anchor) }),
    } as JobIn["schedule"];
  }
  if (schedule.kind === "at") return { at: schedule.at, ...common } as JobIn["schedule"];
  return { cron: schedule.cron.trim(), ...common } as JobIn["schedule"];
}

function text(value: string): string | undefined {
  return value.trim() || undefined;
}

function present(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** The messages for a field and for whatever lies below it. */
export function errorsAt(
  errors: readonly { field: string; message: string }[],
  ...fields: string[]
): string | undefined {
  const found = errors.filter((one) =>
    fields.some((field) => one.field === field || one.field.startsWith(`${field}.`)),
  );
  return found.length ? found.map((one) => sentence(one.message)).join(" ") : undefined;
}

function sentence(message: string): string {
  const text = capital(message);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** Every field that the form shows errors at; what is none of these is listed at its top. */
export const SHOWN_FIELDS = [
  "name",
  "description",
  "tags",
  "metadata",
  "schedule",
  "target",
  "retry",
  "misfire",
  "overlap",
  "delivery",
  "success",
] as const;
