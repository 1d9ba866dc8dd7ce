import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { JobOut } from "../api/schema";
import { useDoor } from "../api/session";
import { Code } from "../components/Code";
import { Panel } from "../components/Panel";
import { Segments } from "../components/Segments";
import { ClockTime } from "../components/Time";
import { asCurl, asPython, asYaml, definitionOf } from "../lib/export";
import { POLICY_HELP } from "../lib/words";

/** A job as it is defined, for people and for programs. */
export function JobDefinition({ job }: { job: JobOut }) {
  const door = useDoor();
  const [form, setForm] = useState("JSON");
  const yaml = useQuery({
    queryKey: ["yaml", job.id, job.version],
    queryFn: () => asYaml(job),
    enabled: form === "YAML",
  });
  const text =
    form === "JSON"
      ? JSON.stringify(definitionOf(job), null, 2)
      : form === "YAML"
        ? (yaml.data ?? "")
        : form === "curl"
          ? asCurl(job, door)
          : asPython(job, door);
  return (
    <div className="grid cols-main">
      <Panel
        title="Definition"
        aside={
          <Segments
            data={["JSON", "YAML", "curl", "Python"]}
            value={form}
            onChange={setForm}
            label="Written as"
          />
        }
      >
        <Code text={text} label={`Definition as ${form}`} maxHeight={640} />
      </Panel>
      <Panel title="In words">
        <dl className="facts">
          <dt>Id</dt>
          <dd className="mono">{job.id}</dd>
          <dt>Schedule</dt>
          <dd>{job.schedule.description}</dd>
          <dt>Target</dt>
          <dd>
            {job.target.log !== undefined
              ? "Writes a line into the log"
              : `${job.target.method} ${job.target.url}`}
          </dd>
          {job.target.timeout && (
            <>
              <dt>Timeout</dt>
              <dd>{job.target.timeout} for an attempt</dd>
            </>
          )}
          <dt>Attempts</dt>
          <dd>
            {job.retry.max_attempts === 1
              ? "One; nothing is tried again"
              : `Up to ${job.retry.max_attempts}; the first wait is ${job.retry.initial}, then ${job.retry.factor} times the last, ${job.retry.max} at most`}
          </dd>
          <dt>Success</dt>
          <dd>{job.success.join(", ")}</dd>
          <dt>While one runs</dt>
          <dd>
            {POLICY_HELP.overlap[job.overlap]} <span className="dim mono">{job.overlap}</span>
          </dd>
          <dt>Noticed too late</dt>
          <dd>
            {POLICY_HELP.misfire[job.misfire.policy]}{" "}
            <span className="dim mono">{job.misfire.policy}</span>
          </dd>
          <dt>Arrival unknown</dt>
          <dd>
            {POLICY_HELP.delivery[job.delivery]} <span className="dim mono">{job.delivery}</span>
          </dd>
          <dt>Version</dt>
          <dd className="num">{job.version}</dd>
          <dt>Created</dt>
          <dd>
            <ClockTime at={job.created_at} />
          </dd>
          <dt>Changed</dt>
          <dd>
            <ClockTime at={job.updated_at} />
          </dd>
        </dl>
      </Panel>
    </div>
  );
}
