import { useState } from "react";
import { useKeys } from "./shortcuts";

/** `j` and `k` move through rows, Enter opens one, `x` selects it. */
export function useRowKeys({
  length,
  show,
  open,
  toggle,
  clear,
}: {
  length: number;
  show: (index: number) => void;
  open: (index: number) => void;
  toggle?: (index: number) => void;
  clear?: () => void;
}): number {
  const [at, setAt] = useState(-1);
  const move = (by: number) => {
    if (length === 0) return;
    const next = Math.max(0, Math.min(length - 1, at + by));
    setAt(next);
    show(next);
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    Enter: () => {
      if (at >= 0 && at < length) open(at);
    },
    x: () => {
      if (at >= 0 && at < length) toggle?.(at);
    },
    Escape: () => {
      setAt(-1);
      clear?.();
    },
  });
  return at;
}
