import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconPlus, IconSparkles } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";
import { messageOf } from "../api/problem";
import { changes, keys } from "../api/queries";
import type { JobIn } from "../api/schema";
import { useDoor, useSession } from "../api/session";
import { curlHeaders } from "../lib/export";
import { randomUuid } from "../lib/uuid";
import { Code } from "./Code";
import { Guarded } from "./Guarded";
import { LinkButton } from "./LinkButton";

const SAMPLE: JobIn = {
  name: "hello",
  description: "A first job: a line in the log of Tocsin, every ten seconds",
  schedule: { every: "10s" },
  target: { log: "Hello from {{ job_name }} at {{ fire_time }}" },
  tags: ["sample"],
};

/** What is shown where there are no jobs yet: how to get the first one. */
export function FirstStep() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const { refusal } = useSession();
  const create = useMutation({
    mutationFn: () => changes.create(SAMPLE, randomUuid()),
    onSuccess: async (job) => {
      await client.invalidateQueries({ queryKey: [keys.jobs] });
      void navigate(`/jobs/${job.name}`);
    },
    onError: (error) =>
      notifications.show({ color: "red", title: "Not created", message: messageOf(error) }),
  });
  const door = useDoor();
  const curl = [
    `curl -X PUT '${door.origin}/api/v1/jobs/nightly-report' \\`,
    ...curlHeaders(door),
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"},`,
    `       "target": {"url": "https://example.com/hook", "body": {"day": "{{ fire_time }}"}}}'`,
  ].join("\n");
  return (
    <section className="panel" style={{ padding: "22px 22px 24px" }} aria-label="First steps">
      <h2 style={{ margin: "0 0 4px" }}>There are no jobs yet</h2>
      <p className="dim" style={{ margin: "0 0 14px", maxWidth: 560 }}>
        A job is a URL and a schedule: Tocsin calls it at its instant, tries again what failed, and
        keeps what happened. Start with one that only writes a line into the log, or with your own.
      </p>
      <div style={{ display: "flex", gap: 8, flexWrap: "wrap", marginBottom: 18 }}>
        <Guarded reason={refusal("editor")}>
          {(disabled) => (
            <Button
              leftSection={<IconSparkles size={15} aria-hidden="true" />}
              loading={create.isPending}
              disabled={disabled}
              onClick={() => create.mutate()}
            >
              Create sample job
            </Button>
          )}
        </Guarded>
        <Guarded reason={refusal("editor")}>
          {(disabled) => (
            <LinkButton
              variant="default"
              leftSection={<IconPlus size={15} aria-hidden="true" />}
              disabled={disabled}
              to="/jobs/new"
            >
              New job
            </LinkButton>
          )}
        </Guarded>
      </div>
      <p className="dim" style={{ margin: "0 0 6px" }}>
        Or from a terminal{door.key && ", where your key is in TOCSIN_KEY"}:
      </p>
      <Code text={curl} label="A command that creates a job" />
    </section>
  );
}
