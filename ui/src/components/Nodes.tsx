import { IconAlertTriangle, IconCheck, IconCrown } from "@tabler/icons-react";
import type { ReactNode } from "react";
import type { ClusterOut } from "../api/schema";
import { leads } from "../lib/nodes";
import { millis, span } from "../lib/time";
import { ScrollX } from "./ScrollX";
import { RelTime } from "./Time";

const SHOWN = 6;
/** Milliseconds that a clock may be off before it is marked. */
const BIG_OFFSET = 100;

/** The nodes in short, the one that leads first where one does. */
export function NodeList({ cluster }: { cluster: ClusterOut }) {
  const first = [...cluster.nodes].sort(
    (one, other) => Number(leads(cluster, other)) - Number(leads(cluster, one)),
  );
  return (
    <ul className="rows nodes">
      {first.slice(0, SHOWN).map((node) => (
        <li key={node.incarnation}>
          <Lease held={node.lease.state === "held"}>
            {node.lease.state === "held" ? "Holds its lease" : "Silent"}
          </Lease>
          <span className="cut">{node.name}</span>
          {leads(cluster, node) && <Leads />}
          <span className="dim nowrap">{node.this ? "answers here" : ""}</span>
          <span className="end dim">
            {node.load.in_flight ?? "–"} in flight · {node.load.held ?? "–"} held
          </span>
        </li>
      ))}
      {first.length > SHOWN && <li className="dim">and {first.length - SHOWN} more</li>}
    </ul>
  );
}

/** The nodes with all that is known of each. */
export function NodeTable({ cluster }: { cluster: ClusterOut }) {
  return (
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
          {cluster.nodes.map((node) => {
            const held = node.lease.state === "held";
            const offset = node.clock_offset_ms;
            return (
              <tr key={node.incarnation}>
                <td className="nowrap">
                  <span style={{ fontWeight: 550 }} data-tip={`Incarnation ${node.incarnation}`}>
                    {node.name}
                  </span>
                  {leads(cluster, node) && <Leads />}
                  {node.this && <span className="dim"> answers here</span>}
                </td>
                <td>
                  <Lease held={held}>
                    {held
                      ? `held, ${(node.lease.remaining_ms / 1_000).toFixed(1)} s left`
                      : `ended ${span(node.lease.remaining_ms)} ago`}
                  </Lease>
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
                    <span
                      className="dim"
                      data-tip="All processes on one SQLite file share one clock."
                    >
                      shared
                    </span>
                  ) : (
                    <span data-tip={`Measured in ${millis(node.round_trip_ms)}`}>
                      {offset > 0 ? "+" : ""}
                      {Math.round(offset)} ms
                    </span>
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
  );
}

function Leads() {
  return (
    <span className="state tone-busy" data-leader="">
      <IconCrown size={14} stroke={2} aria-hidden="true" />
      leads
    </span>
  );
}

function Lease({ held, children }: { held: boolean; children: ReactNode }) {
  const Icon = held ? IconCheck : IconAlertTriangle;
  return (
    <span className={`state tone-${held ? "good" : "bad"}`}>
      <Icon size={14} stroke={2.25} aria-hidden="true" />
      {children}
    </span>
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
