import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { randomUuid } from "../lib/uuid";
import type { ChunkSource } from "./chunks";
import { api, ask, take, takeWhole } from "./client";
import { ApiError } from "./problem";
import type { ErrorKind, ExecutionOut, JobIn, JobOut, operations, State } from "./schema";

/** The first part of each key; events name what has become old by these. */
export const keys = {
  jobs: "jobs",
  job: "job",
  recent: "recent",
  executions: "executions",
  execution: "execution",
  stats: "stats",
  health: "health",
  cluster: "cluster",
  timeline: "timeline",
} as const;

export type JobQuery = NonNullable<operations["listJobs"]["parameters"]["query"]>;
export type ExecutionQuery = NonNullable<operations["listExecutions"]["parameters"]["query"]>;

export const PAGE = 100;

export function statsQuery(window: string, step: string) {
  return queryOptions({
    queryKey: [keys.stats, window, step],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/stats", { params: { query: { window, step } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
}

export function healthQuery() {
  return queryOptions({
    queryKey: [keys.health, "healthz"],
    queryFn: ({ signal }) => take(api.GET("/healthz", { signal })),
    refetchInterval: 10_000,
    refetchIntervalInBackground: true,
  });
}

export function readyQuery() {
  return queryOptions({
    queryKey: [keys.health, "readyz"],
    // 503 is an answer too: it names what is missing.
    queryFn: async ({ signal }) => {
      try {
        return await take(api.GET("/readyz", { signal }));
      } catch (error) {
        if (error instanceof ApiError && error.status === 503) {
          const response = await fetch("/readyz", { signal });
          return (await response.json()) as {
            ready: boolean;
            checks: { name: string; ok: boolean; detail: string }[];
          };
        }
        throw error;
      }
    },
    refetchInterval: 10_000,
  });
}

export function clusterQuery() {
  return queryOptions({
    queryKey: [keys.cluster],
    queryFn: ({ signal }) => take(api.GET("/api/v1/cluster", { signal })),
    refetchInterval: 3_000,
  });
}

export function jobChunks(query: JobQuery): ChunkSource<JobOut> {
  return {
    key: [keys.jobs, "chunks", query],
    size: PAGE,
    read: (cursor, signal) =>
      take(
        api.GET("/api/v1/jobs", {
          params: { query: { ...query, limit: PAGE, cursor: cursor ?? undefined } },
          signal,
        }),
      ),
  };
}

export function someJobsQuery(query: JobQuery) {
  return queryOptions({
    queryKey: [keys.jobs, "some", query],
    queryFn: ({ signal }) => take(api.GET("/api/v1/jobs", { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });
}

export function recentQuery(ids: readonly string[], count: number) {
  return queryOptions({
    queryKey: [keys.recent, ids, count],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/jobs:recent", { params: { query: { job: [...ids], count } }, signal })),
    enabled: ids.length > 0,
    placeholderData: keepPreviousData,
    staleTime: 2_000,
  });
}

export function jobQuery(ref: string) {
  return queryOptions({
    queryKey: [keys.job, ref],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/jobs/{ref}", { params: { path: { ref } }, signal })),
  });
}

export function jobStatsQuery(ref: string, window: string) {
  return queryOptions({
    queryKey: [keys.stats, "job", ref, window],
    queryFn: ({ signal }) =>
      take(
        api.GET("/api/v1/jobs/{ref}/stats", {
          params: { path: { ref }, query: { window } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });
}

export function jobPreviewQuery(ref: string, version: number, count: number) {
  return queryOptions({
    queryKey: [keys.job, ref, "preview", version, count],
    queryFn: ({ signal }) =>
      take(
        api.GET("/api/v1/jobs/{ref}/preview", {
          params: { path: { ref }, query: { count } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });
}

export function calendarQuery(ref: string, days: number, timezone: string) {
  return queryOptions({
    // Not among what each event makes old: it looks at a good part of the history.
    queryKey: ["calendar", ref, days, timezone],
    queryFn: ({ signal }) =>
      take(
        api.GET("/api/v1/jobs/{ref}/calendar", {
          params: { path: { ref }, query: { days, timezone } },
          signal,
        }),
      ),
    staleTime: 30_000,
    refetchInterval: 60_000,
  });
}

export interface HistoryFilter {
  job?: string | undefined;
  state?: State[];
  error_kind?: ErrorKind | undefined;
  since?: string | undefined;
  until?: string | undefined;
}

export function executionChunks(filter: HistoryFilter): ChunkSource<ExecutionOut> {
  return {
    key: [keys.executions, "chunks", filter],
    size: PAGE,
    read: (cursor, signal) =>
      take(
        api.GET("/api/v1/executions", {
          params: { query: { ...filter, limit: PAGE, cursor: cursor ?? undefined } },
          signal,
        }),
      ),
  };
}

export function someExecutionsQuery(query: ExecutionQuery) {
  return queryOptions({
    queryKey: [keys.executions, "some", query],
    queryFn: ({ signal }) => take(api.GET("/api/v1/executions", { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });
}

export function executionQuery(ref: string) {
  return queryOptions({
    queryKey: [keys.execution, ref],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/executions/{ref}", { params: { path: { ref } }, signal })),
  });
}

export function sentQuery(ref: string, attempts: number) {
  return queryOptions({
    queryKey: ["sent", ref, attempts],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/executions/{ref}/request", { params: { path: { ref } }, signal })),
    retry: false,
  });
}

export function timelineQuery(since: string, until: string, step: string) {
  return queryOptions({
    queryKey: [keys.timeline, since, until, step],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/timeline", { params: { query: { since, until, step } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
}

export function previewQuery(schedule: JobIn["schedule"] | null, count = 5) {
  return queryOptions({
    queryKey: ["preview", schedule, count],
    queryFn: ({ signal }) =>
      take(
        api.POST("/api/v1/schedules:preview", {
          body: { schedule: schedule as JobIn["schedule"], count },
          signal,
        }),
      ),
    enabled: schedule !== null,
    retry: false,
    placeholderData: keepPreviousData,
  });
}

// --- changes

export const changes = {
  create: (body: JobIn, key: string) =>
    take(api.POST("/api/v1/jobs", { body, params: { header: { "Idempotency-Key": key } } })),
  replace: (ref: string, body: JobIn, version: number | null) =>
    take(
      api.PUT("/api/v1/jobs/{ref}", {
        params: {
          path: { ref },
          header: version === null ? {} : { "If-Match": `"${version}"` },
        },
        body,
      }),
    ),
  trigger: (ref: string) =>
    take(
      api.POST("/api/v1/jobs/{ref}/trigger", {
        params: { path: { ref }, header: { "Idempotency-Key": randomUuid() } },
      }),
    ),
  pause: (ref: string) => take(api.POST("/api/v1/jobs/{ref}/pause", { params: { path: { ref } } })),
  resume: (ref: string) =>
    take(api.POST("/api/v1/jobs/{ref}/resume", { params: { path: { ref } } })),
  remove: async (ref: string) => {
    await takeWhole(api.DELETE("/api/v1/jobs/{ref}", { params: { path: { ref } } }));
  },
  retry: (ref: string) =>
    take(
      api.POST("/api/v1/executions/{ref}/retry", {
        params: { path: { ref }, header: { "Idempotency-Key": randomUuid() } },
      }),
    ),
  cancel: (ref: string) =>
    take(api.POST("/api/v1/executions/{ref}/cancel", { params: { path: { ref } } })),
  trial: (body: JobIn) => take(api.POST("/api/v1/jobs:try", { body })),
};

// --- what only some servers have

export interface KeyOut {
  id: string;
  name: string;
  prefix: string;
  role: string;
  /** `*`: all. */
  namespace: string;
  /** Only jobs that carry one of these exist for it. */
  tags?: string[] | null;
  status?: "active" | "expired" | "revoked";
  created_at: string;
  created_by?: string;
  last_used_at?: string | null;
  expires_at?: string | null;
  old_secret_until?: string | null;
}

interface Party {
  type: string;
  id: string | null;
  name: string;
}

export interface AuditOut {
  id: string;
  at: string;
  actor: Party;
  action: string;
  subject: Party;
  namespace?: string;
  address?: string | null;
  [more: string]: unknown;
}

export interface SecretOut {
  name: string;
  created_at?: string;
  updated_at?: string;
  version?: number;
  /** How many jobs use it. */
  used_by?: number;
}

interface ListOf<T> {
  items: T[];
  next_cursor: string | null;
}

export const keysQuery = () =>
  queryOptions({ queryKey: ["keys"], queryFn: () => ask<ListOf<KeyOut>>("GET", "/api/v1/keys") });

export const secretsQuery = () =>
  queryOptions({
    queryKey: ["secrets"],
    queryFn: () => ask<ListOf<SecretOut>>("GET", "/api/v1/secrets"),
  });

export const auditQuery = () =>
  infiniteQueryOptions({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) =>
      ask<ListOf<AuditOut>>(
        "GET",
        `/api/v1/audit?limit=100${pageParam ? `&cursor=${encodeURIComponent(pageParam)}` : ""}`,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  });
