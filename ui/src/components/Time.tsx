import { useSyncExternalStore } from "react";
import { onTick, serverTime } from "../lib/clock";
import { useZone } from "../lib/prefs";
import { relative, shortTime } from "../lib/time";

/** A text that changes with time, painted again only when it does. */
export function useTicking<T extends string | number | boolean>(read: () => T): T {
  return useSyncExternalStore(onTick, read, read);
}

/** The server's time, to the second. */
export function useNow(): number {
  return useTicking(() => Math.floor(serverTime.now() / 1_000) * 1_000);
}

/** How long ago, or how long until; the exact time on hover, focus and touch. */
export function RelTime({ at, none = "–" }: { at: string | null | undefined; none?: string }) {
  const instant = at ? Date.parse(at) : Number.NaN;
  const text = useTicking(() =>
    Number.isNaN(instant) ? none : relative(instant, serverTime.now()),
  );
  if (Number.isNaN(instant)) return <span className="dim">{none}</span>;
  return (
    <time dateTime={at ?? undefined} className="nowrap" data-at={instant}>
      {text}
    </time>
  );
}

/** A time of the clock, with the day where it is another one; the exact one as above. */
export function ClockTime({ at }: { at: string }) {
  const zone = useZone();
  const instant = Date.parse(at);
  const text = useTicking(() => shortTime(instant, zone, serverTime.now()));
  return (
    <time dateTime={at} className="nowrap" data-at={instant}>
      {text}
    </time>
  );
}
