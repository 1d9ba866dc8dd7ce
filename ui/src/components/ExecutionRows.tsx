import { Button } from "@mantine/core";
import { IconArrowUp } from "@tabler/icons-react";
import { memo, type RefObject, useEffect, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { useChunks } from "../api/chunks";
import { useLiveEvents } from "../api/liveContext";
import { executionChunks, type HistoryFilter } from "../api/queries";
import type { ExecutionOut } from "../api/schema";
import { count } from "../lib/text";
import { millis } from "../lib/time";
import { explain, reasonWords, triggerLabel } from "../lib/words";
import { Problem } from "./Problem";
import { StateBadge } from "./State";
import { ClockTime } from "./Time";
import { useRowKeys } from "./useRowKeys";
import { useWindowRows } from "./useWindowRows";
import { placed, WindowRows } from "./WindowRows";

const ROW = 32;
const PHONE_ROW = 54;
/** Pixels that the top of the list is out of sight before it stands still. */
const READING = 200;

/** The table of executions: rows that are in sight, and no others. */
export function ExecutionRows({
  filter,
  withJob,
  sticky,
}: {
  filter: HistoryFilter;
  withJob: boolean;
  sticky: boolean;
}) {
  const navigate = useNavigate();
  const top = useRef<HTMLDivElement>(null);
  // While somebody reads further down, the list stands still: new rows would move it.
  const reading = useReading(top);
  const fresh = useFresh(reading, filter.job);
  const list = useChunks(executionChunks(filter), { still: reading });
  const sight = useWindowRows({
    count: list.count,
    height: ROW,
    phoneHeight: PHONE_ROW,
    show: list.show,
  });
  const at = useRowKeys({
    length: list.count,
    show: (index) => sight.scrollTo(index),
    open: (index) => {
      const one = list.at(index);
      if (one) void navigate(`/executions/${one.id}`);
    },
  });

  if (list.error && list.count === 0) return <Problem error={list.error} retry={list.retry} />;
  const grid = `executions-grid${withJob ? "" : " no-job"}`;
  return (
    <div
      className="panel"
      ref={top}
      role="table"
      aria-label="Executions"
      aria-rowcount={list.count + 1}
    >
      <Head grid={grid} withJob={withJob} sticky={sticky} />
      {reading && fresh > 0 && (
        <div style={{ position: "sticky", top: 40, zIndex: 4, height: 0, textAlign: "center" }}>
          <Button
            radius="xl"
            leftSection={<IconArrowUp size={14} aria-hidden="true" />}
            onClick={() => window.scrollTo({ top: 0 })}
          >
            {count(fresh, "new one")}
          </Button>
        </div>
      )}
      <WindowRows
        list={list}
        sight={sight}
        empty={nothing(filter)}
        row={(one, place) => (
          <ExecutionRow
            key={one.id}
            one={one}
            number={place.index}
            withJob={withJob}
            phone={sight.phone}
            current={place.index === at}
            grid={grid}
            top={place.top}
            height={place.height}
          />
        )}
      />
      {list.error && <Problem error={list.error} retry={list.retry} />}
    </div>
  );
}

function nothing({ state, error_kind, since, until }: HistoryFilter): string {
  return state || error_kind || since || until
    ? "No execution fits. Change or remove a filter."
    : "Nothing here. Executions appear as soon as a job fires.";
}

function useReading(top: RefObject<HTMLDivElement | null>): boolean {
  const [reading, setReading] = useState(false);
  useEffect(() => {
    const onScroll = () => setReading((top.current?.getBoundingClientRect().top ?? 0) < -READING);
    window.addEventListener("scroll", onScroll, { passive: true });
    return () => window.removeEventListener("scroll", onScroll);
  }, [top]);
  return reading;
}

/** How many have ended since the list stands still. */
function useFresh(reading: boolean, job: string | undefined): number {
  const [fresh, setFresh] = useState(0);
  useEffect(() => {
    if (!reading) setFresh(0);
  }, [reading]);
  useLiveEvents((events) => {
    if (!reading) return;
    const ended = events.filter(
      (event) =>
        event.type.startsWith("execution.") &&
        event.type !== "execution.started" &&
        (!job || event.data?.job_id === job || event.data?.job_name === job),
    );
    if (ended.length) setFresh((before) => before + ended.length);
  });
  return fresh;
}

function Head({ grid, withJob, sticky }: { grid: string; withJob: boolean; sticky: boolean }) {
  return (
    <div role="rowgroup">
      <div
        role="row"
        aria-rowindex={1}
        className={`vhead ${grid}`}
        style={sticky ? undefined : { position: "static" }}
      >
        <span role="columnheader">Result</span>
        {withJob && <span role="columnheader">Job</span>}
        <span role="columnheader">Fire time</span>
        {!withJob && <span role="columnheader">Trigger</span>}
        <span role="columnheader" className="right">
          Late
        </span>
        <span role="columnheader" className="right">
          Took
        </span>
        <span role="columnheader" className="right">
          Tries
        </span>
        <span role="columnheader">What happened</span>
      </div>
    </div>
  );
}

interface RowProps {
  one: ExecutionOut;
  number: number;
  withJob: boolean;
  phone: boolean;
  current: boolean;
  grid: string;
  top: number;
  height: number;
}

/** Plain elements, for the reason that `JobRow` gives. */
const ExecutionRow = memo(function ExecutionRow(props: RowProps) {
  const { one, number, phone, current, grid, top, height } = props;
  return (
    <div
      role="row"
      aria-rowindex={number + 2}
      className={`vrow ${grid}`}
      style={placed({ top, height })}
      data-current={current || undefined}
      data-execution={one.id}
    >
      {phone ? <PhoneCells {...props} /> : <Cells {...props} />}
    </div>
  );
});

function PhoneCells({ one, withJob }: RowProps) {
  return (
    <>
      <div className="cut" role="cell">
        <a className="name cut strong" href={`/executions/${one.id}`}>
          {withJob ? one.job_name : <ClockTime at={one.fire_time} />}
        </a>
        <span className="dim cut small" style={{ display: "block" }}>
          {withJob && <ClockTime at={one.fire_time} />} {happened(one)}
        </span>
      </div>
      <div className="right" role="cell">
        <StateBadge state={one.state} />
        <div className="dim num small">
          {one.duration_ms === null ? "" : millis(one.duration_ms)}
        </div>
      </div>
    </>
  );
}

function Cells({ one, withJob }: RowProps) {
  const to = `/executions/${one.id}`;
  return (
    <>
      <span role="cell">
        <a href={to} className="name">
          <StateBadge state={one.state} />
        </a>
      </span>
      {withJob && (
        <span className="cut" role="cell">
          <a className="name" href={`/jobs/${encodeURIComponent(one.job_name)}`}>
            {one.job_name}
          </a>
        </span>
      )}
      <span role="cell">
        <a href={to} className="name num" tabIndex={-1}>
          <ClockTime at={one.fire_time} />
        </a>
      </span>
      {!withJob && (
        <span className="dim" role="cell">
          {triggerLabel(one.trigger)}
        </span>
      )}
      <span className="right num" role="cell">
        {one.lateness_ms === null ? "–" : millis(one.lateness_ms)}
      </span>
      <span className="right num" role="cell">
        {millis(one.duration_ms)}
      </span>
      <span className={`right num${one.attempt_count > 1 ? " tone-warn" : ""}`} role="cell">
        {one.attempt_count || "–"}
      </span>
      <span className="cut dim" role="cell" data-tip={one.error ?? undefined}>
        {happened(one)}
      </span>
    </>
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
  if (one.http_status) return `HTTP ${one.http_status}`;
  return "";
}
