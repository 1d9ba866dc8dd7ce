import { Button, Select, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconSearch, IconX } from "@tabler/icons-react";
import { memo, useEffect, useState } from "react";
import type { JobStatus } from "../api/schema";
import { StatusBadge } from "../components/State";
import type { useUrlState } from "../lib/useUrlState";
import { type Chosen, isFiltered, STATUSES } from "./query";

/** What the list of jobs is narrowed by. */
export const JobToolbar = memo(function JobToolbar({
  chosen,
  counts,
  change,
}: {
  chosen: Chosen;
  counts: Record<JobStatus, number> | Partial<Record<JobStatus, number>> | undefined;
  change: ReturnType<typeof useUrlState>[1];
}) {
  const { text, statuses, tags, kind, result } = chosen;
  return (
    <div className="toolbar">
      <Search value={text} onChange={(value) => change({ text: value })} />
      <fieldset className="chips" style={{ border: 0, padding: 0, margin: 0 }}>
        <legend className="sr-only">Status</legend>
        {STATUSES.map((status) => (
          <button
            type="button"
            key={status}
            className="chip"
            aria-pressed={statuses.includes(status)}
            onClick={() =>
              change({
                status: statuses.includes(status)
                  ? statuses.filter((one) => one !== status)
                  : [...statuses, status],
              })
            }
          >
            <StatusBadge status={status} />
            {counts && (
              <span className="dim num">{(counts[status] ?? 0).toLocaleString("en")}</span>
            )}
          </button>
        ))}
      </fieldset>
      <Select
        w={128}
        size="xs"
        aria-label="Kind of schedule"
        data={[
          { value: "", label: "Any schedule" },
          { value: "cron", label: "Cron" },
          { value: "every", label: "Interval" },
          { value: "at", label: "Once" },
        ]}
        value={kind}
        allowDeselect={false}
        onChange={(value) => change({ kind: value })}
      />
      <Select
        w={138}
        size="xs"
        aria-label="Last result"
        data={[
          { value: "", label: "Any last result" },
          { value: "failed", label: "Last failed" },
          { value: "succeeded", label: "Last succeeded" },
        ]}
        value={result}
        allowDeselect={false}
        onChange={(value) => change({ last_result: value })}
      />
      {tags.map((tag) => (
        <button
          type="button"
          className="chip"
          key={tag}
          aria-label={`Do not filter by ${tag}`}
          onClick={() => change({ tag: tags.filter((one) => one !== tag) })}
        >
          # {tag} <IconX size={12} aria-hidden="true" />
        </button>
      ))}
      {isFiltered(chosen) && (
        <Button
          variant="subtle"
          color="gray"
          onClick={() =>
            change({ text: null, status: null, tag: null, kind: null, last_result: null })
          }
        >
          Show all
        </Button>
      )}
    </div>
  );
});

function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const [typed, setTyped] = useState(value);
  const [settled] = useDebouncedValue(typed, 150);
  // biome-ignore lint/correctness/useExhaustiveDependencies: told when the typing has settled
  useEffect(() => {
    if (settled !== value) onChange(settled);
  }, [settled]);
  useEffect(() => setTyped(value), [value]);
  return (
    <TextInput
      miw={190}
      size="xs"
      className="search"
      data-page-search
      type="search"
      aria-label="Search jobs"
      placeholder="Name, description or target"
      leftSection={<IconSearch size={14} aria-hidden="true" />}
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
    />
  );
}
