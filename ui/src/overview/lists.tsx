import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { clusterQuery, recentQuery, someExecutionsQuery } from "../api/queries";
import type { ExecutionOut, JobOut, NextFire } from "../api/schema";
import { NodeList } from "../components/Nodes";
import { Lines, Panel } from "../components/Panel";
import { StateMark } from "../components/State";
import { Strip } from "../components/Strip";
import { RelTime, useNow } from "../components/Time";
import { coordinationWords } from "../lib/nodes";
import { count } from "../lib/text";
import { span } from "../lib/time";
import { outcomeLabel, reasonLabel, reasonWords, stateWords } from "../lib/words";

/** Entries of each list. */
export const SHOWN = 8;

/** What fires next, counted down. */
export function NextFires({ fires }: { fires: readonly NextFire[] }) {
  if (fires.length === 0) return <div className="blank">Nothing is going to fire.</div>;
  return (
    <ul className="rows">
      {fires.slice(0, SHOWN).map((fire) => (
        <li key={fire.job_id}>
          <Link className="name cut" to={`/jobs/${encodeURIComponent(fire.job_name)}`}>
            {fire.job_name}
          </Link>
          <span className="end">
            <Countdown at={fire.due} />
          </span>
        </li>
      ))}
    </ul>
  );
}

function Countdown({ at }: { at: string }) {
  const now = useNow();
  const left = Date.parse(at) - now;
  const text = left < 1_000 ? "now" : left < 600_000 ? clock(left) : `in ${span(left)}`;
  return (
    <time dateTime={at} data-at={Date.parse(at)} className={left < 10_000 ? "tone-busy" : ""}>
      {text}
    </time>
  );
}

function clock(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Jobs whose last execution failed. */
export function Failing({ jobs }: { jobs: readonly JobOut[] }) {
  const recent = useQuery(
    recentQuery(
      jobs.map((job) => job.id),
      12,
    ),
  );
  if (jobs.length === 0)
    return <div className="blank">No job fails. The last result of each is a success.</div>;
  return (
    <ul className="rows">
      {jobs.map((job) => {
        const last = job.last_execution;
        const found = recent.data?.items.find((one) => one.job_id === job.id);
        const failed = found?.executions.find((one) => one.state === "failed");
        return (
          <li key={job.id}>
            <StateMark state="failed" />
            <Link className="name cut" to={`/jobs/${encodeURIComponent(job.name)}`}>
              {job.name}
            </Link>
            <span className="dim cut beside">{outcomeLabel(failed ?? last ?? {})}</span>
            <span className="end" style={{ width: 72 }}>
              {found && <Strip executions={found.executions} slots={12} />}
            </span>
          </li>
        );
      })}
    </ul>
  );
}

/** Fires that did not run, and why. */
export function Missed() {
  const missed = useQuery(someExecutionsQuery({ state: ["skipped", "cancelled"], limit: SHOWN }));
  if (!missed.data) return <Lines count={4} />;
  if (missed.data.items.length === 0) {
    return <div className="blank">Every fire time was kept.</div>;
  }
  return (
    <ul className="rows">
      {missed.data.items.map((one: ExecutionOut) => (
        <li key={one.id}>
          <StateMark state={one.state} />
          <Link className="name cut" to={`/executions/${one.id}`}>
            {one.job_name}
          </Link>
          <span
            className="dim cut beside"
            data-tip={`${one.skipped_count && one.skipped_count > 1 ? `${count(one.skipped_count, "fire")}: ` : ""}${reasonWords(one.reason)}`}
          >
            {one.skipped_count && one.skipped_count > 1 ? `${one.skipped_count}× ` : ""}
            {one.reason ? reasonLabel(one.reason) : stateWords(one.state).label}
          </span>
          <span className="end">
            <RelTime at={one.fire_time} />
          </span>
        </li>
      ))}
    </ul>
  );
}

/** Who does the work. */
export function Nodes() {
  const cluster = useQuery(clusterQuery());
  const data = cluster.data;
  return (
    <Panel
      title="Nodes"
      flush
      aside={
        <Link className="link" to="/cluster">
          Cluster
        </Link>
      }
    >
      {data ? (
        <>
          <NodeList cluster={data} />
          <p className="dim panel-note">{coordinationWords(data)}</p>
        </>
      ) : (
        <Lines count={1} />
      )}
    </Panel>
  );
}
