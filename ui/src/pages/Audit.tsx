import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { type AuditOut, auditQuery } from "../api/queries";
import { Lines } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { ClockTime } from "../components/Time";
import { actionWords, changeLines, subjectWords } from "../lib/audit";
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
                  <th>From</th>
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
                    <td className="nowrap" data-tip={one.action}>
                      {actionWords(one.action)}
                    </td>
                    <td className="audit-on" title={one.subject.id ?? undefined}>
                      <span className="dim">{subjectWords(one.subject.type)}</span>{" "}
                      {one.subject.name}
                    </td>
                    <td className="dim nowrap">{one.address ?? "–"}</td>
                    <td className="dim audit-rest">
                      <Details lines={linesOf(one)} />
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

/** Beyond this many lines or characters the details are folded: a batch of jobs names a thousand. */
const LINES = 3;
const LONG = 220;

function Details({ lines }: { lines: readonly string[] }) {
  const whole = lines.join("\n");
  if (lines.length <= LINES && whole.length <= LONG) return whole;
  const start = lines.slice(0, LINES).join("\n").slice(0, LONG);
  return (
    <details>
      <summary>{start}…</summary>
      {whole}
    </details>
  );
}

const SHOWN = new Set([
  "id",
  "at",
  "actor",
  "action",
  "subject",
  "address",
  "namespace",
  "before",
  "after",
]);

/** What was changed, and whatever else an entry says: later versions add to it. */
function linesOf(one: AuditOut): string[] {
  const more = Object.fromEntries(Object.entries(one).filter(([name]) => !SHOWN.has(name)));
  const elsewhere = one.namespace === "default" ? [] : [`namespace: ${one.namespace}`];
  return [...elsewhere, ...changeLines(one.before, one.after), ...changeLines(null, more)];
}
