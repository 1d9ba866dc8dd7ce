import { useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { credentials } from "./client";
import { type LiveEvent, type LiveState, LiveStream } from "./live";
import { keys } from "./queries";

const Context = createContext<LiveStream | null>(null);

/** What is shown is read again this often at most, however much happens. */
const REFRESH = 1_500;

/** Keeps the stream of events, and has what it makes old read again. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [stream] = useState(() => new LiveStream("/api/v1/events", credentials));

  useEffect(() => {
    const due = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = 0;
    const refresh = () => {
      timer = undefined;
      last = Date.now();
      for (const root of due) {
        void client.invalidateQueries(
          { queryKey: [root], predicate: (query) => !isLong(query.state.data) },
          { cancelRefetch: false },
        );
      }
      due.clear();
    };
    const off = stream.onBatch((events) => {
      for (const event of events) for (const root of touched(event)) due.add(root);
      timer ??= setTimeout(refresh, Math.max(0, last + REFRESH - Date.now()));
    });
    let before = stream.state;
    const offState = stream.onState(() => {
      // Is it the stream alone, or the server? And once it is back: what was missed?
      if (stream.state === "lost") {
        for (const root of [keys.health, keys.stats]) {
          void client.invalidateQueries({ queryKey: [root] });
        }
      }
      if (stream.state === "live" && before === "lost") void client.invalidateQueries();
      before = stream.state;
    });
    const stop = stream.start();
    return () => {
      off();
      offState();
      stop();
      clearTimeout(timer);
    };
  }, [client, stream]);

  return <Context value={stream}>{children}</Context>;
}

/** A list that somebody has scrolled far down: to read all of it again at each event is too much. */
function isLong(data: unknown): boolean {
  const pages = (data as { pages?: unknown[] } | undefined)?.pages;
  return pages !== undefined && pages.length > 4;
}

function touched(event: LiveEvent): readonly string[] {
  if (event.type === "reset") return Object.values(keys);
  if (event.type === "execution.started") return [keys.executions, keys.execution];
  if (event.type.startsWith("execution.")) {
    return [keys.executions, keys.execution, keys.stats, keys.recent, keys.jobs, keys.job];
  }
  return [keys.jobs, keys.job, keys.stats];
}

function useStream(): LiveStream {
  const stream = useContext(Context);
  if (!stream) throw new Error("there is no LiveProvider around");
  return stream;
}

/** Whether changes arrive by themselves. */
export function useLiveState(): {
  state: LiveState;
  completeUntil: number;
  retryNow: () => void;
} {
  const stream = useStream();
  const state = useSyncExternalStore(stream.onState, () => stream.state);
  return { state, completeUntil: stream.completeUntil, retryNow: () => stream.retryNow() };
}

/** Calls back with what happens while the component is there. */
export function useLiveEvents(listener: (events: readonly LiveEvent[]) => void): void {
  const stream = useStream();
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => stream.onBatch((events) => latest.current(events)), [stream]);
}
