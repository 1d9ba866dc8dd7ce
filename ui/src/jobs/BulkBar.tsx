import { ActionIcon, Button } from "@mantine/core";
import {
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconTrash,
  IconX,
} from "@tabler/icons-react";
import type { JobOut } from "../api/schema";
import { useSession } from "../api/session";
import { Guarded } from "../components/Guarded";
import type { Verb } from "../components/useJobActions";
import { count } from "../lib/text";

const VERBS = [
  ["pause", "Pause", <IconPlayerPause key="i" size={14} aria-hidden="true" />, "operator"],
  ["resume", "Resume", <IconPlayerPlay key="i" size={14} aria-hidden="true" />, "operator"],
  ["trigger", "Trigger", <IconPlayerTrackNext key="i" size={14} aria-hidden="true" />, "operator"],
  ["remove", "Delete", <IconTrash key="i" size={14} aria-hidden="true" />, "editor"],
] as const;

/** What can be done to all that are selected. */
export function BulkBar({
  chosen,
  onVerb,
  onClear,
}: {
  chosen: readonly JobOut[];
  onVerb: (verb: Verb, jobs: readonly JobOut[]) => void;
  onClear: () => void;
}) {
  const { refusal } = useSession();
  return (
    <section className="bulk" aria-label="What to do with the selected jobs">
      <strong className="num" role="status">
        {count(chosen.length, "job")}
      </strong>
      {VERBS.map(([verb, label, icon, role]) => {
        const fitting = applicable(verb, chosen);
        const none = fitting.length === 0;
        return (
          <Guarded key={verb} reason={refusal(role) ?? (none ? NONE[verb] : null)}>
            {(disabled) => (
              <Button
                color={verb === "remove" ? "red.8" : "dark.4"}
                leftSection={icon}
                disabled={disabled}
                onClick={() => onVerb(verb, fitting)}
              >
                {label}
              </Button>
            )}
          </Guarded>
        );
      })}
      <ActionIcon variant="transparent" c="white" onClick={onClear} aria-label="Select nothing">
        <IconX size={16} aria-hidden="true" />
      </ActionIcon>
    </section>
  );
}

const NONE: Record<Verb, string> = {
  pause: "None of them is active.",
  resume: "None of them is paused.",
  trigger: "All of them are cancelled.",
  remove: "",
};

/** Pausing what is paused would only be refused. */
function applicable(verb: Verb, jobs: readonly JobOut[]): readonly JobOut[] {
  if (verb === "pause") return jobs.filter((job) => job.status === "active");
  if (verb === "resume") return jobs.filter((job) => job.status === "paused");
  if (verb === "trigger") return jobs.filter((job) => job.status !== "cancelled");
  return jobs;
}
