import { hashKey, useQueries, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { type Chain, chunksFor, learn, rowsOf, START } from "../lib/chain";

export interface Chunk<T> {
  items: T[];
  next_cursor: string | null;
}

/** A long list of the server: what it is known by, and how a part of it is read. */
export interface ChunkSource<T> {
  key: readonly unknown[];
  size: number;
  read: (cursor: string | null, signal: AbortSignal) => Promise<Chunk<T>>;
}

export interface Chunks<T> {
  /** Rows as far as is known, those that are on their way included. */
  count: number;
  /** A row; nothing where it is not there yet. */
  at: (index: number) => T | undefined;
  /** Which rows are in sight: what is not there yet is read. */
  show: (first: number, last: number) => void;
  /** Everything that was read and is still in memory, in order. */
  loaded: () => T[];
  /** Nothing is there to be shown. */
  pending: boolean;
  /** What is shown is the answer to another question, until that to this one arrives. */
  old: boolean;
  error: Error | null;
  retry: () => void;
}

const COARSE = 25;
const KEPT = 20;
/** By list, for those who come back to it: its length is known, so the place is found again. */
const chains = new Map<string, Chain>();

function keep(hash: string, chain: Chain): void {
  chains.delete(hash);
  chains.set(hash, chain);
  for (const oldest of chains.keys()) {
    if (chains.size <= KEPT) return;
    chains.delete(oldest);
  }
}

interface View<T> {
  hash: string;
  count: number;
  parts: ReadonlyMap<number, readonly T[]>;
}

/**
 * The rows of a long list around those in sight. However long the list is, and however far one
 * has scrolled, the chunks in sight are all that is read again when something happened.
 */
export function useChunks<T>(source: ChunkSource<T>, { still = false } = {}): Chunks<T> {
  const client = useQueryClient();
  const hash = hashKey(source.key);
  const [range, setRange] = useState<readonly [number, number]>([0, 0]);
  const [, again] = useState({});
  const chain = chains.get(hash) ?? START;
  const numbers = chunksFor(chain, source.size, range[0], range[1]);
  const keyOf = (number: number) => [...source.key, chain.cursors[number] ?? null];

  const results = useQueries({
    queries: numbers.map((number) => ({
      queryKey: keyOf(number),
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        source.read(chain.cursors[number] ?? null, signal),
      // A list that stands still is read where it was not read yet, and not again.
      enabled: !still || client.getQueryData(keyOf(number)) === undefined,
      gcTime: 120_000,
    })),
  });

  const parts = new Map<number, readonly T[]>();
  numbers.forEach((number, index) => {
    const data = results[index]?.data;
    if (data) parts.set(number, data.items);
  });

  useLayoutEffect(() => {
    let learnt = chain;
    numbers.forEach((number, index) => {
      const data = results[index]?.data;
      if (data) learnt = learn(learnt, number, data);
    });
    if (learnt === chain) return;
    keep(hash, learnt);
    again({});
  });

  const nothing = parts.size === 0 && chain === START;
  const now: View<T> = { hash, count: nothing ? 0 : rowsOf(chain, source.size), parts };
  const before = useRef(now);
  const failed = results.find((result) => result.isError && !result.data);
  // Until the first answer to another question is there, that to the one before is shown.
  const old = nothing && !failed && before.current.hash !== hash && before.current.count > 0;
  const view = old ? before.current : now;
  useEffect(() => {
    if (!nothing) before.current = now;
  });

  const size = source.size;
  const show = useCallback((first: number, last: number) => {
    // Coarsely: not each row that scrolls by is worth another look.
    const [from, to] = [first - (first % COARSE), last - (last % COARSE) + COARSE];
    setRange((known) => (known[0] === from && known[1] === to ? known : [from, to]));
  }, []);
  return {
    count: view.count,
    at: (index) => view.parts.get(Math.floor(index / size))?.[index % size],
    show,
    loaded: () =>
      chain.cursors.flatMap(
        (cursor) => client.getQueryData<Chunk<T>>([...source.key, cursor])?.items ?? [],
      ),
    pending: nothing && !failed && !old,
    old,
    error: (failed?.error as Error | undefined) ?? null,
    retry: () => {
      for (const result of results) if (result.isError) void result.refetch();
    },
  };
}
