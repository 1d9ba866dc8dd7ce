import { useCallback } from "react";
import { useSearchParams } from "react-router";

type Change = Record<string, string | readonly string[] | null | undefined>;

/** The parameters of the address: what is chosen can be kept, sent and gone back to. */
export function useUrlState(): [URLSearchParams, (change: Change) => void] {
  const [params, setParams] = useSearchParams();
  const change = useCallback(
    (wanted: Change) => {
      setParams(
        (before) => {
          const next = new URLSearchParams(before);
          for (const [name, value] of Object.entries(wanted)) {
            next.delete(name);
            if (Array.isArray(value)) for (const one of value) next.append(name, one);
            else if (typeof value === "string" && value !== "") next.set(name, value);
          }
          return next;
        },
        { replace: true, preventScrollReset: true },
      );
    },
    [setParams],
  );
  return [params, change];
}

/** The parameter where it is one of the known words, the first of these otherwise. */
export function oneOf<T extends string>(value: string | null, known: readonly [T, ...T[]]): T {
  return known.includes(value as T) ? (value as T) : known[0];
}

/** Those of a repeated parameter that are known. */
export function someOf<T extends string>(values: readonly string[], known: readonly T[]): T[] {
  return values.filter((one): one is T => known.includes(one as T));
}
