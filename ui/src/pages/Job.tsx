import { Button, Menu, Skeleton, Tabs } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import {
  IconCopy,
  IconDots,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconTrash,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { ApiError } from "../api/problem";
import { jobPreviewQuery, jobQuery, jobStatsQuery, someExecutionsQuery } from "../api/queries";
import type { JobOut } from "../api/schema";
import { useSession } from "../api/session";
import { Lines as LineChart, type Point } from "../charts/Lines";
import { Code } from "../components/Code";
import { Guarded } from "../components/Guarded";
import { Heat } from "../components/Heat";
import { History } from "../components/History";
import { LinkButton } from "../components/LinkButton";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { Segments } from "../components/Segments";
import { StateMark, StatusBadge } from "../components/State";
import { useKeys } from "../components/shortcuts";
import { ClockTime, RelTime } from "../components/Time";
import { useJobActions } from "../components/useJobActions";
import { asCurl, asPython, asYaml, definitionOf } from "../lib/export";
import { useZone } from "../lib/prefs";
import { percent } from "../lib/text";
import { clockTime, dayOf, exactTime, millis, offsetName } from "../lib/time";
import { useTitle } from "../lib/useTitle";
import { oneOf, useUrlState } from "../lib/useUrlState";
import { POLICY_HELP, stateWords } from "../lib/words";
import { NotFound } from "./NotFound";

const TABS = ["overview", "history", "definition"] as const;

export default function Job() {
  const { ref = "" } = useParams();
  const job = useQuery(jobQuery(ref));
  useTitle(job.data?.name ?? "Job");
  if (job.error && !job.data) {
    if (job.error instanceof ApiError && job.error.status === 404) {
      return <NotFound what="job" why={job.error.message} />;
    }
    return <Problem error={job.error} retry={() => void job.refetch()} />;
  }
  if (!job.data) {
    return (
      <section className="panel">
        <Lines count={8} />
      </section>
    );
  }
  return <Found job={job.data} />;
}

function Found({ job }: { job: JobOut }) {
  const [params, change] = useUrlState();
  const tab = oneOf(params.get("tab"), TABS);
  return (
    <>
      <Head job={job} />
      <Tabs
        value={tab}
        onChange={(value) =>
          change({
            tab: value === "overview" ? null : value,
            state: null,
            error_kind: null,
            since: null,
            until: null,
          })
        }
        keepMounted={false}
      >
        <Tabs.List mb={14}>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="history">History</Tabs.Tab>
          <Tabs.Tab value="definition">Definition</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <OverviewTab job={job} />
        </Tabs.Panel>
        <Tabs.Panel value="history">
          <History job={job.id} />
        </Tabs.Panel>
        <Tabs.Panel value="definition">
          <DefinitionTab job={job} />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Head({ job }: { job: JobOut }) {
  const navigate = useNavigate();
  const { refusal } = useSession();
  const { ask } = useJobActions((verb) => {
    if (verb === "remove") void navigate("/jobs");
  });
  const operate = refusal("operator") === null;
  const paused = job.status === "paused";
  const pausable = paused || job.status === "active";
  const triggerable = job.status !== "cancelled";
  const path = `/jobs/${encodeURIComponent(job.name)}`;
  const toggle = () => pausable && ask(paused ? "resume" : "pause", [job]);
  useKeys({
    t: () => operate && triggerable && ask("trigger", [job]),
    p: () => operate && toggle(),
    e: () => refusal("editor") === null && void navigate(`${path}/edit`),
  });

  const copy = async (what: string, text: string | Promise<string>) => {
    try {
      await navigator.clipboard.writeText(await text);
      notifications.show({ message: `Copied as ${what}` });
    } catch {
      notifications.show({
        color: "red",
        message: "The browser does not allow copying here; see the tab Definition.",
      });
    }
  };

  return (
    <div className="page-head">
      <div className="grow" style={{ minWidth: 240 }}>
        <h1 style={{ display: "flex", gap: "4px 10px", alignItems: "center", flexWrap: "wrap" }}>
          {job.name}
          <span style={{ fontSize: "0.8125rem" }}>
            <StatusBadge status={job.status} />
          </span>
          {job.tags.map((tag) => (
            <Link key={tag} className="tag" to={`/jobs?tag=${encodeURIComponent(tag)}`}>
              {tag}
            </Link>
          ))}
        </h1>
        <div className="dim">{job.description || job.schedule.description}</div>
      </div>
      <div className="actions">
        <Guarded reason={refusal("operator")}>
          {(disabled) => (
            <Button
              leftSection={<IconPlayerTrackNext size={15} />}
              disabled={disabled || !triggerable}
              onClick={() => ask("trigger", [job])}
            >
              Trigger now
            </Button>
          )}
        </Guarded>
        <Guarded reason={refusal("operator")}>
          {(disabled) => (
            <Button
              variant="default"
              leftSection={paused ? <IconPlayerPlay size={15} /> : <IconPlayerPause size={15} />}
              disabled={disabled || !pausable}
              onClick={toggle}
            >
              {paused ? "Resume" : "Pause"}
            </Button>
          )}
        </Guarded>
        <Guarded reason={refusal("editor")}>
          {(disabled) => (
            <LinkButton
              variant="default"
              leftSection={<IconPencil size={15} />}
              disabled={disabled}
              to={`${path}/edit`}
            >
              Edit
            </LinkButton>
          )}
        </Guarded>
        <Menu position="bottom-end" width={200}>
          <Menu.Target>
            <Button variant="default" px={8} aria-label="More">
              <IconDots size={16} />
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Label>Copy as</Menu.Label>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              onClick={() => void copy("curl", asCurl(job, location.origin))}
            >
              curl
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              onClick={() => void copy("YAML", asYaml(job))}
            >
              YAML
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              onClick={() => void copy("Python", asPython(job, location.origin))}
            >
              Python
            </Menu.Item>
            {refusal("editor") === null && (
              <>
                <Menu.Divider />
                <Menu.Item
                  component={Link}
                  to={`/jobs/new?from=${encodeURIComponent(job.name)}`}
                  leftSection={<IconCopy size={15} />}
                >
                  Duplicate
                </Menu.Item>
                <Menu.Item
                  c="var(--bad)"
                  leftSection={<IconTrash size={15} />}
                  onClick={() => ask("remove", [job])}
                >
                  Delete
                </Menu.Item>
              </>
            )}
          </Menu.Dropdown>
        </Menu>
      </div>
    </div>
  );
}

const WINDOWS = ["1h", "24h", "7d"] as const;

function OverviewTab({ job }: { job: JobOut }) {
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
            note={job.next_fire_at ? <ClockTime at={job.next_fire_at} /> : job.status}
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
            note={last ? <RelTime at={last.fire_time} /> : "never ran"}
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
              label={`${title} of the last executions`}
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
      aside={job.status === "active" ? undefined : `as if it were active; it is ${job.status}`}
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
                {one.http_status ?? one.error_kind ?? one.reason ?? ""}
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

function DefinitionTab({ job }: { job: JobOut }) {
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
          ? asCurl(job, location.origin)
          : asPython(job, location.origin);
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
          <dt>Overlap</dt>
          <dd>
            {job.overlap}: {POLICY_HELP.overlap[job.overlap]}
          </dd>
          <dt>Misfire</dt>
          <dd>
            {job.misfire.policy}: {POLICY_HELP.misfire[job.misfire.policy]}
          </dd>
          <dt>Delivery</dt>
          <dd>
            {job.delivery.replaceAll("_", " ")}: {POLICY_HELP.delivery[job.delivery]}
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
