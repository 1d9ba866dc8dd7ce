import { Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconCheck } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { clusterQuery } from "../api/queries";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { RelTime } from "../components/Time";
import { millis, span } from "../lib/time";
import { useTitle } from "../lib/useTitle";

const BIG_OFFSET = 100;

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
              label="Database"
              value={data ? (data.database.kind === "sqlite" ? "SQLite" : "PostgreSQL") : "–"}
              note={data ? `schema ${data.database.schema_revision}` : ""}
            />
          </div>
        </section>
        <Panel title="Nodes" flush>
          {data ? (
            <ScrollX label="Nodes">
              <table className="table">
                <thead>
                  <tr>
                    <th>Node</th>
                    <th>Lease</th>
                    <th>In flight</th>
                    <th>Held</th>
                    <th className="right">Clock</th>
                    <th className="right">Up for</th>
                    <th>Heartbeat</th>
                    <th>Version</th>
                    <th>Address</th>
                  </tr>
                </thead>
                <tbody>
                  {data.nodes.map((node) => {
                    const held = node.lease.state === "held";
                    const offset = node.clock_offset_ms;
                    return (
                      <tr key={node.incarnation}>
                        <td className="nowrap">
                          <Tooltip label={`Incarnation ${node.incarnation}`}>
                            <span style={{ fontWeight: 550 }}>{node.name}</span>
                          </Tooltip>
                          {node.this && <span className="dim"> answers here</span>}
                        </td>
                        <td>
                          <span className={`state tone-${held ? "good" : "bad"}`}>
                            {held ? (
                              <IconCheck size={14} stroke={2.25} aria-hidden="true" />
                            ) : (
                              <IconAlertTriangle size={14} stroke={2.25} aria-hidden="true" />
                            )}
                            {held
                              ? `held, ${(node.lease.remaining_ms / 1_000).toFixed(1)} s left`
                              : `ended ${span(node.lease.remaining_ms)} ago`}
                          </span>
                        </td>
                        <td>
                          <Load value={node.load.in_flight} most={node.load.max_in_flight} />
                        </td>
                        <td>
                          <Load value={node.load.held} most={node.load.max_held} />
                        </td>
                        <td
                          className={`right nowrap${offset !== null && Math.abs(offset) > BIG_OFFSET ? " tone-warn" : ""}`}
                        >
                          {offset === null ? (
                            <Tooltip label="On SQLite all processes share one clock.">
                              <span className="dim">shared</span>
                            </Tooltip>
                          ) : (
                            <Tooltip label={`Measured in ${millis(node.round_trip_ms)}`}>
                              <span>
                                {offset > 0 ? "+" : ""}
                                {Math.round(offset)} ms
                              </span>
                            </Tooltip>
                          )}
                        </td>
                        <td className="right nowrap">{span(node.uptime_ms)}</td>
                        <td>
                          <RelTime at={node.heartbeat_at} />
                        </td>
                        <td className="num">{node.version}</td>
                        <td className="mono">{node.address}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </ScrollX>
          ) : (
            <Lines count={3} />
          )}
        </Panel>
        <p className="dim" style={{ margin: 0, maxWidth: 640 }}>
          Every node claims what is due; none of them leads. A node that cannot renew its lease
          starts no call, and the others take over what it held.
        </p>
      </div>
    </>
  );
}

function Load({ value, most }: { value: number | null; most: number | null }) {
  if (value === null) return <span className="dim">–</span>;
  const part = most ? Math.min(1, value / most) : 0;
  return (
    <div style={{ minWidth: 110 }}>
      <span className="num">{value.toLocaleString("en")}</span>
      {most !== null && <span className="dim num"> / {most.toLocaleString("en")}</span>}
      <div className="load" aria-hidden="true">
        <i
          style={{
            width: `${part * 100}%`,
            background: part > 0.9 ? "var(--bad-fill)" : "var(--busy-fill)",
          }}
        />
      </div>
    </div>
  );
}
