import type { ExecutionSummary } from "./schema";

export type LiveState = "connecting" | "live" | "lost" | "resting";

export interface LiveEvent {
  type: string;
  /** An execution, or a job's id, name and status; `null` for `reset`. */
  data: (Partial<ExecutionSummary> & { id: string }) | null;
}

export const EVENT_TYPES = [
  "job.created",
  "job.updated",
  "job.paused",
  "job.resumed",
  "job.cancelled",
  "job.completed",
  "job.deleted",
  "execution.started",
  "execution.succeeded",
  "execution.failed",
  "execution.cancelled",
  "execution.skipped",
] as const;

const GATHER = 400;
const REST_AFTER = 20_000;
const RETRY_FIRST = 1_000;
const RETRY_MOST = 5_000;
const KEPT = 2_000;

type Batch = (events: readonly LiveEvent[]) => void;

/**
 * The stream of events: what happened is handed on in batches, so that a thousand fires a second
 * are a few repaints. A page that nobody looks at lets go of its connection, because a browser
 * has six of them per server for all of its tabs.
 */
export class LiveStream {
  state: LiveState = "connecting";
  /** When the stream was last known to be complete. */
  completeUntil = Date.now();

  private source: EventSource | undefined;
  private lastId = "";
  private waiting: LiveEvent[] = [];
  private flushing: ReturnType<typeof setTimeout> | undefined;
  private retrying: ReturnType<typeof setTimeout> | undefined;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private delay = RETRY_FIRST;
  private readonly stateListeners = new Set<() => void>();
  private readonly batchListeners = new Set<Batch>();

  constructor(
    private readonly url: string,
    private readonly of: { namespace: string | null } = { namespace: null },
  ) {}

  start(): () => void {
    const onVisibility = () => (document.hidden ? this.restSoon() : this.wake());
    const onOffline = () => this.lose();
    const onOnline = () => this.retryNow();
    document.addEventListener("visibilitychange", onVisibility);
    window.addEventListener("offline", onOffline);
    window.addEventListener("online", onOnline);
    this.open();
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      window.removeEventListener("offline", onOffline);
      window.removeEventListener("online", onOnline);
      this.close();
      clearTimeout(this.retrying);
      clearTimeout(this.resting);
      clearTimeout(this.flushing);
    };
  }

  /** Tries at once, instead of when the wait is over. */
  retryNow(): void {
    this.delay = RETRY_FIRST;
    this.open();
  }

  onState = (listener: () => void): (() => void) => {
    this.stateListeners.add(listener);
    return () => this.stateListeners.delete(listener);
  };

  onBatch(listener: Batch): () => void {
    this.batchListeners.add(listener);
    return () => this.batchListeners.delete(listener);
  }

  private open(): void {
    clearTimeout(this.retrying);
    this.close();
    const query = new URLSearchParams({ types: EVENT_TYPES.join(",") });
    // A stream of events cannot carry headers.
    if (this.of.namespace) query.set("namespace", this.of.namespace);
    if (this.lastId) query.set("last_event_id", this.lastId);
    const source = new EventSource(`${this.url}?${query}`);
    this.source = source;
    source.onopen = () => {
      this.delay = RETRY_FIRST;
      this.completeUntil = Date.now();
      const before = this.state;
      this.become("live");
      // What happened before the first event id is known to nobody: read again.
      if (before === "lost" && !this.lastId) this.add({ type: "reset", data: null });
    };
    source.onerror = () => this.lose();
    source.addEventListener("reset", (event) => {
      this.lastId = (event as MessageEvent).lastEventId;
      this.add({ type: "reset", data: null });
    });
    for (const type of EVENT_TYPES) {
      source.addEventListener(type, (event) => {
        const message = event as MessageEvent<string>;
        this.lastId = message.lastEventId;
        this.completeUntil = Date.now();
        this.add({ type, data: JSON.parse(message.data) });
      });
    }
  }

  private close(): void {
    this.source?.close();
    this.source = undefined;
  }

  private lose(): void {
    this.close();
    this.become("lost");
    clearTimeout(this.retrying);
    this.retrying = setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(this.delay * 2, RETRY_MOST);
  }

  private restSoon(): void {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      if (!document.hidden) return;
      clearTimeout(this.retrying);
      this.close();
      this.become("resting");
    }, REST_AFTER);
  }

  private wake(): void {
    clearTimeout(this.resting);
    if (this.state === "resting" || this.state === "lost") this.retryNow();
  }

  private become(state: LiveState): void {
    if (this.state === state) return;
    this.state = state;
    for (const listener of this.stateListeners) listener();
  }

  private add(event: LiveEvent): void {
    this.waiting.push(event);
    if (this.waiting.length > KEPT) this.waiting = [{ type: "reset", data: null }];
    this.flushing ??= setTimeout(() => {
      this.flushing = undefined;
      const events = this.waiting;
      this.waiting = [];
      for (const listener of this.batchListeners) listener(events);
    }, GATHER);
  }
}
