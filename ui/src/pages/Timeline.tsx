import { ActionIcon, Button } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconMinus, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { someExecutionsQuery, timelineQuery } from "../api/queries";
import { asDuration } from "../charts/scale";
import { Problem } from "../components/Problem";
import { Segments } from "../components/Segments";
import { useKeys } from "../components/shortcuts";
import { useTicking } from "../components/Time";
import { serverTime } from "../lib/clock";
import { parseDuration } from "../lib/time";
import { LONGEST, SHORTEST, viewOf } from "../lib/timeline";
import { useTitle } from "../lib/useTitle";
import { useUrlState } from "../lib/useUrlState";
import { Axis } from "../timeline/Axis";
import { Footnotes } from "../timeline/Footnotes";

const PRESETS = ["15m", "1h", "6h", "24h", "7d", "28d"];
const DRAWN = 1_000;

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
            <Tool
              label="Earlier (←)"
              icon={<IconChevronLeft size={15} aria-hidden="true" />}
              act={() => pan(-0.5)}
            />
            <Button variant="default" disabled={following} onClick={() => look(null, range)}>
              Now
            </Button>
            <Tool
              label="Later (→)"
              icon={<IconChevronRight size={15} aria-hidden="true" />}
              act={() => pan(0.5)}
            />
          </Button.Group>
          <Button.Group>
            <Tool
              label="Zoom out (-)"
              icon={<IconMinus size={15} aria-hidden="true" />}
              act={() => zoom(2)}
              off={range >= LONGEST}
            />
            <Tool
              label="Zoom in (+)"
              icon={<IconPlus size={15} aria-hidden="true" />}
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
