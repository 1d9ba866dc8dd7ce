import { useDebouncedValue } from "@mantine/hooks";
import { useQueries } from "@tanstack/react-query";
import type { Chunks } from "../api/chunks";
import { recentQuery } from "../api/queries";
import type { JobOut, JobRecentOut } from "../api/schema";

const BLOCK = 25;
const SETTLED_AFTER = 100;

/** The last results of the rows in sight, asked for where the scrolling comes to rest. */
export function useRecent(
  list: Chunks<JobOut>,
  first: number,
  last: number,
): ReadonlyMap<string, JobRecentOut> {
  const [settled] = useDebouncedValue(
    `${Math.floor(first / BLOCK)} ${Math.floor(last / BLOCK)}`,
    SETTLED_AFTER,
  );
  const [from, to] = settled.split(" ").map(Number) as [number, number];
  const blocks = Array.from({ length: to - from + 1 }, (_, index) =>
    Array.from({ length: BLOCK }, (_, row) => list.at((from + index) * BLOCK + row)?.id).filter(
      (id) => id !== undefined,
    ),
  );
  const results = useQueries({ queries: blocks.map((ids) => recentQuery(ids, 20)) });
  const found = new Map<string, JobRecentOut>();
  for (const result of results) {
    for (const one of result.data?.items ?? []) found.set(one.job_id, one);
  }
  return found;
}
