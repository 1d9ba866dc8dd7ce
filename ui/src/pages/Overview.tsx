import { Skeleton } from "@mantine/core";
import {
  IconAlertTriangle,
  IconBell,
  IconCheck,
  IconHourglass,
  IconMinus,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useMemo } from "react";
import { Link } from "react-router";
import { ApiError } from "../api/problem";
import {
  clusterQuery,
  healthQuery,
  readyQuery,
  recentQuery,
  someExecutionsQuery,
  someJobsQuery,
  statsQuery,
} from "../api/queries";
import type { ExecutionOut, JobOut, MinuteOut, NextFire } from "../api/schema";
import { Lines as LineChart } from "../charts/Lines";
import { asDuration, stepFor } from "../charts/scale";
import { TimeBars } from "../charts/TimeBars";
import { FirstStep } from "../components/FirstStep";
import { NodeList } from "../components/Nodes";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { Segments } from "../components/Segments";
import { StateMark } from "../components/State";
import { Strip } from "../components/Strip";
import { RelTime, useNow } from "../components/Time";
import { coordinationWords } from "../lib/nodes";
import { useZone } from "../lib/prefs";
import { count, percent, rate } from "../lib/text";
import { clockTime, dayOf, millis, parseDuration, span } from "../lib/time";
import { useTitle } from "../lib/useTitle";
import { oneOf, useUrlState } from "../lib/useUrlState";
import { verdict } from "../lib/verdict";
import { reasonWords } from "../lib/words";

const WINDOWS = ["1h", "6h", "24h", "7d"] as const;
const SHOWN = 8;

export default function Overview() {
  useTitle("Overview");
  const [params, change] = useUrlState();
  const window = oneOf(params.get("window"), WINDOWS);
  const windowMs = parseDuration(window);
  const step = stepFor(windowMs, 84);

  const stats = useQuery(statsQuery(window, asDuration(step)));
  const health = useQuery(healthQuery());
  const ready = useQuery(readyQuery());
  const cluster = useQuery(clusterQuery());
  const failing = useQuery(
    someJobsQuery({
      last_result: "failed",
      status: ["active", "paused"],
      limit: SHOWN,
      sort: "name",
    }),
  );

  const data = stats.data;
  const missed = data ? data.executions.skipped : 0;
  const said = verdict({
    reachable: !(isUnreachable(stats.error) && isUnreachable(health.error)),
    ready: ready.data?.ready,
    readyProblems: (ready.data?.checks ?? []).filter((one) => !one.ok).map((one) => one.detail),
    degraded: health.data?.status === "degraded",
    degradedReason: health.data?.reason ?? null,
    jobs: data?.jobs,
    failing: (failing.data?.items ?? []).map((job) => job.name),
    failingMore: Boolean(failing.data?.next_cursor),
    skipped: missed,
    lapsedNodes: cluster.data?.totals.leases.lapsed ?? 0,
    window,
  });
  const empty =
    data && data.jobs.active + data.jobs.paused + data.jobs.completed + data.jobs.cancelled === 0;

  return (
    <div className="grid">
      <section className="panel" aria-label="State">
        <div className="verdict">
          <span className={`verdict-mark mark-${said.tone}`} aria-hidden="true">
            {VERDICT_ICONS[said.tone]}
          </span>
          <div className="grow">
            <h1 data-testid="verdict">{said.title}</h1>
            <div className="dim">{said.detail || " "}</div>
          </div>
          <Segments
            data={WINDOWS}
            value={window}
            onChange={(value) => change({ window: value === "1h" ? null : value })}
            label="How far back the figures go"
          />
        </div>
        {stats.error && !data ? (
          <div className="panel-body">
            <Problem error={stats.error} retry={() => void stats.refetch()} />
          </div>
        ) : (
          <div className="figures">
            {data ? (
              <>
                <Figure
                  label="Ended"
                  value={rate(data.rates.ended_per_minute)}
                  unit="per min"
                  note={`${endedOf(data).toLocaleString("en")} in ${window}`}
                />
                <Figure
                  label="Success"
                  value={percent(data.success_ratio)}
                  note={
                    data.executions.failed
                      ? `${data.executions.failed.toLocaleString("en")} failed`
                      : "none failed"
                  }
                  {...(data.executions.failed ? { tone: "bad" } : {})}
                />
                <Figure
                  label="Lateness p50"
                  value={millis(data.lateness_ms.p50)}
                  note={`p99 ${millis(data.lateness_ms.p99)}`}
                />
                <Figure
                  label="Right now"
                  value={data.executions.claimed.toLocaleString("en")}
                  unit="claimed"
                  note={`${data.executions.pending.toLocaleString("en")} waiting`}
                />
                <Figure
                  label="Did not run"
                  value={missed.toLocaleString("en")}
                  note={
                    data.executions.cancelled
                      ? `and ${data.executions.cancelled.toLocaleString("en")} cancelled`
                      : "none cancelled"
                  }
                  {...(missed ? { tone: "warn" } : {})}
                />
                <Figure
                  label="Jobs"
                  value={data.jobs.active.toLocaleString("en")}
                  unit="active"
                  note={data.jobs.paused ? `${data.jobs.paused} paused` : "none paused"}
                />
              </>
            ) : (
              Array.from({ length: 6 }, (_, index) => (
                <div className="figure" key={index} aria-busy="true">
                  <Skeleton height={12} width={60} mb={8} />
                  <Skeleton height={20} width={80} mb={8} />
                  <Skeleton height={10} width={70} />
                </div>
              ))
            )}
          </div>
        )}
      </section>

      {empty ? (
        <FirstStep />
      ) : (
        <>
          <div className="grid cols-2">
            <Panel
              title="Executions"
              aside={
                <span className="legend">
                  <span>
                    <i style={{ background: "var(--good-fill)" }} /> succeeded
                  </span>
                  <span>
                    <i style={{ background: "var(--bad-fill)" }} /> failed
                  </span>
                  <span>
                    <i style={{ boxShadow: "inset 0 0 0 1.5px var(--warn-fill)" }} /> did not run
                  </span>
                </span>
              }
            >
              {data ? (
                <EndedChart minutes={data.minutes} windowMs={windowMs} step={step} />
              ) : (
                <Skeleton height={132} />
              )}
            </Panel>
            <Panel
              title="Lateness"
              aside={
                <span className="legend">
                  <span>
                    <i style={{ background: "var(--busy-fill)", height: 3 }} /> p50
                  </span>
                  <span>
                    <i style={{ background: "var(--warn-fill)", height: 3 }} /> p99
                  </span>
                </span>
              }
            >
              {data ? (
                <LatenessChart minutes={data.minutes} windowMs={windowMs} step={step} />
              ) : (
                <Skeleton height={132} />
              )}
            </Panel>
          </div>
          <div className="grid cols-3">
            <Panel
              title="Fires next"
              flush
              aside={
                <Link className="link" to="/timeline">
                  Timeline
                </Link>
              }
            >
              {data ? <NextFires fires={data.next_fires} /> : <Lines count={6} />}
            </Panel>
            <Panel
              title="Fails now"
              flush
              aside={
                <Link className="link" to="/jobs?last_result=failed">
                  All that fail
                </Link>
              }
            >
              {failing.data ? <Failing jobs={failing.data.items} /> : <Lines count={4} />}
            </Panel>
            <Panel
              title="Did not run"
              flush
              aside={
                <Link className="link" to="/executions?state=skipped&state=cancelled">
                  All of these
                </Link>
              }
            >
              <Missed />
            </Panel>
          </div>
          <Nodes />
        </>
      )}
    </div>
  );
}

const VERDICT_ICONS: Record<string, ReactNode> = {
  good: <IconCheck size={22} stroke={2.5} />,
  bad: <IconBell size={21} stroke={2} />,
  warn: <IconAlertTriangle size={20} stroke={2} />,
  quiet: <IconMinus size={22} stroke={2.5} />,
  busy: <IconHourglass size={20} stroke={2} />,
};

function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.unreachable;
}

function endedOf(data: {
  executions: Record<"succeeded" | "failed" | "cancelled" | "skipped", number>;
}) {
  const { succeeded, failed, cancelled, skipped } = data.executions;
  return succeeded + failed + cancelled + skipped;
}

/** The axis: until the end of the present step, so that bars do not move under the pointer. */
function useAxis(windowMs: number, step: number): [number, number] {
  const now = useNow();
  const until = Math.ceil(now / step) * step;
  return [until - windowMs, until];
}

interface ChartProps {
  minutes: readonly MinuteOut[];
  windowMs: number;
  step: number;
}

function EndedChart({ minutes, windowMs, step }: ChartProps) {
  const [since, until] = useAxis(windowMs, step);
  const zone = useZone();
  const bars = useMemo(
    () =>
      minutes
        .map((one) => ({
          at: Date.parse(one.minute),
          values: [one.succeeded, one.failed, one.skipped + one.cancelled],
        }))
        .filter((bar) => bar.at >= since),
    [minutes, since],
  );
  return (
    <TimeBars
      bars={bars}
      since={since}
      until={until}
      step={step}
      label="Executions that ended, by result"
      series={[
        { label: "succeeded", fill: "var(--good-fill)" },
        { label: "failed", fill: "var(--bad-fill)" },
        { label: "did not run", fill: "var(--warn-fill)", hollow: true },
      ]}
      tip={(bar) => (
        <>
          {dayOf(bar.at, zone)}, {clockTime(bar.at, zone, false)}
          {step > 60_000 && ` + ${span(step)}`}
          <br />
          {bar.values[0]?.toLocaleString("en")} succeeded
          <br />
          {bar.values[1]?.toLocaleString("en")} failed
          <br />
          {bar.values[2]?.toLocaleString("en")} did not run
        </>
      )}
    />
  );
}

function LatenessChart({ minutes, windowMs, step }: ChartProps) {
  const [since, until] = useAxis(windowMs, step);
  const zone = useZone();
  const points = useMemo(() => {
    const known = new Map(minutes.map((one) => [Date.parse(one.minute), one.lateness_ms]));
    const found = [];
    for (let at = since; at < until; at += step) {
      const lateness = known.get(at);
      found.push({ at: at + step / 2, values: [lateness?.p50 ?? null, lateness?.p99 ?? null] });
    }
    return found;
  }, [minutes, since, until, step]);
  return (
    <LineChart
      points={points}
      since={since}
      until={until}
      height={132}
      log
      label="How late calls left, by percentile"
      series={[
        { label: "p50", stroke: "var(--busy-fill)" },
        { label: "p99", stroke: "var(--warn-fill)" },
      ]}
      tip={(point) => (
        <>
          {dayOf(point.at, zone)}, {clockTime(point.at, zone, false)}
          <br />
          p50 {millis(point.values[0])}
          <br />
          p99 {millis(point.values[1])}
        </>
      )}
    />
  );
}

function NextFires({ fires }: { fires: readonly NextFire[] }) {
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

function Failing({ jobs }: { jobs: readonly JobOut[] }) {
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
            <span className="dim cut">
              {failed?.http_status ?? failed?.error_kind ?? last?.error_kind ?? ""}
            </span>
            <span className="end" style={{ width: 72 }}>
              {found && <Strip executions={found.executions} slots={12} />}
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function Missed() {
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
            className="dim cut"
            style={{ flex: "0 1 auto" }}
            data-tip={`${one.skipped_count && one.skipped_count > 1 ? `${count(one.skipped_count, "fire")}: ` : ""}${reasonWords(one.reason)}`}
          >
            {one.skipped_count && one.skipped_count > 1 ? `${one.skipped_count}× ` : ""}
            {one.reason ?? one.state}
          </span>
          <span className="end">
            <RelTime at={one.fire_time} />
          </span>
        </li>
      ))}
    </ul>
  );
}

function Nodes() {
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
