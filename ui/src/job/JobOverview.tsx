import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link, useNavigate } from "react-router";
import { jobPreviewQuery, jobStatsQuery, someExecutionsQuery } from "../api/queries";
import type { JobOut } from "../api/schema";
import { Lines as LineChart, type Point } from "../charts/Lines";
import { valuesInWords } from "../charts/scale";
import { Heat } from "../components/Heat";
import { Figure, Lines, Panel } from "../components/Panel";
import { ScrollX } from "../components/ScrollX";
import { Segments } from "../components/Segments";
import { StateMark } from "../components/State";
import { ClockTime, RelTime } from "../components/Time";
import { useZone } from "../lib/prefs";
import { percent } from "../lib/text";
import { clockTime, dayOf, exactTime, millis, offsetName } from "../lib/time";
import { oneOf, useUrlState } from "../lib/useUrlState";
import { outcomeLabel, stateWords, statusWords } from "../lib/words";

const WINDOWS = ["1h", "24h", "7d"] as const;

/** A job at a glance: figures, charts, what comes and what was. */
export function JobOverview({ job }: { job: JobOut }) {
  const [params, change] = useUrlState();
  const window = oneOf(params.get("window"), ["24h", "1h", "7d"] as const);
  const stats = useQuery(jobStatsQuery(job.id, window));
  const data = stats.data;
  const last = job.last_execution;
  return (
    <div className="grid">
      <section className="panel" aria-label="In figures">
        <div className="panel-head" style={{ alignItems: "center" }}>
          <h2>{job.schedule.description}</h2>
          <div className="aside">
            <Segments
              data={WINDOWS}
              value={window}
              onChange={(value) => change({ window: value === "24h" ? null : value })}
              label="How far back the figures go"
            />
          </div>
        </div>
        <div className="figures">
          <Figure
            label="Next fire"
            value={<RelTime at={job.next_fire_at} none="none" />}
            note={
              job.next_fire_at ? <ClockTime at={job.next_fire_at} /> : statusWords(job.status).label
            }
          />
          <Figure
            label="Last"
            value={
              last ? (
                <Link className="name" to={`/executions/${last.id}`}>
                  <span
                    style={{ fontSize: "0.875rem" }}
                    className={`tone-${stateWords(last.state).tone}`}
                  >
                    <StateMark state={last.state} /> {stateWords(last.state).label}
                  </span>
                </Link>
              ) : (
                "–"
              )
            }
            note={last ? <RelTime at={last.fire_time} /> : "no result yet"}
          />
          <Figure
            label="Success"
            value={data ? percent(data.success_ratio) : <Skeleton width={70} height={20} />}
            note={
              data ? `${data.executions.failed} failed, ${data.executions.skipped} skipped` : ""
            }
          />
          <Figure
            label="Duration p50"
            value={data ? millis(data.duration_ms.p50) : <Skeleton width={70} height={20} />}
            note={data ? `p95 ${millis(data.duration_ms.p95)}` : ""}
          />
          <Figure
            label="Lateness p50"
            value={data ? millis(data.lateness_ms.p50) : <Skeleton width={70} height={20} />}
            note={data ? `p95 ${millis(data.lateness_ms.p95)}` : ""}
          />
        </div>
      </section>
      <Charts job={job} />
      <div className="grid cols-2">
        <NextTen job={job} />
        <div className="grid" style={{ alignContent: "start" }}>
          <Panel title="Day by day" aside="12 weeks">
            <Heat job={job.name} />
          </Panel>
          <LastFew job={job} />
        </div>
      </div>
    </div>
  );
}

function Charts({ job }: { job: JobOut }) {
  const navigate = useNavigate();
  const zone = useZone();
  const history = useQuery(someExecutionsQuery({ job: job.id, limit: 100 }));
  const points = useMemo(() => {
    const ran = (history.data?.items ?? []).filter((one) => one.duration_ms !== null).reverse();
    return {
      duration: ran.map((one) => ({
        at: Date.parse(one.fire_time),
        id: one.id,
        values: [one.duration_ms],
      })),
      lateness: ran.map((one) => ({
        at: Date.parse(one.fire_time),
        id: one.id,
        values: [one.lateness_ms],
      })),
    };
  }, [history.data]);
  const since = points.duration[0]?.at ?? 0;
  const until = Math.max(since + 60_000, points.duration.at(-1)?.at ?? 0);
  return (
    <div className="grid cols-2">
      {(
        [
          ["Duration", points.duration, "var(--busy-fill)"],
          ["Lateness", points.lateness, "var(--warn-fill)"],
        ] as const
      ).map(([title, found, stroke]) => (
        <Panel key={title} title={title} aside={`last ${found.length || ""} that ran`}>
          {!history.data ? (
            <Skeleton height={104} />
          ) : found.length === 0 ? (
            <div className="dim" style={{ padding: "30px 0", textAlign: "center" }}>
              Nothing has run yet.
            </div>
          ) : (
            <LineChart
              points={found}
              since={since}
              until={until}
              label={`Of the last executions: ${valuesInWords(found, [title.toLowerCase()], millis)}`}
              series={[{ label: title, stroke }]}
              onPick={(point: Point) =>
                void navigate(`/executions/${(point as Point & { id: string }).id}`)
              }
              tip={(point) => (
                <>
                  {millis(point.values[0])}
                  <br />
                  {exactTime(point.at, zone)}
                </>
              )}
            />
          )}
        </Panel>
      ))}
    </div>
  );
}

function NextTen({ job }: { job: JobOut }) {
  const zone = useZone();
  const preview = useQuery(jobPreviewQuery(job.id, job.version, 10));
  const own = job.schedule.timezone;
  const both = own !== zone;
  return (
    <Panel
      title="Next ten fires"
      flush
      aside={
        job.status === "active"
          ? undefined
          : `as if it were active; it is ${statusWords(job.status).label.toLowerCase()}`
      }
    >
      {!preview.data ? (
        <Lines count={10} />
      ) : preview.data.items.length === 0 ? (
        <div className="blank">None: the schedule has ended.</div>
      ) : (
        <ScrollX label="Next ten fires">
          <table className="table">
            <thead>
              <tr>
                <th>{own}</th>
                {both && <th>{zone}</th>}
                <th className="right">From now</th>
              </tr>
            </thead>
            <tbody>
              {preview.data.items.map((fire) => {
                const at = Date.parse(fire.fire_time);
                return (
                  <tr key={fire.fire_time}>
                    <td className="nowrap">
                      {dayOf(at, own)} {clockTime(at, own)}{" "}
                      {fire.offset_changed && (
                        <span
                          className="tag tone-warn"
                          data-tip={`The clocks were changed since the fire before: now ${offsetName(at, own)}`}
                        >
                          clock change, {offsetName(at, own)}
                        </span>
                      )}
                    </td>
                    {both && (
                      <td className="nowrap">
                        {dayOf(at, zone)} {clockTime(at, zone)}
                      </td>
                    )}
                    <td className="right dim">
                      <RelTime at={fire.fire_time} />
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </ScrollX>
      )}
    </Panel>
  );
}

function LastFew({ job }: { job: JobOut }) {
  const history = useQuery(someExecutionsQuery({ job: job.id, limit: 100 }));
  return (
    <Panel
      title="Last executions"
      flush
      aside={
        <Link className="link" to="?tab=history">
          History
        </Link>
      }
    >
      {!history.data ? (
        <Lines count={5} />
      ) : history.data.items.length === 0 ? (
        <div className="blank">It has not fired yet.</div>
      ) : (
        <ul className="rows">
          {history.data.items.slice(0, 6).map((one) => (
            <li key={one.id}>
              <StateMark state={one.state} />
              <Link className="name" to={`/executions/${one.id}`}>
                <ClockTime at={one.fire_time} />
              </Link>
              <span className="dim cut">
                {outcomeLabel(one)}
                {one.attempt_count > 1 ? ` · ${one.attempt_count} attempts` : ""}
              </span>
              <span className="end num">{millis(one.duration_ms)}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
