import { Button, Select, TextInput } from "@mantine/core";
import { IconArrowUp } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { type CSSProperties, useEffect, useMemo, useRef, useState } from "react";
import { Link, useNavigate } from "react-router";
import { useLiveEvents } from "../api/liveContext";
import { executionsQuery, type HistoryFilter } from "../api/queries";
import type { ErrorKind, ExecutionOut, State } from "../api/schema";
import { useZone } from "../lib/prefs";
import { count } from "../lib/text";
import { fromWall, millis, toWall } from "../lib/time";
import { someOf, useUrlState } from "../lib/useUrlState";
import { explain, reasonWords } from "../lib/words";
import { Lines } from "./Panel";
import { Problem } from "./Problem";
import { StateBadge } from "./State";
import { ClockTime } from "./Time";
import { useRowKeys } from "./useRowKeys";
import { useWindowRows } from "./useWindowRows";

const STATES: readonly State[] = [
  "claimed",
  "pending",
  "succeeded",
  "failed",
  "skipped",
  "cancelled",
];
const KINDS: readonly ErrorKind[] = [
  "http_status",
  "timeout",
  "connection",
  "dns",
  "tls",
  "protocol",
  "redirect",
  "blocked",
  "too_large",
  "cancelled",
  "lost",
];

/** Executions with their filters, of all jobs or of one; what is chosen is in the address. */
export function History({ job, sticky = true }: { job?: string; sticky?: boolean }) {
  const [params, change] = useUrlState();
  const zone = useZone();
  const states = someOf(params.getAll("state"), STATES);
  const kind = someOf(params.getAll("error_kind"), KINDS)[0];
  const since = params.get("since") ?? "";
  const until = params.get("until") ?? "";
  const filter: HistoryFilter = {
    ...(job ? { job } : {}),
    ...(states.length ? { state: states } : {}),
    ...(kind ? { error_kind: kind } : {}),
    ...(since ? { since } : {}),
    ...(until ? { until } : {}),
  };
  return (
    <>
      <div className="toolbar">
        <fieldset className="chips" style={{ border: 0, padding: 0, margin: 0 }}>
          <legend className="sr-only">State</legend>
          {STATES.map((state) => (
            <button
              type="button"
              key={state}
              className="chip"
              aria-pressed={states.includes(state)}
              onClick={() =>
                change({
                  state: states.includes(state)
                    ? states.filter((one) => one !== state)
                    : [...states, state],
                })
              }
            >
              <StateBadge state={state} />
            </button>
          ))}
        </fieldset>
        <Select
          w={150}
          size="xs"
          aria-label="Kind of error"
          placeholder="Any error"
          clearable
          data={KINDS.map((one) => ({ value: one, label: one.replace("_", " ") }))}
          value={kind ?? null}
          onChange={(value) => change({ error_kind: value })}
        />
        {(["since", "until"] as const).map((name) => (
          <TextInput
            key={name}
            leftSection={<span className="dim">{name === "since" ? "from" : "before"}</span>}
            leftSectionWidth={name === "since" ? 40 : 50}
            leftSectionPointerEvents="none"
            w={name === "since" ? 212 : 222}
            size="xs"
            type="datetime-local"
            aria-label={name === "since" ? "Fire time from" : "Fire time before"}
            value={wallOf(params.get(name), zone)}
            onChange={(event) => {
              const at = fromWall(event.currentTarget.value, zone);
              change({ [name]: Number.isNaN(at) ? null : new Date(at).toISOString() });
            }}
          />
        ))}
        {(states.length > 0 || kind || since || until) && (
          <Button
            variant="subtle"
            color="gray"
            onClick={() => change({ state: null, error_kind: null, since: null, until: null })}
          >
            Show all
          </Button>
        )}
      </div>
      <ExecutionRows filter={filter} withJob={!job} sticky={sticky} />
    </>
  );
}

function wallOf(value: string | null, zone: string): string {
  const at = value ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? "" : toWall(at, zone).slice(0, 16);
}

function ExecutionRows({
  filter,
  withJob,
  sticky,
}: {
  filter: HistoryFilter;
  withJob: boolean;
  sticky: boolean;
}) {
  const navigate = useNavigate();
  const [reading, setReading] = useState(false);
  // While somebody reads further down, the list stands still: new rows would move it.
  const list = useInfiniteQuery({
    ...executionsQuery(filter),
    enabled: !reading,
  });
  const items = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const [fresh, setFresh] = useState(0);
  const top = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const onScroll = () => {
      const away = (top.current?.getBoundingClientRect().top ?? 0) < -200;
      setReading(away);
      if (!away) setFresh(0);
    };
    window.addEventListener("scroll", onScroll, { passive: true });
    return () => window.removeEventListener("scroll", onScroll);
  }, []);

  useLiveEvents((events) => {
    if (!reading) return;
    const ended = events.filter(
      (event) =>
        event.type.startsWith("execution.") &&
        event.type !== "execution.started" &&
        (!filter.job || event.data?.job_id === filter.job || event.data?.job_name === filter.job),
    );
    if (ended.length) setFresh((before) => before + ended.length);
  });

  const more =
    list.hasNextPage && !list.isFetchingNextPage ? () => void list.fetchNextPage() : null;
  const { ref, rows, total, margin, phone, scrollTo } = useWindowRows({
    count: items.length,
    height: 32,
    phoneHeight: 54,
    more,
  });
  const at = useRowKeys({
    length: items.length,
    show: (index) => scrollTo(index),
    open: (index) => void navigate(`/executions/${items[index]?.id}`),
  });

  if (list.error && !list.data) {
    return <Problem error={list.error} retry={() => void list.refetch()} />;
  }
  const grid = `executions-grid${withJob ? "" : " no-job"}`;
  return (
    <div className="panel" ref={top}>
      <div className={`vhead ${grid}`} style={sticky ? undefined : { position: "static" }}>
        <span>Result</span>
        {withJob && <span>Job</span>}
        <span>Fire time</span>
        {!withJob && <span>Trigger</span>}
        <span className="right">Late</span>
        <span className="right">Took</span>
        <span className="right">Tries</span>
        <span>What happened</span>
      </div>
      {reading && fresh > 0 && (
        <div style={{ position: "sticky", top: 40, zIndex: 4, height: 0, textAlign: "center" }}>
          <Button
            radius="xl"
            leftSection={<IconArrowUp size={14} />}
            onClick={() => window.scrollTo({ top: 0 })}
          >
            {count(fresh, "new one")}
          </Button>
        </div>
      )}
      {!list.data && <Lines count={8} />}
      {list.data && items.length === 0 && (
        <div className="blank">Nothing here. Executions appear as soon as a job fires.</div>
      )}
      <div ref={ref} className="vgrid" style={{ height: total }} data-testid="rows">
        {rows.map((row) => {
          const one = items[row.index] as ExecutionOut;
          return (
            <ExecutionRow
              key={one.id}
              one={one}
              withJob={withJob}
              phone={phone}
              className={`vrow ${grid}`}
              style={{
                height: row.size,
                transform: `translateY(${row.start - margin}px)`,
                ...(row.index === at
                  ? { boxShadow: "inset 2px 0 0 light-dark(#28557f, #6a9bc7)" }
                  : {}),
              }}
            />
          );
        })}
      </div>
    </div>
  );
}

function ExecutionRow({
  one,
  withJob,
  phone,
  className,
  style,
}: {
  one: ExecutionOut;
  withJob: boolean;
  phone: boolean;
  className: string;
  style: CSSProperties;
}) {
  const to = `/executions/${one.id}`;
  if (phone) {
    return (
      <div className={className} style={style} data-execution={one.id}>
        <div className="cut">
          <Link className="name cut" to={to} style={{ display: "block", fontWeight: 500 }}>
            {withJob ? one.job_name : <ClockTime at={one.fire_time} />}
          </Link>
          <span className="dim cut" style={{ display: "block", fontSize: "0.75rem" }}>
            {withJob && <ClockTime at={one.fire_time} />} {happened(one)}
          </span>
        </div>
        <div className="right">
          <StateBadge state={one.state} />
          <div className="dim num" style={{ fontSize: "0.75rem" }}>
            {one.duration_ms === null ? "" : millis(one.duration_ms)}
          </div>
        </div>
      </div>
    );
  }
  return (
    <div className={className} style={style} data-execution={one.id}>
      <Link to={to} className="name">
        <StateBadge state={one.state} />
      </Link>
      {withJob && (
        <Link className="name cut" to={`/jobs/${encodeURIComponent(one.job_name)}`}>
          {one.job_name}
        </Link>
      )}
      <Link to={to} className="name num">
        <ClockTime at={one.fire_time} />
      </Link>
      {!withJob && <span className="dim">{one.trigger}</span>}
      <span className="right num">{one.lateness_ms === null ? "–" : millis(one.lateness_ms)}</span>
      <span className="right num">{millis(one.duration_ms)}</span>
      <span className={`right num${one.attempt_count > 1 ? " tone-warn" : ""}`}>
        {one.attempt_count || "–"}
      </span>
      <span className="cut dim" title={one.error ?? undefined}>
        {happened(one)}
      </span>
    </div>
  );
}

function happened(one: ExecutionOut): string {
  if (one.state === "skipped" || one.state === "cancelled") {
    const range = one.skipped_count && one.skipped_count > 1 ? `${one.skipped_count} fires: ` : "";
    return range + reasonWords(one.reason);
  }
  if (one.state === "pending" && one.attempt_count > 0) return "waits for its next attempt";
  if (one.queued) return "waits for the one before";
  if (one.error) return one.error;
  if (one.error_kind) return explain(one.error_kind, one.http_status).title;
  if (one.http_status) return String(one.http_status);
  return "";
}
