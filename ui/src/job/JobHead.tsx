import { Button, Menu } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import {
  IconCopy,
  IconDots,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconTrash,
} from "@tabler/icons-react";
import { Link, useNavigate } from "react-router";
import type { JobOut } from "../api/schema";
import { useDoor, useSession } from "../api/session";
import { Guarded } from "../components/Guarded";
import { LinkButton } from "../components/LinkButton";
import { StatusBadge } from "../components/State";
import { useKeys } from "../components/shortcuts";
import { useJobActions } from "../components/useJobActions";
import { copyText } from "../lib/copy";
import { asCurl, asPython, asYaml } from "../lib/export";

/** The name of a job, and what can be done with it. */
export function JobHead({ job }: { job: JobOut }) {
  const navigate = useNavigate();
  const { refusal } = useSession();
  const door = useDoor();
  const { ask } = useJobActions((verb) => {
    if (verb === "remove") void navigate("/jobs");
  });
  const operate = refusal("operator") === null;
  const paused = job.status === "paused";
  const pausable = paused || job.status === "active";
  const triggerable = job.status !== "cancelled";
  const path = `/jobs/${encodeURIComponent(job.name)}`;
  const toggle = () => pausable && ask(paused ? "resume" : "pause", [job]);
  useKeys({
    t: () => operate && triggerable && ask("trigger", [job]),
    p: () => operate && toggle(),
    e: () => refusal("editor") === null && void navigate(`${path}/edit`),
  });

  const copy = async (what: string, text: string | Promise<string>) => {
    if (await copyText(await text)) notifications.show({ message: `Copied as ${what}` });
    else {
      notifications.show({
        color: "red",
        message: "The browser does not allow copying here; see the tab Definition.",
      });
    }
  };

  return (
    <div className="page-head">
      <div className="grow" style={{ minWidth: 240 }}>
        <h1 style={{ display: "flex", gap: "4px 10px", alignItems: "center", flexWrap: "wrap" }}>
          {job.name}
          <span style={{ fontSize: "0.8125rem" }}>
            <StatusBadge status={job.status} />
          </span>
          {job.tags.map((tag) => (
            <Link key={tag} className="tag" to={`/jobs?tag=${encodeURIComponent(tag)}`}>
              {tag}
            </Link>
          ))}
        </h1>
        <div className="dim">{job.description || job.schedule.description}</div>
      </div>
      <div className="actions">
        <Guarded reason={refusal("operator")}>
          {(disabled) => (
            <Button
              leftSection={<IconPlayerTrackNext size={15} aria-hidden="true" />}
              disabled={disabled || !triggerable}
              onClick={() => ask("trigger", [job])}
            >
              Trigger now
            </Button>
          )}
        </Guarded>
        <Guarded reason={refusal("operator")}>
          {(disabled) => (
            <Button
              variant="default"
              leftSection={
                paused ? (
                  <IconPlayerPlay size={15} aria-hidden="true" />
                ) : (
                  <IconPlayerPause size={15} aria-hidden="true" />
                )
              }
              disabled={disabled || !pausable}
              onClick={toggle}
            >
              {paused ? "Resume" : "Pause"}
            </Button>
          )}
        </Guarded>
        <Guarded reason={refusal("editor")}>
          {(disabled) => (
            <LinkButton
              variant="default"
              leftSection={<IconPencil size={15} aria-hidden="true" />}
              disabled={disabled}
              to={`${path}/edit`}
            >
              Edit
            </LinkButton>
          )}
        </Guarded>
        <Menu position="bottom-end" width={200}>
          <Menu.Target>
            <Button variant="default" px={8} aria-label="More">
              <IconDots size={16} aria-hidden="true" />
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Label>Copy as</Menu.Label>
            <Menu.Item
              leftSection={<IconCopy size={15} aria-hidden="true" />}
              onClick={() => void copy("curl", asCurl(job, door))}
            >
              curl
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} aria-hidden="true" />}
              onClick={() => void copy("YAML", asYaml(job))}
            >
              YAML
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} aria-hidden="true" />}
              onClick={() => void copy("Python", asPython(job, door))}
            >
              Python
            </Menu.Item>
            {refusal("editor") === null && (
              <>
                <Menu.Divider />
                <Menu.Item
                  component={Link}
                  to={`/jobs/new?from=${encodeURIComponent(job.name)}`}
                  leftSection={<IconCopy size={15} aria-hidden="true" />}
                >
                  Duplicate
                </Menu.Item>
                <Menu.Item
                  c="var(--bad)"
                  leftSection={<IconTrash size={15} aria-hidden="true" />}
                  onClick={() => ask("remove", [job])}
                >
                  Delete
                </Menu.Item>
              </>
            )}
          </Menu.Dropdown>
        </Menu>
      </div>
    </div>
  );
}
