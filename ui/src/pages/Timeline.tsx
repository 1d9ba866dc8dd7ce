import { ActionIcon, Button, Skeleton } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconMinus, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type PointerEvent, useMemo, useState } from "react";
import { Link, useNavigate } from "react-router";
import { someExecutionsQuery, timelineQuery } from "../api/queries";
import type { TimelineOut } from "../api/schema";
import { asDuration, linear } from "../charts/scale";
import { tickLabel, timeTicks } from "../charts/TimeBars";
import { useWidth } from "../charts/useSize";
import { Problem } from "../components/Problem";
import { Segments } from "../components/Segments";
import { useKeys } from "../components/shortcuts";
import { useTicking } from "../components/Time";
import { serverTime } from "../lib/clock";
import { useZone } from "../lib/prefs";
import { count } from "../lib/text";
import { exactTime, parseDuration, span } from "../lib/time";
import {
  type Lane,
  LONGEST,
  lanesOf,
  type Mark,
  SHORTEST,
  type View,
  viewOf,
} from "../lib/timeline";
import { useTitle } from "../lib/useTitle";
import { useUrlState } from "../lib/useUrlState";
import { stateWords } from "../lib/words";

const PRESETS = ["15m", "1h", "6h", "24h", "7d", "28d"];
const DRAWN = 1_000;
const LANES = 60;

export default function Timeline() {
  useTitle("Timeline");
  const [params, change] = useUrlState();
  const range = clamp(parseDuration(params.get("range") ?? "1h"));
  const fixed = params.get("at") ? Date.parse(params.get("at") as string) : Number.NaN;
  const following = Number.isNaN(fixed);
  // Moves on in steps that cannot be told from standing still.
  const beat = Math.max(5_000, range / 240);
  const now = useTicking(() => Math.floor(serverTime.now() / beat) * beat);
  const center = following ? now : fixed;
  const view = useMemo(() => viewOf(center, range, now), [center, range, now]);

  const timeline = useQuery(
    timelineQuery(
      new Date(view.since).toISOString(),
      new Date(view.until).toISOString(),
      asDuration(view.step),
    ),
  );
  const past = useQuery({
    ...someExecutionsQuery({
      since: new Date(view.since).toISOString(),
      until: new Date(view.until).toISOString(),
      limit: DRAWN,
    }),
    enabled: view.since < now,
  });

  // What went wrong is few among many, and so reaches further back.
  const wrong = useQuery({
    ...someExecutionsQuery({
      since: new Date(view.since).toISOString(),
      until: new Date(view.until).toISOString(),
      state: ["failed", "skipped", "cancelled"],
      limit: DRAWN,
    }),
    enabled: Boolean(past.data?.next_cursor),
  });
  const cut = past.data?.next_cursor ? (past.data.items.at(-1)?.fire_time ?? null) : null;
  const executions = useMemo(() => {
    const newest = past.data?.items ?? [];
    if (!cut) return newest;
    const known = new Set(newest.map((one) => one.id));
    return [...newest, ...(wrong.data?.items ?? []).filter((one) => !known.has(one.id))];
  }, [past.data, wrong.data, cut]);

  const look = (at: number | null, length: number) =>
    change({
      at: at === null ? null : new Date(Math.round(at)).toISOString(),
      range: asText(clamp(length)),
    });
  const pan = (part: number) => look(center + range * part, range);
  const zoom = (factor: number) => look(following ? null : center, range * factor);
  useKeys({
    ArrowLeft: () => pan(-0.25),
    ArrowRight: () => pan(0.25),
    "+": () => zoom(0.5),
    "-": () => zoom(2),
    "0": () => look(null, 3_600_000),
  });

  return (
    <>
      <div className="page-head">
        <h1>Timeline</h1>
        <div className="actions" style={{ alignItems: "center" }}>
          <Segments
            data={PRESETS}
            value={PRESETS.find((one) => parseDuration(one) === range) ?? ""}
            onChange={(value) => look(following ? null : center, parseDuration(value))}
            label="Length of time"
          />
          <Button.Group>
            <Tool label="Earlier (←)" icon={<IconChevronLeft size={15} />} act={() => pan(-0.5)} />
            <Button variant="default" disabled={following} onClick={() => look(null, range)}>
              Now
            </Button>
            <Tool label="Later (→)" icon={<IconChevronRight size={15} />} act={() => pan(0.5)} />
          </Button.Group>
          <Button.Group>
            <Tool
              label="Zoom out (-)"
              icon={<IconMinus size={15} />}
              act={() => zoom(2)}
              off={range >= LONGEST}
            />
            <Tool
              label="Zoom in (+)"
              icon={<IconPlus size={15} />}
              act={() => zoom(0.5)}
              off={range <= SHORTEST}
            />
          </Button.Group>
        </div>
      </div>
      {timeline.error && !timeline.data ? (
        <Problem error={timeline.error} retry={() => void timeline.refetch()} />
      ) : (
        <div className="panel" style={{ overflow: "hidden" }}>
          <Axis
            data={timeline.data}
            executions={executions}
            cutAt={cut === null ? null : Date.parse(cut)}
            view={view}
            now={now}
            onSelect={(from, to) => look(from + ((to - from) * 2) / 3, to - from)}
          />
          <Footnotes data={timeline.data} view={view} now={now} cut={cut !== null} />
        </div>
      )}
    </>
  );
}

function Tool({
  label,
  icon,
  act,
  off = false,
}: {
  label: string;
  icon: React.ReactNode;
  act: () => void;
  off?: boolean;
}) {
  return (
    <ActionIcon
      variant="default"
      size={30}
      onClick={act}
      disabled={off}
      aria-label={label}
      data-tip={label}
    >
      {icon}
    </ActionIcon>
  );
}

function clamp(range: number): number {
  if (Number.isNaN(range)) return 3_600_000;
  return Math.min(LONGEST, Math.max(SHORTEST, range));
}

function asText(range: number): string {
  for (const [unit, size] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
  ] as const) {
    if (range % size === 0 && (unit !== "d" || range > 86_400_000)) return `${range / size}${unit}`;
  }
  return `${Math.max(1, Math.round(range / 60_000))}m`;
}

const STRIP = 74;

function Axis({
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
  const left = phone ? 104 : 170;
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
        className="lane"
        style={{ gridTemplateColumns: `${left}px 1fr`, height: STRIP + 24, border: 0 }}
      >
        <div className="lane-name dim" style={{ alignSelf: "start", paddingTop: 10 }}>
          Density
          <div style={{ fontSize: "0.75rem" }}>per {span(view.step)}</div>
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
        <LaneRow key={lane.id} lane={lane} left={left} width={width} />
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
            y={STRIP + 24}
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
            y1={STRIP + 22}
            y2="100%"
            stroke="var(--line)"
            strokeDasharray="2 3"
          />
        ))}
        {now >= view.since && now <= view.until && (
          <>
            <line x1={x(now)} x2={x(now)} y1={4} y2="100%" stroke="var(--busy)" strokeWidth={1.5} />
            <rect x={x(now) - 15} y={2} width={30} height={14} rx={3} fill="var(--busy)" />
            <text
              x={x(now)}
              y={12.5}
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

/** Where the herd is: everything that ended and everything to come, counted by step. */
function Density({
  data,
  view,
  width,
  x,
  onSelect,
}: {
  data: TimelineOut;
  view: View;
  width: number;
  x: (at: number) => number;
  onSelect: (from: number, to: number) => void;
}) {
  const zone = useZone();
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const [hover, setHover] = useState<{ x: number; words: React.ReactNode } | null>(null);
  const past = data.past.map((one) => ({
    at: Date.parse(one.start),
    good: one.succeeded,
    bad: one.failed,
    warn: one.skipped + one.cancelled,
  }));
  const ahead = data.ahead.map((one) => ({ at: Date.parse(one.start), fires: one.fires }));
  const byStep = new Map<number, number>();
  for (const one of past) byStep.set(one.at, one.good + one.bad + one.warn);
  for (const one of ahead) byStep.set(one.at, (byStep.get(one.at) ?? 0) + one.fires);
  const highest = Math.max(1, ...byStep.values());
  const y = linear([0, highest], [STRIP, 22]);
  const bar = Math.max(1, x(view.since + view.step) - x(view.since) - 1);
  const axis = timeTicks(view.since, view.until, width, zone);

  const at = (event: PointerEvent<SVGSVGElement>) =>
    event.clientX - event.currentTarget.getBoundingClientRect().left;
  const timeAt = (place: number) => view.since + (place / width) * (view.until - view.since);

  return (
    <div style={{ position: "relative" }}>
      <svg
        className="chart"
        width={width}
        height={STRIP + 24}
        style={{ width, cursor: "crosshair", touchAction: "pan-y" }}
        role="img"
        aria-label="How many fires there were and will be, by time"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag([at(event), at(event)]);
        }}
        onPointerMove={(event) => {
          const place = at(event);
          if (drag) setDrag([drag[0], place]);
          const start =
            view.since + Math.floor((timeAt(place) - view.since) / view.step) * view.step;
          const one = past.find((found) => found.at === start);
          const next = ahead.find((found) => found.at === start);
          setHover({
            x: place,
            words: (
              <>
                {exactTime(start, zone)} + {span(view.step)}
                {one && (
                  <>
                    <br />
                    {one.good} succeeded, {one.bad} failed, {one.warn} did not run
                  </>
                )}
                {next && (
                  <>
                    <br />
                    {count(next.fires, "fire")} to come
                  </>
                )}
                {!one && !next && (
                  <>
                    <br />
                    nothing
                  </>
                )}
              </>
            ),
          });
        }}
        onPointerUp={() => {
          if (drag && Math.abs(drag[1] - drag[0]) > 8) {
            const [from, to] = [Math.min(...drag), Math.max(...drag)];
            onSelect(timeAt(from), timeAt(to));
          }
          setDrag(null);
        }}
        onPointerLeave={() => setHover(null)}
      >
        <line className="axis" x1={0} x2={width} y1={STRIP} y2={STRIP} />
        <text x={width} y={14} textAnchor="end">
          up to {highest.toLocaleString("en")}
        </text>
        {past.map((one) => (
          <g key={`p${one.at}`}>
            <rect
              x={x(one.at)}
              width={bar}
              y={y(one.good)}
              height={STRIP - y(one.good)}
              fill="var(--good-fill)"
            />
            <rect
              x={x(one.at)}
              width={bar}
              y={y(one.good + one.bad)}
              height={y(one.good) - y(one.good + one.bad)}
              fill="var(--bad-fill)"
            />
            <rect
              x={x(one.at) + 0.5}
              width={Math.max(1, bar - 1)}
              y={y(one.good + one.bad + one.warn)}
              height={y(one.good + one.bad) - y(one.good + one.bad + one.warn)}
              fill="none"
              stroke="var(--warn-fill)"
              strokeWidth={one.warn ? 1 : 0}
            />
          </g>
        ))}
        {ahead.map((one) => {
          const below = past.find((found) => found.at === one.at);
          const base = below ? below.good + below.bad + below.warn : 0;
          return (
            <rect
              key={`a${one.at}`}
              x={x(one.at)}
              width={bar}
              y={y(base + one.fires)}
              height={y(base) - y(base + one.fires)}
              fill="var(--quiet-fill)"
              opacity={0.55}
            />
          );
        })}
        {axis.map((tick) =>
          x(tick) > 14 && x(tick) < width - 14 ? (
            <text key={tick} x={x(tick)} y={STRIP + 15} textAnchor="middle">
              {tickLabel(tick, zone, true)}
            </text>
          ) : null,
        )}
        {drag && Math.abs(drag[1] - drag[0]) > 3 && (
          <rect
            x={Math.min(...drag)}
            width={Math.abs(drag[1] - drag[0])}
            y={4}
            height={STRIP - 4}
            fill="var(--busy-fill)"
            opacity={0.2}
          />
        )}
      </svg>
      {hover && !drag && (
        <div
          className="chart-tip"
          style={{
            top: 2,
            ...(hover.x > width / 2 ? { right: width - hover.x + 12 } : { left: hover.x + 12 }),
          }}
        >
          {hover.words}
        </div>
      )}
    </div>
  );
}

function LaneRow({ lane, left, width }: { lane: Lane; left: number; width: number }) {
  const navigate = useNavigate();
  const zone = useZone();
  const [hover, setHover] = useState<Mark | null>(null);
  const path = `/jobs/${encodeURIComponent(lane.name)}`;
  return (
    <div className="lane" style={{ gridTemplateColumns: `${left}px 1fr` }} data-lane={lane.name}>
      <Link className={`name lane-name cut${lane.failed ? " tone-bad" : ""}`} to={path}>
        {lane.name}
      </Link>
      <div style={{ position: "relative" }}>
        <svg
          width={width}
          height={24}
          role="img"
          aria-label={`${count(lane.total, "fire")}, ${lane.failed} failed`}
        >
          {lane.marks.map((mark) => (
            // biome-ignore lint/a11y/noStaticElementInteractions: the history has them as links
            <g
              key={mark.x}
              data-mark={mark.state}
              style={{ cursor: "pointer" }}
              onPointerEnter={() => setHover(mark)}
              onPointerLeave={() => setHover(null)}
              onClick={() => void navigate(mark.id ? `/executions/${mark.id}` : path)}
            >
              <rect x={mark.x - 1} y={0} width={6} height={24} fill="transparent" />
              <MarkShape mark={mark} />
            </g>
          ))}
        </svg>
        {hover && (
          <div
            className="chart-tip"
            style={{
              bottom: 24,
              ...(hover.x > width / 2 ? { right: width - hover.x } : { left: hover.x + 6 }),
            }}
          >
            {hover.state === "ahead" ? "To come" : stateWords(hover.state).label}
            {hover.count > 1 && `, and ${hover.count - 1} more here`}
            <br />
            {exactTime(hover.at, zone)}
          </div>
        )}
      </div>
    </div>
  );
}

// Height and filling say the same as the colour.
function MarkShape({ mark }: { mark: Mark }) {
  const common = { x: mark.x, width: 3, rx: 1 };
  switch (mark.state) {
    case "failed":
      return <rect {...common} y={2} height={20} fill="var(--bad-fill)" />;
    case "succeeded":
      return <rect {...common} y={6} height={12} fill="var(--good-fill)" />;
    case "claimed":
      return <rect {...common} y={4} height={16} fill="var(--busy-fill)" />;
    case "skipped":
      return <rect {...common} y={6.5} height={11} fill="none" stroke="var(--warn-fill)" />;
    case "ahead":
      return <circle cx={mark.x + 1.5} cy={12} r={2} fill="none" stroke="var(--quiet)" />;
    default:
      return <rect {...common} y={8.5} height={7} fill="none" stroke="var(--quiet-fill)" />;
  }
}

function Footnotes({
  data,
  view,
  now,
  cut,
}: {
  data: TimelineOut | undefined;
  view: View;
  now: number;
  cut: boolean;
}) {
  const zone = useZone();
  const known = data ? Date.parse(data.complete_until) : view.until;
  return (
    <div className="panel-head" style={{ borderTop: "1px solid var(--line)", flexWrap: "wrap" }}>
      <span className="legend">
        <span>
          <i className="i-good" /> succeeded
        </span>
        <span>
          <i className="i-bad" style={{ height: 13 }} /> failed
        </span>
        <span>
          <i className="i-warn" /> skipped
        </span>
        <span>
          <i className="i-quiet" /> cancelled
        </span>
        <span>
          <i style={{ border: "1px solid var(--quiet)", borderRadius: "50%" }} /> to come
        </span>
      </span>
      <span className="aside">
        {[
          cut
            ? "In the grey part only what went wrong is drawn one by one; the strip counts all."
            : "",
          known < view.until && known > now
            ? `Fires to come are counted until ${exactTime(known, zone)}.`
            : "",
          "Drag over the strip to zoom.",
        ]
          .filter(Boolean)
          .join(" ")}
      </span>
    </div>
  );
}
