import { Button, Skeleton } from "@mantine/core";
import { useMemo, useState } from "react";
import type { TimelineOut } from "../api/schema";
import { linear } from "../charts/scale";
import { timeTicks } from "../charts/TimeBars";
import { useWidth } from "../charts/useSize";
import { useZone } from "../lib/prefs";
import { span } from "../lib/time";
import { lanesOf, type View } from "../lib/timeline";
import { Density, STRIP } from "./Density";
import { LaneRow } from "./LaneRow";

/** Jobs that have a lane of their own. */
const LANES = 60;

/** Past and future of all jobs on one axis. */
export function Axis({
  data,
  executions,
  cutAt,
  view,
  now,
  onSelect,
}: {
  data: TimelineOut | undefined;
  executions: Parameters<typeof lanesOf>[0];
  /** Successes before this are not drawn one by one. */
  cutAt: number | null;
  view: View;
  now: number;
  onSelect: (from: number, to: number) => void;
}) {
  const [ref, whole] = useWidth<HTMLDivElement>(900);
  const zone = useZone();
  const [showAll, setShowAll] = useState(false);
  const phone = whole < 620;
  // On a phone names stand above their lanes: beside them there is no room for either.
  const left = phone ? 12 : 170;
  const top = phone ? 22 : 0;
  const head = top + STRIP + 24;
  const width = Math.max(60, whole - left - 14);
  const x = useMemo(
    () => linear([view.since, view.until], [0, width]),
    [view.since, view.until, width],
  );
  const lanes = useMemo(
    () => lanesOf(executions, data?.fires ?? [], x, width),
    [executions, data, x, width],
  );
  const shown = showAll ? lanes : lanes.slice(0, LANES);
  const ticks = timeTicks(view.since, view.until, width, zone);

  return (
    <div ref={ref} className="lanes">
      <div
        className={`lane${phone ? " stacked" : ""}`}
        style={{
          gridTemplateColumns: phone ? undefined : `${left}px 1fr`,
          height: head,
          border: 0,
        }}
      >
        <div className="lane-name dim" style={{ alignSelf: "start", paddingTop: phone ? 4 : 10 }}>
          Density <div className="per">per {span(view.step)}</div>
        </div>
        {data ? (
          <Density data={data} view={view} width={width} x={x} onSelect={onSelect} />
        ) : (
          <Skeleton height={STRIP - 10} width={width} />
        )}
      </div>
      {shown.length === 0 && data && (
        <div className="blank" style={{ borderTop: "1px solid var(--line)" }}>
          Nothing happened in this stretch of time, and nothing is going to.
        </div>
      )}
      {shown.map((lane) => (
        <LaneRow key={lane.id} lane={lane} left={left} stacked={phone} width={width} />
      ))}
      {lanes.length > LANES && !showAll && (
        <div className="blank" style={{ borderTop: "1px solid var(--line)" }}>
          <Button variant="default" onClick={() => setShowAll(true)}>
            Show all {lanes.length} jobs
          </Button>
        </div>
      )}
      <svg
        aria-hidden="true"
        style={{ position: "absolute", left, top: 0, pointerEvents: "none", overflow: "hidden" }}
        width={width}
        height="100%"
      >
        {cutAt !== null && cutAt > view.since && (
          <rect
            x={0}
            y={head}
            width={x(Math.min(cutAt, view.until))}
            height="100%"
            fill="var(--quiet-fill)"
            opacity={0.09}
          />
        )}
        {ticks.map((tick) => (
          <line
            key={tick}
            x1={x(tick)}
            x2={x(tick)}
            y1={head - 2}
            y2="100%"
            stroke="var(--line)"
            strokeDasharray="2 3"
          />
        ))}
        {now >= view.since && now <= view.until && (
          <>
            <line
              x1={x(now)}
              x2={x(now)}
              y1={top + 4}
              y2="100%"
              stroke="var(--busy)"
              strokeWidth={1.5}
            />
            <rect x={x(now) - 15} y={top + 2} width={30} height={14} rx={3} fill="var(--busy)" />
            <text
              x={x(now)}
              y={top + 12.5}
              textAnchor="middle"
              fontSize={10}
              fontWeight={600}
              fill="var(--panel)"
            >
              now
            </text>
          </>
        )}
      </svg>
    </div>
  );
}
