import { Menu } from "@mantine/core";
import {
  IconCopy,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconTrash,
} from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link } from "react-router";
import type { JobOut } from "../api/schema";
import { useSession } from "../api/session";
import type { Verb } from "../components/useJobActions";
import { pathOf } from "./JobRow";

export interface Opened {
  job: JobOut;
  button: HTMLElement;
}

/** What can be done to the job of a row: one menu for all rows, at the button that opened it. */
export function RowMenu({
  opened,
  onClose,
  onVerb,
}: {
  opened: Opened;
  onClose: () => void;
  onVerb: (verb: Verb, job: JobOut) => void;
}) {
  const { refusal } = useSession();
  const operate = refusal("operator") !== null;
  const { job, button } = opened;
  const box = useRef(button.getBoundingClientRect()).current;
  useEffect(() => {
    button.setAttribute("aria-expanded", "true");
    return () => button.removeAttribute("aria-expanded");
  }, [button]);
  const close = () => {
    onClose();
    // Where one was; what opens next comes back to there in its turn.
    requestAnimationFrame(() => button.isConnected && button.focus());
  };
  const act = (verb: Verb) => requestAnimationFrame(() => setTimeout(() => onVerb(verb, job)));
  return (
    <Menu opened onChange={(open) => !open && close()} position="bottom-end" width={190}>
      <Menu.Target>
        <span
          aria-hidden="true"
          style={{
            position: "absolute",
            left: box.left + window.scrollX,
            top: box.top + window.scrollY,
            width: box.width,
            height: box.height,
            pointerEvents: "none",
          }}
        />
      </Menu.Target>
      <Menu.Dropdown aria-label={`What to do with ${job.name}`}>
        {operate && <Menu.Label>{refusal("operator")}</Menu.Label>}
        <Menu.Item
          leftSection={<IconPlayerTrackNext size={15} aria-hidden="true" />}
          disabled={operate || job.status === "cancelled"}
          onClick={() => act("trigger")}
        >
          Trigger now
        </Menu.Item>
        {job.status === "paused" ? (
          <Menu.Item
            leftSection={<IconPlayerPlay size={15} aria-hidden="true" />}
            disabled={operate}
            onClick={() => act("resume")}
          >
            Resume
          </Menu.Item>
        ) : (
          <Menu.Item
            leftSection={<IconPlayerPause size={15} aria-hidden="true" />}
            disabled={operate || job.status !== "active"}
            onClick={() => act("pause")}
          >
            Pause
          </Menu.Item>
        )}
        {refusal("editor") === null && (
          <>
            <Menu.Divider />
            <Menu.Item
              leftSection={<IconPencil size={15} aria-hidden="true" />}
              component={Link}
              to={`${pathOf(job)}/edit`}
            >
              Edit
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} aria-hidden="true" />}
              component={Link}
              to={`/jobs/new?from=${encodeURIComponent(job.name)}`}
            >
              Duplicate
            </Menu.Item>
            <Menu.Divider />
            <Menu.Item
              c="var(--bad)"
              leftSection={<IconTrash size={15} aria-hidden="true" />}
              onClick={() => act("remove")}
            >
              Delete
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
