import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { calendarQuery } from "../api/queries";
import type { CalendarDayOut } from "../api/schema";
import { useZone } from "../lib/prefs";
import { fromWall } from "../lib/time";
import { Problem } from "./Problem";
import { ScrollX } from "./ScrollX";
import { useLinks } from "./useLinks";

const DAYS = 84;

/** A job day by day: a column per week, the colour by its worst result. */
export function Heat({ job }: { job: string }) {
  const zone = useZone();
  const follow = useLinks();
  const calendar = useQuery(calendarQuery(job, DAYS, zone));
  if (calendar.error) return <Problem error={calendar.error} />;
  if (!calendar.data) return <Skeleton height={110} />;
  const days = calendar.data.items;
  const firstWeekday = new Date(`${days[0]?.date}T00:00:00Z`).getUTCDay();
  // Weeks begin on Monday.
  const before = (firstWeekday + 6) % 7;
  return (
    <>
      <ScrollX label="Day by day">
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the links in it are the controls */}
        {/* biome-ignore lint/a11y/useKeyWithClickEvents: a key on a link is a click */}
        <div className="heat" style={{ width: "max-content" }} onClick={follow}>
          {Array.from({ length: before }, (_, index) => (
            <span key={index} />
          ))}
          {days.map((day) => (
            <Cell key={day.date} day={day} job={job} zone={zone} />
          ))}
        </div>
      </ScrollX>
      <div className="legend" style={{ marginTop: 8 }}>
        <span>
          <i className="heat-cell" style={{ width: 9, height: 9 }} /> nothing
        </span>
        <span>
          <i style={{ background: "var(--good-fill)" }} /> all succeeded
        </span>
        <span>
          <i style={{ boxShadow: "inset 0 0 0 2px var(--warn-fill)" }} /> some did not run
        </span>
        <span>
          <i style={{ background: "var(--bad-fill)" }} /> some failed
        </span>
      </div>
    </>
  );
}

function Cell({ day, job, zone }: { day: CalendarDayOut; job: string; zone: string }) {
  const since = fromWall(`${day.date}T00:00:00`, zone);
  const next = new Date(Date.parse(`${day.date}T00:00:00Z`) + 86_400_000)
    .toISOString()
    .slice(0, 10);
  const query = new URLSearchParams({
    tab: "history",
    since: new Date(since).toISOString(),
    until: new Date(fromWall(`${next}T00:00:00`, zone)).toISOString(),
  });
  const ended = day.succeeded + day.failed;
  const words = wordsOf(day);
  return (
    <a
      className="heat-cell"
      href={`/jobs/${encodeURIComponent(job)}?${query}`}
      tabIndex={-1}
      data-tip={`${day.date}\n${words}`}
      style={styleOf(day, ended)}
    >
      <span className="sr-only">
        {day.date}: {words}
      </span>
    </a>
  );
}

function styleOf(day: CalendarDayOut, ended: number) {
  if (day.any_failed) {
    const share = ended ? Math.max(0.35, day.failed / ended) : 1;
    return {
      background: `color-mix(in srgb, var(--bad-fill) ${Math.round(40 + share * 60)}%, var(--good-fill))`,
    };
  }
  if (day.skipped || day.cancelled) {
    return {
      background: day.succeeded
        ? "color-mix(in srgb, var(--good-fill) 55%, transparent)"
        : "transparent",
      boxShadow: "inset 0 0 0 2px var(--warn-fill)",
    };
  }
  return day.succeeded ? { background: "var(--good-fill)" } : undefined;
}

function wordsOf(day: CalendarDayOut): string {
  const parts = [
    [day.succeeded, "succeeded"],
    [day.failed, "failed"],
    [day.skipped, "skipped"],
    [day.cancelled, "cancelled"],
    [day.live, "not ended yet"],
  ].filter(([number]) => number) as [number, string][];
  if (parts.length === 0) return "nothing fired";
  const text = parts.map(([number, word]) => `${number} ${word}`).join(", ");
  return day.more
    ? `of the newest 100: ${text}${day.any_failed && !day.failed ? "; some earlier ones failed" : ""}`
    : text;
}
