import { Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "react-router";
import { messageOf } from "../api/problem";
import { changes, keys } from "../api/queries";
import { count } from "../lib/text";

export interface Named {
  id: string;
  name: string;
}

export type Verb = "trigger" | "pause" | "resume" | "remove";

const DONE: Record<Verb, string> = {
  trigger: "triggered",
  pause: "paused",
  resume: "resumed",
  remove: "deleted",
};
const DOING: Record<Verb, string> = {
  trigger: "Triggering",
  pause: "Pausing",
  resume: "Resuming",
  remove: "Deleting",
};
const AT_ONCE = 6;
/** So many take long enough to say that they are under way. */
const MANY = 20;

/** What can be done to one job or many: undo where there is one, a question where there is none. */
export function useJobActions(after?: (verb: Verb, done: readonly Named[]) => void) {
  const client = useQueryClient();

  async function refresh() {
    await Promise.all(
      [keys.jobs, keys.job, keys.executions, keys.stats, keys.recent].map((key) =>
        client.invalidateQueries({ queryKey: [key] }),
      ),
    );
  }

  /** Does it to each; what failed is said once, with the first reason. */
  async function run(verb: Verb, jobs: readonly Named[], { quiet = false } = {}): Promise<void> {
    const failures: { job: Named; error: unknown }[] = [];
    const done: Named[] = [];
    let execution: string | undefined;
    const waiting = [...jobs];
    const progress = jobs.length > MANY ? sayUnderWay(verb, jobs.length) : null;
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, waiting.length) }, async () => {
        for (let job = waiting.shift(); job; job = waiting.shift()) {
          try {
            const result = await changes[verb](job.id);
            if (verb === "trigger" && result) execution = result.id;
            done.push(job);
          } catch (error) {
            failures.push({ job, error });
          }
        }
      }),
    );
    if (progress) notifications.hide(progress);
    await refresh();
    if (done.length > 0) {
      after?.(verb, done);
      if (!quiet) say(verb, done, execution);
    }
    const first = failures[0];
    if (first) {
      notifications.show({
        color: "red",
        autoClose: 12_000,
        title:
          failures.length === 1
            ? `${first.job.name} was not ${DONE[verb]}`
            : `${count(failures.length, "job")} were not ${DONE[verb]}`,
        message: messageOf(first.error),
      });
    }
  }

  function sayUnderWay(verb: Verb, number: number): string {
    const id = `doing-${Date.now()}`;
    notifications.show({
      id,
      loading: true,
      autoClose: false,
      withCloseButton: false,
      message: `${DOING[verb]} ${count(number, "job")}…`,
    });
    return id;
  }

  function say(verb: Verb, done: readonly Named[], execution: string | undefined) {
    const what = done.length === 1 ? (done[0] as Named).name : count(done.length, "job");
    const undo: Verb | null = verb === "pause" ? "resume" : verb === "resume" ? "pause" : null;
    const id = `done-${Date.now()}`;
    notifications.show({
      id,
      autoClose: undo ? 8_000 : 5_000,
      message: (
        <Text size="sm" component="div" style={{ display: "flex", gap: 12 }}>
          <span className="grow">
            {what} {DONE[verb]}
          </span>
          {undo && (
            <button
              type="button"
              className="sort"
              style={{ fontWeight: 600, textDecoration: "underline" }}
              onClick={() => {
                notifications.hide(id);
                void run(undo, done, { quiet: true });
              }}
            >
              Undo
            </button>
          )}
          {execution && done.length === 1 && (
            <Link
              className="link"
              to={`/executions/${execution}`}
              onClick={() => notifications.hide(id)}
            >
              Watch it
            </Link>
          )}
        </Text>
      ),
    });
  }

  /** The same, after a question where it cannot be undone. */
  function ask(verb: Verb, jobs: readonly Named[]): void {
    if (jobs.length === 0) return;
    const many = jobs.length > 1;
    if (verb === "pause" || verb === "resume" || (verb === "trigger" && !many)) {
      void run(verb, jobs);
      return;
    }
    const what = many ? count(jobs.length, "job") : (jobs[0] as Named).name;
    modals.openConfirmModal({
      title: verb === "remove" ? `Delete ${what}?` : `Trigger ${what} now?`,
      children: (
        <Text size="sm">
          {verb === "remove"
            ? "It fires no more, and its name becomes free. Its history stays until it is old. This cannot be undone."
            : "Each gets an execution at once; the schedules stay as they are."}
        </Text>
      ),
      labels: {
        confirm: verb === "remove" ? "Delete" : "Trigger",
        cancel: verb === "remove" ? "Keep" : "Not now",
      },
      ...(verb === "remove" ? { confirmProps: { color: "red.8" } } : {}),
      onConfirm: () => void run(verb, jobs),
    });
  }

  return { ask, run };
}
