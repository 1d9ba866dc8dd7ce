import type { ExecutionOut, FireAheadOut } from "../api/schema";
import { DAY } from "./time";

const MINUTE = 60_000;
export const PAST = 14 * DAY;
export const AHEAD = 60 * DAY;
export const SHORTEST = 5 * MINUTE;
export const LONGEST = 28 * DAY;

export interface View {
  since: number;
  until: number;
  step: number;
}

/**
 * What is looked at: `range` milliseconds with two thirds of it before `center`, on the grid of
 * its steps, within what the server tells of.
 */
export function viewOf(center: number, range: number, now: number): View {
  const length = Math.min(LONGEST, Math.max(SHORTEST, range));
  const step = stepOf(length);
  const earliest = Math.ceil((now - PAST + MINUTE) / step) * step;
  const latest = Math.floor((now + AHEAD - MINUTE) / step) * step;
  let since = Math.floor((center - (length * 2) / 3) / step) * step;
  since = Math.min(Math.max(since, earliest), latest - step);
  const until = Math.min(since + Math.ceil(length / step) * step, latest);
  return { since, until, step };
}

/** The length of a step: so that the strip has at most 168 of them. */
export function stepOf(length: number): number {
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1_440];
  const found = minutes.find((one) => length / (one * MINUTE) <= 168);
  return (found ?? 1_440) * MINUTE;
}

export interface Mark {
  /** Pixels from the left. */
  x: number;
  state: string;
  count: number;
  /** The execution to open: the worst of those that are drawn as one. */
  id: string | null;
  at: number;
}

export interface Lane {
  id: string;
  name: string;
  marks: Mark[];
  failed: number;
  total: number;
}

const WORST = ["ahead", "pending", "succeeded", "cancelled", "claimed", "skipped", "failed"];

/** A lane per job: what happened and what is to come, those that fall on one place as one mark. */
export function lanesOf(
  executions: readonly ExecutionOut[],
  ahead: readonly FireAheadOut[],
  place: (at: number) => number,
  width: number,
  size = 4,
): Lane[] {
  const lanes = new Map<string, Lane & { byPlace: Map<number, Mark> }>();
  const lane = (id: string, name: string) => {
    let found = lanes.get(id);
    if (!found) {
      found = { id, name, marks: [], failed: 0, total: 0, byPlace: new Map() };
      lanes.set(id, found);
    }
    return found;
  };
  const add = (
    of: Lane & { byPlace: Map<number, Mark> },
    at: number,
    state: string,
    id: string | null,
  ) => {
    const x = place(at);
    if (x < 0 || x > width) return;
    of.total += 1;
    if (state === "failed") of.failed += 1;
    const spot = Math.floor(x / size);
    const known = of.byPlace.get(spot);
    if (!known) {
      of.byPlace.set(spot, { x: spot * size, state, count: 1, id, at });
      return;
    }
    known.count += 1;
    if (WORST.indexOf(state) > WORST.indexOf(known.state)) {
      known.state = state;
      known.id = id;
      known.at = at;
    }
  };
  for (const one of executions) {
    add(lane(one.job_id, one.job_name), Date.parse(one.fire_time), one.state, one.id);
  }
  const planned = new Set(executions.map((one) => `${one.job_id} ${Date.parse(one.fire_time)}`));
  for (const one of ahead) {
    const at = Date.parse(one.fire_time);
    // Claimed a moment before it is due, a fire is an execution and still to come.
    if (!planned.has(`${one.job_id} ${at}`)) add(lane(one.job_id, one.job_name), at, "ahead", null);
  }
  return [...lanes.values()]
    .map(({ byPlace, ...rest }) => ({ ...rest, marks: [...byPlace.values()] }))
    .sort((a, b) => Number(b.failed > 0) - Number(a.failed > 0) || a.name.localeCompare(b.name));
}
