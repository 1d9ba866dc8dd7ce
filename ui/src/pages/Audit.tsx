import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { type AuditOut, auditQuery } from "../api/queries";
import { Lines } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { ClockTime } from "../components/Time";
import { useTitle } from "../lib/useTitle";

export default function Audit() {
  useTitle("Audit log");
  const audit = useInfiniteQuery(auditQuery());
  const items = audit.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <div className="page-head">
        <h1>Audit log</h1>
      </div>
      {audit.error ? (
        <Problem error={audit.error} retry={() => void audit.refetch()} />
      ) : (
        <ScrollX panel label="Audit log">
          {!audit.data ? (
            <Lines />
          ) : items.length === 0 ? (
            <div className="blank">Nobody has changed anything yet.</div>
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th>When</th>
                  <th>Who</th>
                  <th>What</th>
                  <th>On</th>
                  <th>Details</th>
                </tr>
              </thead>
              <tbody>
                {items.map((one, index) => (
                  <tr key={one.id ?? index}>
                    <td className="nowrap">{one.at && <ClockTime at={one.at} />}</td>
                    <td className="nowrap" title={one.actor.type}>
                      {one.actor.name}
                    </td>
                    <td className="mono nowrap">{one.action}</td>
                    <td className="audit-on" title={one.subject.id ?? undefined}>
                      <span className="dim">{one.subject.type}</span> {one.subject.name}
                    </td>
                    <td className="dim audit-rest">
                      <Rest text={restOf(one)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {audit.hasNextPage && (
            <div className="blank">
              <Button
                variant="default"
                loading={audit.isFetchingNextPage}
                onClick={() => void audit.fetchNextPage()}
              >
                Older ones
              </Button>
            </div>
          )}
        </ScrollX>
      )}
    </>
  );
}

/** Beyond this many characters the details are folded: a batch of jobs names a thousand. */
const LONG = 220;

function Rest({ text }: { text: string }) {
  if (text.length <= LONG) return text;
  return (
    <details>
      <summary>{text.slice(0, LONG)}…</summary>
      {text.slice(LONG)}
    </details>
  );
}

const SHOWN = new Set(["id", "at", "actor", "action", "subject"]);

/** Whatever else an entry says: later versions add to it. */
function restOf(one: AuditOut): string {
  return Object.entries(one)
    .filter(([name, value]) => !SHOWN.has(name) && value !== null && value !== "")
    .map(([name, value]) => `${name}: ${textOf(value)}`)
    .join(", ");
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
