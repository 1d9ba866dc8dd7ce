import type { AttemptOut } from "../api/schema";

/** The phases of a call in their order; what follows the first byte is the body. */
export const PHASES = [
  "dns_ms",
  "connect_ms",
  "proxy_ms",
  "tls_ms",
  "first_byte_ms",
  "body",
] as const;
export type Phase = (typeof PHASES)[number];

export interface Part {
  phase: Phase;
  /** Milliseconds from the beginning of the call. */
  start: number;
  /** Milliseconds; `null`: the phase did not happen. */
  length: number | null;
  /** It never came to its end: the call did in it. */
  open: boolean;
}

export interface Course {
  parts: readonly Part[];
  total: number;
  /** It ended while it waited, but nothing tells in what. */
  untold: boolean;
}

const OPENING = ["dns_ms", "connect_ms", "proxy_ms", "tls_ms"] as const;

/**
 * Where the time of a call went; `null` where nothing was measured.
 *
 * A phase that opens a connection is measured also where it fails. So the one that a call ended
 * in is the last of these where they fill its time, and the wait for the first byte where most of
 * the time comes after them.
 */
export function courseOf(attempt: AttemptOut): Course | null {
  const timings = attempt.timings;
  if (!timings) return null;
  const total = timings.total_ms ?? attempt.duration_ms;
  const opening = OPENING.reduce((sum, phase) => sum + (timings[phase] ?? 0), 0);
  const rest = Math.max(0, total - opening);
  const waited = attempt.error_kind === "timeout" || attempt.error_kind === "connection";
  const last = waited ? endedIn(attempt, rest, total) : null;
  let at = 0;
  const parts = PHASES.map((phase) => {
    let length: number | null;
    if (phase === "body") {
      length = timings.first_byte_ms === null ? null : Math.max(0, rest - timings.first_byte_ms);
    } else {
      length = timings[phase] ?? null;
      if (phase === "first_byte_ms" && phase === last) length ??= rest;
    }
    const part = { phase, start: at, length, open: phase === last };
    at += length ?? 0;
    return part;
  });
  return { parts, total, untold: waited && last === null };
}

function endedIn(attempt: AttemptOut, rest: number, total: number): Phase | null {
  const timings = attempt.timings;
  if (!timings || total <= 0) return null;
  if (timings.first_byte_ms !== null) return "body";
  // This comes before any phase, and is not measured.
  if (attempt.error?.includes("waiting for a free connection")) return null;
  if (rest >= total / 2) return "first_byte_ms";
  if (rest > total / 10) return null;
  return OPENING.findLast((phase) => timings[phase] != null) ?? null;
}
