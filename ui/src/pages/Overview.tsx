import { Skeleton } from "@mantine/core";
import {
  IconAlertTriangle,
  IconBell,
  IconCheck,
  IconHourglass,
  IconMinus,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { ApiError } from "../api/problem";
import { clusterQuery, healthQuery, readyQuery, someJobsQuery, statsQuery } from "../api/queries";
import type { JobOut, NextFire } from "../api/schema";
import { asDuration, stepFor } from "../charts/scale";
import { FirstStep } from "../components/FirstStep";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { Segments } from "../components/Segments";
import { percent, rate } from "../lib/text";
import { millis, parseDuration } from "../lib/time";
import { useTitle } from "../lib/useTitle";
import { oneOf, useUrlState } from "../lib/useUrlState";
import { verdict } from "../lib/verdict";
import { EndedChart, LatenessChart } from "../overview/charts";
import { Failing, Missed, NextFires, Nodes, SHOWN } from "../overview/lists";

const WINDOWS = ["1h", "6h", "24h", "7d"] as const;

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

  // The figures are of all jobs: a key that is limited to some by tags gets none.
  const limited = stats.error instanceof ApiError && stats.error.status === 403;
  const coming = useQuery({
    ...someJobsQuery({ status: ["active"], sort: "next_fire_at", limit: SHOWN }),
    enabled: limited,
  });

  const data = stats.data;
  const fires = limited ? coming.data?.items.flatMap(nextFireOf) : data?.next_fires;
  const missed = data ? data.executions.skipped : 0;
  const said = verdict({
    reachable: !(isUnreachable(stats.error) && isUnreachable(health.error)),
    ready: ready.data?.ready,
    readyProblems: (ready.data?.checks ?? []).filter((one) => !one.ok).map((one) => one.detail),
    degraded: health.data?.status === "degraded",
    degradedReason: health.data?.reason ?? null,
    jobs: data?.jobs,
    limited,
    failing: failing.data?.items.map((job) => job.name),
    failed: data?.executions.failed ?? 0,
    failingMore: Boolean(failing.data?.next_cursor),
    skipped: missed,
    lapsedNodes: cluster.data?.totals.leases.lapsed,
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
            <h1 data-testid="verdict" aria-live="polite">
              {said.title}
            </h1>
            <div className="dim">{said.detail || "\u00a0"}</div>
          </div>
          {!limited && (
            <Segments
              data={WINDOWS}
              value={window}
              onChange={(value) => change({ window: value === "1h" ? null : value })}
              label="How far back the figures go"
            />
          )}
        </div>
        {limited ? null : stats.error && !data ? (
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
                  unit="running"
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
                  note={
                    data.jobs.paused
                      ? `${data.jobs.paused.toLocaleString("en")} paused`
                      : "none paused"
                  }
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
          {!limited && (
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
          )}
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
              {fires ? <NextFires fires={fires} /> : <Lines count={6} />}
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
  good: <IconCheck size={22} stroke={2.5} aria-hidden="true" />,
  bad: <IconBell size={21} stroke={2} aria-hidden="true" />,
  warn: <IconAlertTriangle size={20} stroke={2} aria-hidden="true" />,
  quiet: <IconMinus size={22} stroke={2.5} aria-hidden="true" />,
  busy: <IconHourglass size={20} stroke={2} aria-hidden="true" />,
};

function nextFireOf(job: JobOut): NextFire[] {
  return job.next_fire_at ? [{ job_id: job.id, job_name: job.name, due: job.next_fire_at }] : [];
}

function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.unreachable;
}

function endedOf(data: {
  executions: Record<"succeeded" | "failed" | "cancelled" | "skipped", number>;
}) {
  const { succeeded, failed, cancelled, skipped } = data.executions;
  return succeeded + failed + cancelled + skipped;
}
