import { useQuery } from "@tanstack/react-query";
import { clusterQuery } from "../api/queries";
import { NodeTable } from "../components/Nodes";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { coordinationWords, leaderOf } from "../lib/nodes";
import { useTitle } from "../lib/useTitle";

export default function Cluster() {
  useTitle("Cluster");
  const cluster = useQuery(clusterQuery());
  const data = cluster.data;
  if (cluster.error && !data) {
    return <Problem error={cluster.error} retry={() => void cluster.refetch()} />;
  }
  return (
    <>
      <div className="page-head">
        <h1>Cluster</h1>
      </div>
      <div className="grid">
        <section className="panel" aria-label="Together">
          <div className="figures" style={{ borderTop: 0 }}>
            <Figure
              label="Nodes"
              value={data ? data.totals.leases.held : "–"}
              unit="hold a lease"
              note={
                data?.totals.leases.lapsed ? `${data.totals.leases.lapsed} silent` : "none silent"
              }
              {...(data?.totals.leases.lapsed ? { tone: "bad" } : {})}
            />
            <Figure
              label="Calls in flight"
              value={data?.totals.load.in_flight?.toLocaleString("en") ?? "–"}
              note={data ? `of ${data.totals.load.max_in_flight?.toLocaleString("en")}` : ""}
            />
            <Figure
              label="Claims held"
              value={data?.totals.load.held?.toLocaleString("en") ?? "–"}
              note={data ? `of ${data.totals.load.max_held?.toLocaleString("en")}` : ""}
            />
            <Figure
              label="Results to store"
              value={data?.totals.load.waiting_results?.toLocaleString("en") ?? "–"}
            />
            <Figure
              label="Leader"
              value={data ? (leaderOf(data)?.name ?? "none") : "–"}
              note={data ? (data.leader ? "appends what is decided" : "all nodes are equal") : ""}
            />
            <Figure
              label="Database"
              value={data ? (data.database.kind === "sqlite" ? "SQLite" : "PostgreSQL") : "–"}
              note={data ? `schema ${data.database.schema_revision}` : ""}
            />
          </div>
        </section>
        <Panel title="Nodes" flush>
          {data ? <NodeTable cluster={data} /> : <Lines count={3} />}
        </Panel>
        {data && (
          <p className="dim" style={{ margin: 0, maxWidth: 640 }}>
            {coordinationWords(data)} A node that cannot renew its lease starts no call, and the
            others take over what it held.
          </p>
        )}
      </div>
    </>
  );
}
