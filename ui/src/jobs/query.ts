import type { JobQuery } from "../api/queries";
import type { JobStatus } from "../api/schema";
import { oneOf, someOf } from "../lib/useUrlState";

export const STATUSES = ["active", "paused", "completed", "cancelled"] as const;
export const SORTS = [
  "name",
  "-name",
  "next_fire_at",
  "-next_fire_at",
  "last_result",
  "-last_result",
  "updated_at",
  "-updated_at",
  "created_at",
  "-created_at",
] as const;
const KINDS = ["", "cron", "every", "at"] as const;
const RESULTS = ["", "failed", "succeeded"] as const;

export type Sort = (typeof SORTS)[number];

/** What the address says about the list of jobs. */
export interface Chosen {
  text: string;
  statuses: JobStatus[];
  tags: string[];
  kind: (typeof KINDS)[number];
  result: (typeof RESULTS)[number];
  sort: Sort;
}

export function chosenIn(params: URLSearchParams): Chosen {
  return {
    text: params.get("text") ?? "",
    statuses: someOf(params.getAll("status"), STATUSES),
    tags: params.getAll("tag"),
    kind: oneOf(params.get("kind"), KINDS),
    result: oneOf(params.get("last_result"), RESULTS),
    sort: oneOf(params.get("sort"), SORTS),
  };
}

export function isFiltered({ text, statuses, tags, kind, result }: Chosen): boolean {
  return Boolean(text || statuses.length || tags.length || kind || result);
}

export function queryOf({ text, statuses, tags, kind, result, sort }: Chosen): JobQuery {
  return {
    ...(text ? { text } : {}),
    ...(statuses.length ? { status: statuses } : {}),
    ...(tags.length ? { tag: tags } : {}),
    ...(kind ? { kind } : {}),
    ...(result ? { last_result: result } : {}),
    sort,
  };
}
