import { describe, expect, it } from "vitest";
import { type Chain, COMING, chunksFor, learn, rowsOf, START } from "./chain";

const SIZE = 100;
const full = (next: string | null) => ({ items: { length: SIZE }, next_cursor: next });

function known(...cursors: string[]): Chain {
  return { cursors: [null, ...cursors], tail: null };
}

describe("a list in chunks", () => {
  it("grows by what each chunk leads to, and ends where one leads nowhere", () => {
    let chain = learn(START, 0, full("a"));
    expect(chain).toEqual(known("a"));
    expect(rowsOf(chain, SIZE)).toBe(SIZE + COMING);
    chain = learn(chain, 1, full("b"));
    chain = learn(chain, 2, { items: { length: 7 }, next_cursor: null });
    expect(rowsOf(chain, SIZE)).toBe(207);
  });

  it("stays the very same where a chunk that is read again says nothing new", () => {
    const chain = known("a", "b");
    expect(learn(chain, 0, full("a"))).toBe(chain);
    const ended = { cursors: [null], tail: 3 };
    expect(learn(ended, 0, { items: { length: 3 }, next_cursor: null })).toBe(ended);
  });

  it("forgets what is behind a chunk that leads elsewhere now", () => {
    expect(learn(known("a", "b", "c"), 1, full("x"))).toEqual(known("a", "x"));
    expect(learn(known("a", "b"), 0, { items: { length: 2 }, next_cursor: null })).toEqual({
      cursors: [null],
      tail: 2,
    });
  });

  it("knows nothing of a chunk that was forgotten while it was read", () => {
    const chain = known("a");
    expect(learn(chain, 5, full("z"))).toBe(chain);
  });

  it("reads the chunks in sight, and the next one in time", () => {
    const chain = known("a", "b", "c", "d");
    expect(chunksFor(chain, SIZE, 0, 25)).toEqual([0]);
    expect(chunksFor(chain, SIZE, 60, 85)).toEqual([0, 1]);
    expect(chunksFor(chain, SIZE, 190, 215)).toEqual([1, 2]);
    // The scrollbar was dragged to the end of what is known.
    expect(chunksFor(chain, SIZE, 400, 430)).toEqual([4]);
    expect(chunksFor(START, SIZE, 900, 925)).toEqual([0]);
  });
});
