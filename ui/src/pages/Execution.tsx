import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconArrowBack, IconBan, IconRefresh } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "react-router";
import { ApiError, messageOf } from "../api/problem";
import { changes, executionQuery, keys, sentQuery } from "../api/queries";
import type { ExecutionOut } from "../api/schema";
import { useSession } from "../api/session";
import { AttemptView, Explained, KindLabel, RequestView } from "../components/AttemptView";
import { Guarded } from "../components/Guarded";
import { Figure, Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { StateBadge } from "../components/State";
import { ClockTime, RelTime } from "../components/Time";
import { useZone } from "../lib/prefs";
import { count } from "../lib/text";
import { exactTime, millis } from "../lib/time";
import { useTitle } from "../lib/useTitle";
import { reasonWords, stateWords } from "../lib/words";
import { NotFound } from "./NotFound";

const TRIGGERS: Record<string, string> = {
  schedule: "its schedule",
  manual: "a person or a program",
  retry: "a retry by hand",
};

/** An attempt is stored when it ends: until then nothing can be told of it. */
const UNDER_WAY = "A call is under way, or about to leave. It is shown here when it has ended.";

export default function Execution() {
  const { ref = "" } = useParams();
  const execution = useQuery({
    ...executionQuery(ref),
    // Live events come first; this is for what they miss.
    refetchInterval: (query) => (query.state.data && !query.state.data.finished_at ? 2_000 : false),
  });
  const one = execution.data;
  useTitle(one ? `${one.job_name} · ${stateWords(one.state).label}` : "Execution");
  if (execution.error && !one) {
    if (execution.error instanceof ApiError && execution.error.status === 404) {
      return <NotFound what="execution" why={execution.error.message} />;
    }
    return <Problem error={execution.error} retry={() => void execution.refetch()} />;
  }
  if (!one) {
    return (
      <section className="panel">
        <Lines count={8} />
      </section>
    );
  }
  return <Found one={one} />;
}

function Found({ one }: { one: ExecutionOut }) {
  const zone = useZone();
  const sent = useQuery(sentQuery(one.id, one.attempts.length));
  const last = one.attempts.at(-1);
  const longest = Math.max(1, ...one.attempts.map((attempt) => attempt.duration_ms));
  const live = one.finished_at === null;
  return (
    <>
      <div className="page-head">
        <div className="grow" style={{ minWidth: 240 }}>
          <h1 style={{ display: "flex", gap: 10, alignItems: "center", flexWrap: "wrap" }}>
            <Link className="name" to={`/jobs/${encodeURIComponent(one.job_name)}`}>
              {one.job_name}
            </Link>
            <span style={{ fontSize: "0.875rem" }} role="status">
              <StateBadge state={one.state} />
            </span>
          </h1>
          <div className="dim">
            {exactTime(Date.parse(one.fire_time), zone)} · <RelTime at={one.fire_time} />
          </div>
        </div>
        <Actions one={one} />
      </div>

      <div className="grid">
        <section className="panel" aria-label="In figures">
          <div className="figures" style={{ borderTop: 0 }}>
            <Figure
              label="Asked for by"
              value={
                <small style={{ color: "inherit" }}>{TRIGGERS[one.trigger] ?? one.trigger}</small>
              }
            />
            <Figure
              label="Lateness"
              value={one.lateness_ms === null ? "–" : millis(one.lateness_ms)}
            />
            <Figure
              label="Took"
              value={live ? "…" : millis(one.duration_ms)}
              note="first call to last answer"
            />
            <Figure label={live ? "Attempts ended" : "Attempts"} value={one.attempt_count} />
            <Figure
              label="Answer"
              value={one.http_status ?? "–"}
              note={one.error_kind ? <KindLabel kind={one.error_kind} /> : undefined}
            />
          </div>
        </section>

        {one.reason && (
          <div className={`note ${one.state === "failed" ? "bad" : "warn"}`}>
            <div>
              <strong>
                {one.state === "skipped"
                  ? "It did not run"
                  : one.state === "cancelled"
                    ? "It was cancelled"
                    : "It ended"}
                : {reasonWords(one.reason)}.
              </strong>{" "}
              <span className="dim mono">{one.reason}</span>
              {one.skipped_count !== null && one.skipped_count > 1 && one.skipped_until && (
                <div>
                  It stands for {count(one.skipped_count, "fire time")}, until{" "}
                  {exactTime(Date.parse(one.skipped_until), zone)}.
                </div>
              )}
            </div>
          </div>
        )}
        {last?.error_kind && one.state !== "succeeded" && (
          <Explained kind={last.error_kind} status={last.http_status} />
        )}

        <div className="grid cols-main">
          <Panel
            title="Attempts"
            flush
            aside={one.attempts.length > 1 ? "drawn to one scale" : undefined}
          >
            {one.attempts.length === 0 && (
              <div className="blank">
                {!live
                  ? "No call was made."
                  : one.state === "claimed"
                    ? UNDER_WAY
                    : "No call has left yet."}
                {one.available_at && one.state === "pending" && (
                  <>
                    {" "}
                    It may leave <RelTime at={one.available_at} />.
                  </>
                )}
              </div>
            )}
            {one.attempts.length > 0 && one.state === "claimed" && (
              <div className="blank">{UNDER_WAY}</div>
            )}
            {[...one.attempts].reverse().map((attempt) => (
              <AttemptView
                key={attempt.number}
                attempt={attempt}
                of={one.attempts.length}
                scale={longest}
              />
            ))}
            {one.state === "pending" && one.attempts.length > 0 && one.available_at && (
              <div className="blank">
                The next attempt leaves <RelTime at={one.available_at} />.
              </div>
            )}
          </Panel>
          <div className="grid">
            <Panel title="Facts">
              <dl className="facts">
                <dt>Execution</dt>
                <dd className="mono">{one.id}</dd>
                <dt>Job</dt>
                <dd>
                  <Link className="link" to={`/jobs/${encodeURIComponent(one.job_name)}`}>
                    {one.job_name}
                  </Link>{" "}
                  <span className="dim">version {one.job_version}</span>
                </dd>
                <dt>Due</dt>
                <dd>
                  <ClockTime at={one.due} />
                </dd>
                {one.started_at && (
                  <>
                    <dt>Started</dt>
                    <dd>
                      <ClockTime at={one.started_at} />
                    </dd>
                  </>
                )}
                {one.finished_at && (
                  <>
                    <dt>Ended</dt>
                    <dd>
                      <ClockTime at={one.finished_at} />
                    </dd>
                  </>
                )}
                {one.node && (
                  <>
                    <dt>Node</dt>
                    <dd>{one.node}</dd>
                  </>
                )}
                {one.retry_of && (
                  <>
                    <dt>Retry of</dt>
                    <dd>
                      <Link className="link mono" to={`/executions/${one.retry_of}`}>
                        {one.retry_of}
                      </Link>
                    </dd>
                  </>
                )}
              </dl>
            </Panel>
            {sent.data?.request && (live || one.attempts.length > 0) && (
              <Panel title={one.attempts.length > 0 ? "Request as sent" : "Request to be sent"}>
                {!sent.data.current && (
                  <p className="dim" style={{ margin: "0 0 8px" }}>
                    The job was changed since: this is how its request looks now.
                  </p>
                )}
                <RequestView request={sent.data.request} />
              </Panel>
            )}
          </div>
        </div>
      </div>
    </>
  );
}

function Actions({ one }: { one: ExecutionOut }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const { refusal } = useSession();
  const live = one.finished_at === null;
  const complain = (error: unknown) =>
    notifications.show({ color: "red", title: "Not done", message: messageOf(error) });
  const retry = useMutation({
    mutationFn: () => changes.retry(one.id),
    onSuccess: (made) => void navigate(`/executions/${made.id}`),
    onError: complain,
  });
  const cancel = useMutation({
    mutationFn: () => changes.cancel(one.id),
    onSuccess: (after) => client.setQueryData(executionQuery(one.id).queryKey, after),
    onError: complain,
    onSettled: () => client.invalidateQueries({ queryKey: [keys.execution] }),
  });
  return (
    <div className="actions">
      <Button
        variant="default"
        component={Link}
        to={`/jobs/${encodeURIComponent(one.job_name)}?tab=history`}
        leftSection={<IconArrowBack size={15} aria-hidden="true" />}
      >
        History
      </Button>
      <Guarded reason={refusal("operator")}>
        {(disabled) =>
          live ? (
            <Button
              color="red.8"
              leftSection={<IconBan size={15} aria-hidden="true" />}
              loading={cancel.isPending}
              disabled={disabled}
              onClick={() => cancel.mutate()}
            >
              Cancel
            </Button>
          ) : (
            <Button
              leftSection={<IconRefresh size={15} aria-hidden="true" />}
              loading={retry.isPending}
              disabled={disabled}
              onClick={() => retry.mutate()}
            >
              Run again
            </Button>
          )
        }
      </Guarded>
    </div>
  );
}
