/** The server's time: fires are counted down by it, whatever the clock of this machine says. */
export const serverTime = {
  /** Milliseconds that the server is ahead; 0 while both agree as far as can be told. */
  offset: 0,

  /** Learns from a `Date` header, which has whole seconds only. */
  learn(date: string | null, now: number = Date.now()): void {
    const at = date === null ? Number.NaN : Date.parse(date);
    if (Number.isNaN(at)) return;
    const behind = at + 500 - now;
    this.offset = Math.abs(behind) < 3_000 ? 0 : behind;
  },

  now(): number {
    return Date.now() + this.offset;
  },
};

type Listener = () => void;
const listeners = new Set<Listener>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Calls back once a second, for whatever shows a time that passes. */
export function onTick(listener: Listener): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    for (const one of listeners) one();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}
