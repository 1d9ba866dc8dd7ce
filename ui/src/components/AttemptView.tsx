import type { AttemptOut, ShownRequestOut } from "../api/schema";
import { pretty } from "../lib/text";
import { millis } from "../lib/time";
import { explain, kindLabel } from "../lib/words";
import { Code } from "./Code";
import { StateBadge } from "./State";
import { ClockTime } from "./Time";
import { Waterfall } from "./Waterfall";

/** One call: how it ended, where its time went, what came back. */
export function AttemptView({
  attempt,
  of,
  scale,
}: {
  attempt: AttemptOut;
  of?: number;
  scale?: number;
}) {
  return (
    <div className="attempt" data-attempt={attempt.number}>
      <div style={{ display: "flex", gap: "4px 14px", flexWrap: "wrap", marginBottom: 8 }}>
        {of !== undefined && <strong>Attempt {attempt.number}</strong>}
        <StateBadge state={attempt.error_kind ? "failed" : "succeeded"} />
        {attempt.http_status !== null && <span className="num">HTTP {attempt.http_status}</span>}
        {attempt.error_kind && <KindLabel kind={attempt.error_kind} />}
        <span className="dim">
          <ClockTime at={attempt.started_at} /> on {attempt.node} · {millis(attempt.duration_ms)}
        </span>
      </div>
      {attempt.error && (
        <p style={{ margin: "0 0 8px", overflowWrap: "anywhere" }}>{attempt.error}</p>
      )}
      <Waterfall attempt={attempt} {...(scale === undefined ? {} : { scale })} />
      {attempt.response && attempt.response.excerpt !== "" && (
        <div style={{ marginTop: 10 }}>
          <div className="dim" style={{ marginBottom: 4 }}>
            Answer{attempt.response.truncated ? ", its beginning" : ""}
          </div>
          <Code text={pretty(attempt.response.excerpt).text} wrap label="Answer" maxHeight={260} />
        </div>
      )}
      {attempt.response && attempt.response.excerpt === "" && (
        <div className="dim" style={{ marginTop: 8 }}>
          The answer had no body.
        </div>
      )}
    </div>
  );
}

/** An error kind in words; the one that programs see is a hover away. */
export function KindLabel({ kind }: { kind: string }) {
  return <span data-tip={`error_kind: ${kind}`}>{kindLabel(kind)}</span>;
}

/** What an error means, and what to do. */
export function Explained({ kind, status }: { kind: string; status: number | null }) {
  const words = explain(kind, status);
  return (
    <div className="note bad">
      <div>
        <strong>{words.title}</strong>
        <div>{words.what}</div>
        <div style={{ marginTop: 4 }}>
          <span className="dim">What to do: </span>
          {words.todo}
        </div>
      </div>
    </div>
  );
}

/** A request as it is sent. */
export function RequestView({ request }: { request: ShownRequestOut }) {
  const body = pretty(request.body);
  const text = [
    `${request.method} ${request.url}`,
    ...request.headers.map((header) => `${header.name}: ${header.value}`),
    ...(request.body ? ["", body.text + (request.truncated ? "\n…" : "")] : []),
  ].join("\n");
  return <Code text={text} wrap label="Request" maxHeight={340} />;
}
