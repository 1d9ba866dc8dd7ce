import { Button, Select, TextInput } from "@mantine/core";
import type { HistoryFilter } from "../api/queries";
import type { ErrorKind, State } from "../api/schema";
import { useZone } from "../lib/prefs";
import { capital } from "../lib/text";
import { fromWall, toWall } from "../lib/time";
import { someOf, useUrlState } from "../lib/useUrlState";
import { kindLabel } from "../lib/words";
import { ExecutionRows } from "./ExecutionRows";
import { StateBadge } from "./State";

const STATES: readonly State[] = [
  "claimed",
  "pending",
  "succeeded",
  "failed",
  "skipped",
  "cancelled",
];
const KINDS: readonly ErrorKind[] = [
  "http_status",
  "timeout",
  "connection",
  "dns",
  "tls",
  "protocol",
  "redirect",
  "blocked",
  "too_large",
  "cancelled",
  "lost",
];

/** Executions with their filters, of all jobs or of one; what is chosen is in the address. */
export function History({ job, sticky = true }: { job?: string; sticky?: boolean }) {
  const [params, change] = useUrlState();
  const zone = useZone();
  const states = someOf(params.getAll("state"), STATES);
  const kind = someOf(params.getAll("error_kind"), KINDS)[0];
  const since = params.get("since") ?? "";
  const until = params.get("until") ?? "";
  const filter: HistoryFilter = {
    ...(job ? { job } : {}),
    ...(states.length ? { state: states } : {}),
    ...(kind ? { error_kind: kind } : {}),
    ...(since ? { since } : {}),
    ...(until ? { until } : {}),
  };
  return (
    <>
      <div className="toolbar">
        <fieldset className="chips" style={{ border: 0, padding: 0, margin: 0 }}>
          <legend className="sr-only">State</legend>
          {STATES.map((state) => (
            <button
              type="button"
              key={state}
              className="chip"
              aria-pressed={states.includes(state)}
              onClick={() =>
                change({
                  state: states.includes(state)
                    ? states.filter((one) => one !== state)
                    : [...states, state],
                })
              }
            >
              <StateBadge state={state} />
            </button>
          ))}
        </fieldset>
        <Select
          w={190}
          size="xs"
          aria-label="Kind of error"
          placeholder="Any error"
          clearable
          data={KINDS.map((one) => ({ value: one, label: capital(kindLabel(one)) }))}
          value={kind ?? null}
          onChange={(value) => change({ error_kind: value })}
        />
        <div className="pair">
          {(["since", "until"] as const).map((name) => (
            <TextInput
              key={name}
              leftSection={<span className="dim">{name === "since" ? "from" : "before"}</span>}
              leftSectionWidth={name === "since" ? 40 : 50}
              leftSectionPointerEvents="none"
              w={name === "since" ? 212 : 222}
              size="xs"
              type="datetime-local"
              aria-label={name === "since" ? "Fire time from" : "Fire time before"}
              value={wallOf(params.get(name), zone)}
              onChange={(event) => {
                const at = fromWall(event.currentTarget.value, zone);
                change({ [name]: Number.isNaN(at) ? null : new Date(at).toISOString() });
              }}
            />
          ))}
        </div>
        {(states.length > 0 || kind || since || until) && (
          <Button
            variant="subtle"
            color="gray"
            onClick={() => change({ state: null, error_kind: null, since: null, until: null })}
          >
            Show all
          </Button>
        )}
      </div>
      <ExecutionRows filter={filter} withJob={!job} sticky={sticky} />
    </>
  );
}

function wallOf(value: string | null, zone: string): string {
  const at = value ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? "" : toWall(at, zone).slice(0, 16);
}
