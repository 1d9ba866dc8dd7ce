import type { ClusterOut, NodeOut } from "../api/schema";

/** Whether a node is the one that leads; none is where a database coordinates them. */
export function leads(cluster: Pick<ClusterOut, "leader">, node: NodeOut): boolean {
  return cluster.leader !== null && node.incarnation === cluster.leader;
}

/** The node that leads, where one does and is known. */
export function leaderOf(cluster: Pick<ClusterOut, "leader" | "nodes">): NodeOut | undefined {
  return cluster.nodes.find((node) => leads(cluster, node));
}

/** How the nodes agree on who runs what, in words. */
export function coordinationWords(
  cluster: Pick<ClusterOut, "coordination" | "leader" | "nodes" | "database">,
): string {
  if (cluster.coordination === "database") {
    return cluster.database.kind === "sqlite"
      ? "No node leads: all processes on this machine claim what is due from one SQLite file, each what is free."
      : "No node leads: every node claims what is due from PostgreSQL, each what is free.";
  }
  const leader = leaderOf(cluster);
  if (leader)
    return `${leader.name} leads: it decides the order of all changes, and every node has them all.`;
  return cluster.leader === null
    ? "No node leads at the moment: nothing is claimed until one is elected."
    : "The node that leads is not among these.";
}
