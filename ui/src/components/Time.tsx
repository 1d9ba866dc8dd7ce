import { Tooltip } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { onTick, serverTime } from "../lib/clock";
import { useZone } from "../lib/prefs";
import { exactTime, relative, shortTime } from "../lib/time";

/** A text that changes with time, painted again only when it does. */
export function useTicking<T extends string | number | boolean>(read: () => T): T {
  return useSyncExternalStore(onTick, read);
}

/** The server's time, to the second. */
export function useNow(): number {
  return useTicking(() => Math.floor(serverTime.now() / 1_000) * 1_000);
}

/** How long ago, or how long until; the exact time on hover and focus. */
export function RelTime({ at, none = "–" }: { at: string | null | undefined; none?: string }) {
  const zone = useZone();
  const instant = at ? Date.parse(at) : Number.NaN;
  const text = useTicking(() =>
    Number.isNaN(instant) ? none : relative(instant, serverTime.now()),
  );
  if (Number.isNaN(instant)) return <span className="dim">{none}</span>;
  return (
    <Tooltip label={exactTime(instant, zone)}>
      <time dateTime={at ?? undefined} className="nowrap">
        {text}
      </time>
    </Tooltip>
  );
}

/** A time of the clock, with the day where it is another one; the exact one on hover. */
export function ClockTime({ at }: { at: string }) {
  const zone = useZone();
  const instant = Date.parse(at);
  const text = useTicking(() => shortTime(instant, zone, serverTime.now()));
  return (
    <Tooltip label={<Exact instant={instant} zone={zone} />}>
      <time dateTime={at} className="nowrap">
        {text}
      </time>
    </Tooltip>
  );
}

function Exact({ instant, zone }: { instant: number; zone: string }) {
  return (
    <>
      {exactTime(instant, zone)}
      <br />
      {relative(instant, serverTime.now())}
    </>
  );
}
