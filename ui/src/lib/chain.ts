/**
 * What is known of a long list that a server gives out in chunks, each with the cursor of the next.
 *
 * Chunks are known by the cursors that lead to them, so that one can be read, and read again,
 * without those before it. Where a chunk that is read again leads elsewhere than before, what was
 * known behind it is forgotten.
 */
export interface Chain {
  /** Of each chunk that can be read, `null` being the start of the list. */
  readonly cursors: readonly (string | null)[];
  /** How many rows the last of these has; `null` while that is not known. */
  readonly tail: number | null;
}

export const START: Chain = { cursors: [null], tail: null };

/** Rows that are shown as being on their way behind the last chunk that is known. */
export const COMING = 30;

/** What is known once a chunk was read. */
export function learn(
  chain: Chain,
  number: number,
  chunk: { items: { length: number }; next_cursor: string | null },
): Chain {
  if (number >= chain.cursors.length) return chain;
  const next = chunk.next_cursor;
  const last = number === chain.cursors.length - 1;
  if (next === null) {
    if (last && chain.tail === chunk.items.length) return chain;
    return { cursors: chain.cursors.slice(0, number + 1), tail: chunk.items.length };
  }
  if (chain.cursors[number + 1] === next) return chain;
  return { cursors: [...chain.cursors.slice(0, number + 1), next], tail: null };
}

/** How many rows there are, as far as is known; with those that are on their way. */
export function rowsOf(chain: Chain, size: number): number {
  return (chain.cursors.length - 1) * size + (chain.tail ?? COMING);
}

/** The chunks to have for some rows: theirs, and the one behind where its place is near. */
export function chunksFor(chain: Chain, size: number, first: number, last: number): number[] {
  const most = chain.cursors.length - 1;
  const from = Math.min(most, Math.max(0, Math.floor(first / size)));
  const to = Math.min(most, Math.max(from, Math.floor((last + COMING) / size)));
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}
