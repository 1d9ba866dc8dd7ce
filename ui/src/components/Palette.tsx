import {
  Combobox,
  Loader,
  Modal,
  TextInput,
  useCombobox,
  useMantineColorScheme,
} from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import {
  IconAlarm,
  IconArrowRight,
  IconMoon,
  IconPlus,
  IconSearch,
  IconWorld,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { someJobsQuery } from "../api/queries";
import { useSession } from "../api/session";
import type { NavItem } from "../lib/nav";
import { setZone } from "../lib/prefs";
import { LOCAL_ZONE } from "../lib/time";

interface Command {
  id: string;
  label: string;
  hint?: string;
  icon: ReactNode;
  run: () => void;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Ctrl-K: go anywhere, find a job, do what is done often. */
export default function Palette({
  items,
  onClose,
}: {
  items: readonly NavItem[];
  onClose: () => void;
}) {
  const [query, setQuery] = useState("");
  const [wanted] = useDebouncedValue(query.trim(), 120);
  const navigate = useNavigate();
  const { refusal } = useSession();
  const { setColorScheme } = useMantineColorScheme();
  const combobox = useCombobox({ opened: true, onDropdownClose: onClose });
  const jobs = useQuery({
    ...someJobsQuery({ text: wanted, limit: 8 }),
    enabled: wanted.length > 0 && !UUID.test(wanted),
  });

  const go = (path: string) => () => void navigate(path);
  const commands: Command[] = [
    ...(refusal("editor") === null
      ? [
          {
            id: "new",
            label: "New job",
            icon: <IconPlus size={16} aria-hidden="true" />,
            run: go("/jobs/new"),
          },
        ]
      : []),
    ...items.map((item) => ({
      id: item.path,
      label: `Go to ${item.label}`,
      hint: `g ${item.key}`,
      icon: <IconArrowRight size={16} aria-hidden="true" />,
      run: go(item.path),
    })),
    {
      id: "failing",
      label: "Show jobs that fail",
      icon: <IconAlarm size={16} aria-hidden="true" />,
      run: go("/jobs?last_result=failed"),
    },
    {
      id: "paused",
      label: "Show paused jobs",
      icon: <IconAlarm size={16} aria-hidden="true" />,
      run: go("/jobs?status=paused"),
    },
    {
      id: "failed",
      label: "Show failed executions",
      icon: <IconAlarm size={16} aria-hidden="true" />,
      run: go("/executions?state=failed"),
    },
    {
      id: "dark",
      label: "Use dark colours",
      icon: <IconMoon size={16} aria-hidden="true" />,
      run: () => setColorScheme("dark"),
    },
    {
      id: "light",
      label: "Use light colours",
      icon: <IconMoon size={16} aria-hidden="true" />,
      run: () => setColorScheme("light"),
    },
    {
      id: "utc",
      label: "Show times in UTC",
      icon: <IconWorld size={16} aria-hidden="true" />,
      run: () => setZone("UTC"),
    },
    {
      id: "local",
      label: `Show times in ${LOCAL_ZONE}`,
      icon: <IconWorld size={16} aria-hidden="true" />,
      run: () => setZone(LOCAL_ZONE),
    },
  ];
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const fitting = commands.filter((one) =>
    words.every((word) => one.label.toLowerCase().includes(word)),
  );
  const found: Command[] = (wanted && jobs.data ? jobs.data.items : []).map((job) => ({
    id: job.id,
    label: job.name,
    hint: job.schedule.description,
    icon: <IconAlarm size={16} aria-hidden="true" />,
    run: go(`/jobs/${encodeURIComponent(job.name)}`),
  }));
  if (UUID.test(wanted)) {
    found.push(
      {
        id: "e",
        label: "Open the execution with this id",
        icon: <IconArrowRight size={16} aria-hidden="true" />,
        run: go(`/executions/${wanted}`),
      },
      {
        id: "j",
        label: "Open the job with this id",
        icon: <IconArrowRight size={16} aria-hidden="true" />,
        run: go(`/jobs/${wanted}`),
      },
    );
  }
  const shown = [...found, ...fitting];

  // biome-ignore lint/correctness/useExhaustiveDependencies: another list begins at its first entry
  useEffect(() => {
    combobox.selectFirstOption();
  }, [query, jobs.data]);

  return (
    <Modal
      opened
      onClose={onClose}
      withCloseButton={false}
      padding={0}
      size={560}
      yOffset="12vh"
      centered={false}
      title={<span className="sr-only">Search and commands</span>}
      styles={{ header: { position: "absolute", minHeight: 0, padding: 0 } }}
    >
      <Combobox
        store={combobox}
        withinPortal={false}
        onOptionSubmit={(id) => {
          onClose();
          shown.find((one) => one.id === id)?.run();
        }}
      >
        <Combobox.EventsTarget>
          <TextInput
            data-autofocus
            variant="unstyled"
            size="md"
            py={6}
            leftSectionWidth={46}
            aria-label="Search jobs and commands"
            placeholder="A job, an id, or what to do"
            leftSection={<IconSearch size={17} aria-hidden="true" />}
            rightSection={jobs.isFetching ? <Loader size={14} /> : null}
            value={query}
            onChange={(event) => setQuery(event.currentTarget.value)}
          />
        </Combobox.EventsTarget>
        <Combobox.Options
          mah={380}
          style={{ overflowY: "auto", borderTop: "1px solid var(--line)" }}
          p={6}
          aria-label="What was found"
        >
          {shown.length === 0 && <Combobox.Empty>Nothing is called that</Combobox.Empty>}
          {shown.map((one) => (
            <Combobox.Option value={one.id} key={one.id}>
              <span style={{ display: "flex", alignItems: "center", gap: 10 }}>
                <span style={{ display: "flex", opacity: 0.75 }}>{one.icon}</span>
                <span className="cut">{one.label}</span>
                {one.hint && (
                  <span
                    className="cut"
                    style={{ marginLeft: "auto", fontSize: "0.75rem", opacity: 0.8 }}
                  >
                    {one.hint}
                  </span>
                )}
              </span>
            </Combobox.Option>
          ))}
        </Combobox.Options>
      </Combobox>
    </Modal>
  );
}
