import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import type { ClusterOut, NodeOut } from "../api/schema";
import { coordinationWords, leaderOf } from "../lib/nodes";
import { NodeList, NodeTable } from "./Nodes";

const LOAD = { held: 1, max_held: 10, in_flight: 2, max_in_flight: 20, waiting_results: 0 };

function node(name: string, more: Partial<NodeOut> = {}): NodeOut {
  return {
    incarnation: `inc-${name}`,
    name,
    this: false,
    address: `http://${name}:8080`,
    version: "0.1.0",
    started_at: "2026-11-27T10:00:00Z",
    uptime_ms: 60_000,
    heartbeat_at: "2026-11-27T10:01:00Z",
    lease: { state: "held", until: "2026-11-27T10:01:05Z", remaining_ms: 4_000 },
    load: LOAD,
    clock_offset_ms: 1,
    round_trip_ms: 0.5,
    ...more,
  };
}

function cluster(more: Partial<ClusterOut> = {}): ClusterOut {
  const nodes = [node("alpha", { this: true }), node("beta"), node("gamma")];
  return {
    now: "2026-11-27T10:01:01Z",
    this: { name: "alpha", incarnation: "inc-alpha" },
    database: { kind: "postgresql", schema_revision: "0004" },
    coordination: "database",
    leader: null,
    totals: { nodes: nodes.length, leases: { held: 3, lapsed: 0 }, load: LOAD },
    nodes,
    ...more,
  };
}

// A word that this version does not send yet: the replicated store will.
const LED = cluster({
  coordination: "raft" as ClusterOut["coordination"],
  leader: "inc-beta",
});

describe("nodes", () => {
  it("say that none leads where a database coordinates them", () => {
    const html = renderToStaticMarkup(<NodeList cluster={cluster()} />);
    expect(html).not.toContain("data-leader");
    expect(coordinationWords(cluster())).toContain("No node leads: every node claims");
    const sqlite = cluster({ database: { kind: "sqlite", schema_revision: "0004" } });
    expect(coordinationWords(sqlite)).toContain("one SQLite file");
  });

  it("show the one that leads, and first", () => {
    for (const html of [
      renderToStaticMarkup(<NodeList cluster={LED} />),
      renderToStaticMarkup(<NodeTable cluster={LED} />),
    ]) {
      expect(html.match(/data-leader/g)).toHaveLength(1);
      expect(html.indexOf("beta")).toBeLessThan(html.indexOf("data-leader"));
      expect(html.indexOf("data-leader")).toBeLessThan(html.indexOf("gamma"));
    }
    const list = renderToStaticMarkup(<NodeList cluster={LED} />);
    expect(list.indexOf("beta")).toBeLessThan(list.indexOf("alpha"));
    expect(leaderOf(LED)?.name).toBe("beta");
    expect(coordinationWords(LED)).toContain("beta leads");
  });

  it("say it where none leads that should, and where the leader is not known", () => {
    expect(coordinationWords({ ...LED, leader: null })).toContain("No node leads at the moment");
    expect(coordinationWords({ ...LED, leader: "inc-other" })).toContain("not among these");
  });

  it("say how many there are that are not shown", () => {
    const many = Array.from({ length: 9 }, (_, number) => node(`node-${number}`));
    expect(renderToStaticMarkup(<NodeList cluster={cluster({ nodes: many })} />)).toContain(
      "and 3 more",
    );
  });
});
