import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { ApiError, messageOf } from "../api/problem";
import { previewQuery } from "../api/queries";
import type { JobIn } from "../api/schema";
import { Panel } from "../components/Panel";
import { RelTime } from "../components/Time";
import { clockTime, dayOf, offsetName } from "../lib/time";

/** What the schedule says, in words, while it is typed. */
export function useSchedulePreview(schedule: JobIn["schedule"]) {
  const text = JSON.stringify(schedule);
  const [settled] = useDebouncedValue(text, 250);
  const wanted = useMemo(() => JSON.parse(settled) as JobIn["schedule"], [settled]);
  const preview = useQuery(previewQuery(wanted, 6));
  return { ...preview, settled: settled === text };
}

export function SchedulePreview({
  preview,
  kept,
}: {
  preview: ReturnType<typeof useSchedulePreview>;
  /** It is the schedule that the job has already, which the server leaves to it. */
  kept: boolean;
}) {
  const { data, error } = preview;
  return (
    <Panel title="When it fires" flush>
      {/* What the schedule says is spoken when it changes; times that pass are not. */}
      <div>
        {error ? (
          <div className="blank tone-bad" role="status">
            {error instanceof ApiError && error.fields[0]
              ? `${error.fields[0].field.replace("schedule.", "")} ${error.fields[0].message}`
              : messageOf(error)}
          </div>
        ) : data ? (
          <>
            <div
              role="status"
              style={{ padding: "0 14px 8px", fontWeight: 550 }}
              data-testid="words"
            >
              {data.description}
            </div>
            {!kept &&
              data.errors.map((one) => (
                <div className="blank tone-bad" role="status" key={one.field} data-testid="refused">
                  Not to be saved: it {one.message}
                </div>
              ))}
            {data.items.length === 0 && (
              <div className="blank">There is no fire to come: move it into the future.</div>
            )}
            <ul className="rows">
              {data.items.map((fire) => {
                const at = Date.parse(fire.fire_time);
                return (
                  <li key={fire.fire_time}>
                    <span className="num nowrap">
                      {dayOf(at, data.timezone)} {clockTime(at, data.timezone)}
                    </span>
                    {fire.offset_changed && (
                      <span className="tag tone-warn">
                        {offsetName(at, data.timezone)} from here
                      </span>
                    )}
                    <span className="end dim">
                      <RelTime at={fire.fire_time} />
                    </span>
                  </li>
                );
              })}
            </ul>
          </>
        ) : (
          <div className="blank">…</div>
        )}
      </div>
    </Panel>
  );
}
