import { capital, count } from "./text";
import type { Tone } from "./words";

export interface Facts {
  /** Whether the server could be read at all. */
  reachable: boolean;
  ready: boolean | undefined;
  readyProblems: readonly string[];
  degraded: boolean;
  degradedReason: string | null;
  jobs: { active: number; paused: number; completed: number; cancelled: number } | undefined;
  /** Whether the key sees some jobs only, and so no figures of all. */
  limited: boolean;
  /** Names of failing jobs, as many as were looked at; not known before that. */
  failing: readonly string[] | undefined;
  /** Whether there are more failing jobs than were counted. */
  failingMore: boolean;
  skipped: number;
  /** Executions that failed within the window, of jobs that have recovered since. */
  failed: number;
  /** Not known before the nodes were looked at. */
  lapsedNodes: number | undefined;
  window: string;
}

export interface Verdict {
  tone: Tone;
  title: string;
  detail: string;
}

/** Is everything fine? One honest sentence, the worst thing first. */
export function verdict(facts: Facts): Verdict {
  if (!facts.reachable) {
    return {
      tone: "bad",
      title: "The server does not answer",
      detail: "What is shown here may be old. It is asked again every few seconds.",
    };
  }
  if (facts.ready === false) {
    return {
      tone: "bad",
      title: "This node does not fire",
      detail: `${capital(facts.readyProblems.filter(Boolean).join("; ") || "it is not ready")}.`,
    };
  }
  if (
    (!facts.jobs && !facts.limited) ||
    facts.ready === undefined ||
    facts.failing === undefined ||
    facts.lapsedNodes === undefined
  ) {
    return { tone: "quiet", title: "Looking…", detail: "" };
  }
  if (facts.degraded) {
    return {
      tone: "bad",
      title: "Many calls fail",
      detail: `${capital(facts.degradedReason ?? "Too many executions failed of late")}.`,
    };
  }
  const failing = facts.failing.length;
  if (failing === 1 && !facts.failingMore) {
    return {
      tone: "bad",
      title: `${facts.failing[0]} fails`,
      detail: "Its last execution ended in failure, after all of its attempts. No other job fails.",
    };
  }
  if (failing > 0) {
    return {
      tone: "bad",
      title: `${facts.failingMore ? "More than " : ""}${count(failing, "job")} fail`,
      detail: "The last execution of each ended in failure, after all of its attempts.",
    };
  }
  if (facts.lapsedNodes > 0) {
    return {
      tone: "warn",
      title: `${capital(count(facts.lapsedNodes, "node"))} went silent`,
      detail: "Its lease has ended; the others take over what it held.",
    };
  }
  if (!facts.jobs) {
    return {
      tone: "good",
      title: "No job that this key sees fails",
      detail: "It is limited to jobs with its tags; figures of all jobs need another one.",
    };
  }
  const all = facts.jobs.active + facts.jobs.paused + facts.jobs.completed + facts.jobs.cancelled;
  if (all === 0) {
    return { tone: "quiet", title: "Ready, and nothing to do", detail: "There are no jobs yet." };
  }
  if (facts.jobs.active === 0) {
    return {
      tone: "warn",
      title: "No job is active",
      detail: facts.jobs.paused
        ? `${capital(count(facts.jobs.paused, "job is", "jobs are"))} paused; nothing is going to fire.`
        : "All of them are completed or cancelled; nothing is going to fire.",
    };
  }
  if (facts.skipped > 0) {
    return {
      tone: "warn",
      title: facts.failed > 0 ? "No job fails at the moment" : "Everything that ran succeeded",
      detail: `${capital(count(facts.skipped, "fire"))} did not run within the last ${facts.window}; see why below.`,
    };
  }
  return {
    tone: "good",
    title: "Everything is fine",
    detail: `${capital(count(facts.jobs.active, "active job"))}, none of them failing.`,
  };
}
