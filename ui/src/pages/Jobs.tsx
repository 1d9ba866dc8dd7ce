import {
  ActionIcon,
  Button,
  Checkbox,
  Menu,
  Select,
  Skeleton,
  TextInput,
  Tooltip,
} from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import {
  IconArrowDown,
  IconArrowUp,
  IconCopy,
  IconDots,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerTrackNext,
  IconPlus,
  IconSearch,
  IconTrash,
  IconX,
} from "@tabler/icons-react";
import { useInfiniteQuery, useQueries, useQuery } from "@tanstack/react-query";
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { Link, useNavigate } from "react-router";
import { JOBS_PAGE, type JobQuery, jobsQuery, recentQuery, statsQuery } from "../api/queries";
import type { JobOut, JobRecentOut, JobStatus } from "../api/schema";
import { useSession } from "../api/session";
import { FirstStep } from "../components/FirstStep";
import { Guarded } from "../components/Guarded";
import { LinkButton } from "../components/LinkButton";
import { Problem } from "../components/Problem";
import { StateMark, StatusBadge } from "../components/State";
import { Strip } from "../components/Strip";
import { RelTime } from "../components/Time";
import { useJobActions, type Verb } from "../components/useJobActions";
import { useRowKeys } from "../components/useRowKeys";
import { useWindowRows } from "../components/useWindowRows";
import { count, percent } from "../lib/text";
import { millis } from "../lib/time";
import { useTitle } from "../lib/useTitle";
import { oneOf, someOf, useUrlState } from "../lib/useUrlState";

const STATUSES = ["active", "paused", "completed", "cancelled"] as const;
const SORTS = [
  "name",
  "-name",
  "next_fire_at",
  "-next_fire_at",
  "updated_at",
  "-updated_at",
  "created_at",
  "-created_at",
] as const;
const KINDS = ["", "cron", "every", "at"] as const;
const RESULTS = ["", "failed", "succeeded"] as const;
const ROW = 46;
const PHONE_ROW = 64;

export default function Jobs() {
  useTitle("Jobs");
  const [params, change] = useUrlState();
  const { refusal } = useSession();
  const navigate = useNavigate();

  const text = params.get("text") ?? "";
  const statuses = someOf(params.getAll("status"), STATUSES);
  const tags = params.getAll("tag");
  const kind = oneOf(params.get("kind"), KINDS);
  const result = oneOf(params.get("last_result"), RESULTS);
  const sort = oneOf(params.get("sort"), SORTS);

  const query: JobQuery = {
    ...(text ? { text } : {}),
    ...(statuses.length ? { status: statuses as JobStatus[] } : {}),
    ...(tags.length ? { tag: tags } : {}),
    ...(kind ? { kind } : {}),
    ...(result ? { last_result: result } : {}),
    sort,
  };
  const filtered = Boolean(text || statuses.length || tags.length || kind || result);
  const list = useInfiniteQuery(jobsQuery(query));
  const pages = useMemo(() => list.data?.pages ?? [], [list.data]);
  const jobs = useMemo(() => pages.flatMap((page) => page.items), [pages]);
  const totals = useQuery(statsQuery("1h", "1m"));

  const [selected, setSelected] = useState<ReadonlyMap<string, JobOut>>(new Map());
  const { ask } = useJobActions();
  const chosen = [...selected.values()];
  const toggle = (job: JobOut) =>
    setSelected((before) => {
      const next = new Map(before);
      if (!next.delete(job.id)) next.set(job.id, job);
      return next;
    });

  const hasMore = list.hasNextPage && !list.isFetchingNextPage;
  const { ref, rows, total, margin, phone, scrollTo } = useWindowRows({
    count: jobs.length,
    height: ROW,
    phoneHeight: PHONE_ROW,
    more: hasMore ? list.fetchNextPage : null,
  });
  const first = rows[0]?.index ?? 0;
  const last = rows.at(-1)?.index ?? 0;
  const recent = useRecent(pages, Math.floor(first / JOBS_PAGE), Math.floor(last / JOBS_PAGE));

  const at = useRowKeys({
    length: jobs.length,
    show: (index) => scrollTo(index),
    open: (index) => void navigate(pathOf(jobs[index] as JobOut)),
    toggle: (index) => toggle(jobs[index] as JobOut),
    clear: () => setSelected(new Map()),
  });

  // The same for all rows and for good, so that scrolling paints only those that are new.
  const latest = useRef({ toggle, ask, change, tags });
  useEffect(() => {
    latest.current = { toggle, ask, change, tags };
  });
  const handlers = useMemo<Handlers>(
    () => ({
      toggle: (job) => latest.current.toggle(job),
      verb: (verb, job) => latest.current.ask(verb, [job]),
      tag: (tag) => latest.current.change({ tag: [...new Set([...latest.current.tags, tag])] }),
    }),
    [],
  );

  const known = totals.data?.jobs;
  const all = known ? known.active + known.paused + known.completed + known.cancelled : undefined;
  const empty = list.data && jobs.length === 0;

  return (
    <>
      <div className="page-head">
        <h1>Jobs</h1>
        <span className="dim" style={{ alignSelf: "center" }}>
          {all === undefined ? "" : filtered ? `of ${count(all, "job")}` : count(all, "job")}
        </span>
        <div className="actions">
          <Guarded reason={refusal("editor")}>
            {(disabled) => (
              <LinkButton to="/jobs/new" leftSection={<IconPlus size={15} />} disabled={disabled}>
                New job
              </LinkButton>
            )}
          </Guarded>
        </div>
      </div>

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
              {known && <span className="dim num">{known[status].toLocaleString("en")}</span>}
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
            { value: "failed", label: "Last one failed" },
            { value: "succeeded", label: "Last one succeeded" },
          ]}
          value={result}
          allowDeselect={false}
          onChange={(value) => change({ last_result: value })}
        />
        {phone && (
          <Select
            w={150}
            size="xs"
            aria-label="Order"
            data={[
              { value: "name", label: "By name" },
              { value: "next_fire_at", label: "By next fire" },
              { value: "-updated_at", label: "Changed last" },
            ]}
            value={sort}
            allowDeselect={false}
            onChange={(value) => change({ sort: value })}
          />
        )}
        {tags.map((tag) => (
          <button
            type="button"
            className="chip"
            key={tag}
            aria-label={`Do not filter by ${tag}`}
            onClick={() => change({ tag: tags.filter((one) => one !== tag) })}
          >
            # {tag} <IconX size={12} />
          </button>
        ))}
        {filtered && (
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

      {list.error && !list.data ? (
        <Problem error={list.error} retry={() => void list.refetch()} />
      ) : empty && !filtered ? (
        <FirstStep />
      ) : (
        <div className="panel">
          <div className="vhead jobs-grid">
            <Checkbox
              size="xs"
              aria-label="Select all that are loaded"
              checked={chosen.length > 0 && chosen.length === jobs.length}
              indeterminate={chosen.length > 0 && chosen.length < jobs.length}
              onChange={() =>
                setSelected(
                  chosen.length === jobs.length
                    ? new Map()
                    : new Map(jobs.map((job) => [job.id, job])),
                )
              }
            />
            <SortHead word="name" label="Job" sort={sort} change={change} />
            <span>Schedule</span>
            <SortHead word="next_fire_at" label="Next fire" sort={sort} change={change} />
            <span>Last results</span>
            <span className="right">Success</span>
            <span className="right wide">p95</span>
            <span className="wide">Last</span>
            <span />
          </div>
          <div ref={ref} className="vgrid" style={{ height: total || 120 }} data-testid="rows">
            {!list.data &&
              Array.from({ length: 8 }, (_, index) => (
                <div key={index} style={{ padding: "14px 14px" }} aria-busy="true">
                  <Skeleton height={14} width={`${80 - ((index * 13) % 30)}%`} />
                </div>
              ))}
            {empty && <div className="blank">No job fits. Change or remove a filter.</div>}
            {rows.map((row) => {
              const job = jobs[row.index] as JobOut;
              return (
                <Row
                  key={job.id}
                  job={job}
                  recent={recent.get(job.id)}
                  selected={selected.has(job.id)}
                  current={row.index === at}
                  phone={phone}
                  top={row.start - margin}
                  height={row.size}
                  handlers={handlers}
                  refusal={refusal}
                />
              );
            })}
          </div>
        </div>
      )}

      {chosen.length > 0 && (
        <section className="bulk" aria-label="What to do with the selected jobs">
          <strong className="num">{count(chosen.length, "job")}</strong>
          {(
            [
              ["pause", "Pause", <IconPlayerPause key="i" size={14} />, "operator"],
              ["resume", "Resume", <IconPlayerPlay key="i" size={14} />, "operator"],
              ["trigger", "Trigger", <IconPlayerTrackNext key="i" size={14} />, "operator"],
              ["remove", "Delete", <IconTrash key="i" size={14} />, "editor"],
            ] as const
          ).map(([verb, label, icon, role]) => (
            <Guarded key={verb} reason={refusal(role)}>
              {(disabled) => (
                <Button
                  color={verb === "remove" ? "red.8" : "dark.4"}
                  leftSection={icon}
                  disabled={disabled}
                  onClick={() => {
                    ask(verb, applicable(verb, chosen));
                    if (verb !== "remove" && verb !== "trigger") setSelected(new Map());
                  }}
                >
                  {label}
                </Button>
              )}
            </Guarded>
          ))}
          <ActionIcon
            variant="transparent"
            c="white"
            onClick={() => setSelected(new Map())}
            aria-label="Select nothing"
          >
            <IconX size={16} />
          </ActionIcon>
        </section>
      )}
    </>
  );
}

/** Pausing what is paused would only be refused. */
function applicable(verb: Verb, jobs: readonly JobOut[]): readonly JobOut[] {
  if (verb === "pause") return jobs.filter((job) => job.status === "active");
  if (verb === "resume") return jobs.filter((job) => job.status === "paused");
  return jobs;
}

function pathOf(job: JobOut): string {
  return `/jobs/${encodeURIComponent(job.name)}`;
}

/** The last results of the pages in sight: one request for each. */
function useRecent(
  pages: readonly { items: readonly JobOut[] }[],
  first: number,
  last: number,
): ReadonlyMap<string, JobRecentOut> {
  const visible = pages.slice(first, last + 1).map((page) => page.items.map((job) => job.id));
  const results = useQueries({ queries: visible.map((ids) => recentQuery(ids, 20)) });
  const found = new Map<string, JobRecentOut>();
  for (const result of results) {
    for (const one of result.data?.items ?? []) found.set(one.job_id, one);
  }
  return found;
}

function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const [typed, setTyped] = useState(value);
  const [settled] = useDebouncedValue(typed, 200);
  // biome-ignore lint/correctness/useExhaustiveDependencies: told when the typing has settled
  useEffect(() => {
    if (settled !== value) onChange(settled);
  }, [settled]);
  useEffect(() => setTyped(value), [value]);
  return (
    <TextInput
      miw={230}
      size="xs"
      className="search"
      data-page-search
      type="search"
      aria-label="Search jobs"
      placeholder="Name, description or target"
      leftSection={<IconSearch size={14} />}
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
    />
  );
}

function SortHead({
  word,
  label,
  sort,
  change,
}: {
  word: string;
  label: string;
  sort: string;
  change: (change: Record<string, string | null>) => void;
}) {
  const on = sort === word || sort === `-${word}`;
  const next = sort === word ? `-${word}` : word;
  return (
    <span>
      <button
        type="button"
        className="sort"
        data-on={on}
        aria-label={`Sort by ${label.toLowerCase()}${sort === word ? ", descending" : ""}`}
        onClick={() => change({ sort: next === "name" ? null : next })}
      >
        {label}
        {on && (sort === word ? <IconArrowUp size={12} /> : <IconArrowDown size={12} />)}
      </button>
    </span>
  );
}

interface Handlers {
  toggle: (job: JobOut) => void;
  verb: (verb: Verb, job: JobOut) => void;
  tag: (tag: string) => void;
}

const Row = memo(function Row({
  job,
  recent,
  selected,
  current,
  phone,
  top,
  height,
  handlers,
  refusal,
}: {
  job: JobOut;
  recent: JobRecentOut | undefined;
  selected: boolean;
  current: boolean;
  phone: boolean;
  top: number;
  height: number;
  handlers: Handlers;
  refusal: (role: "operator" | "editor") => string | null;
}) {
  const last = job.last_execution;
  const name = (
    <div className="cut">
      <div className="cut">
        {job.status !== "active" && (
          <span style={{ marginRight: 6 }}>
            <StatusBadge status={job.status} />
          </span>
        )}
        <Link className="name job-name" to={pathOf(job)}>
          {job.name}
        </Link>
      </div>
      <div className="cut" style={{ fontSize: "0.75rem" }}>
        {job.tags.slice(0, 3).map((tag) => (
          <span key={tag}>
            <button
              type="button"
              className="tag"
              tabIndex={-1}
              onClick={() => handlers.tag(tag)}
              aria-label={`Show only jobs with the tag ${tag}`}
            >
              {tag}
            </button>{" "}
          </span>
        ))}
        <span className="dim">{job.description}</span>
      </div>
    </div>
  );
  const frame = {
    className: "vrow jobs-grid",
    style: {
      height,
      transform: `translateY(${top}px)`,
      ...(current ? { boxShadow: "inset 2px 0 0 light-dark(#28557f, #6a9bc7)" } : {}),
    },
    "data-selected": selected,
    "data-job": job.name,
  };
  if (phone) {
    return (
      <div {...frame}>
        <div className="cut">
          {name}
          <div className="cut dim" style={{ fontSize: "0.75rem" }}>
            {job.schedule.description}
          </div>
        </div>
        <div className="right" style={{ width: 92 }}>
          {recent && <Strip executions={recent.executions} slots={14} />}
          <RelTime at={job.next_fire_at} none="no next fire" />
        </div>
      </div>
    );
  }
  return (
    <div {...frame}>
      <Checkbox
        size="xs"
        checked={selected}
        onChange={() => handlers.toggle(job)}
        aria-label={`Select ${job.name}`}
      />
      {name}
      <Tooltip label={job.schedule.description}>
        <span
          className="dim"
          style={{
            display: "-webkit-box",
            WebkitLineClamp: 2,
            WebkitBoxOrient: "vertical",
            overflow: "hidden",
            fontSize: "0.75rem",
            lineHeight: 1.35,
          }}
        >
          {job.schedule.description}
        </span>
      </Tooltip>
      <span className="num">
        <RelTime at={job.next_fire_at} none="none" />
      </span>
      {recent ? <Strip executions={recent.executions} /> : <span />}
      <span className={`right num${(recent?.success_ratio ?? 1) < 0.9 ? " tone-bad" : ""}`}>
        {percent(recent?.success_ratio)}
      </span>
      <span className="right num wide">{millis(recent?.duration_ms.p95)}</span>
      <span className="wide cut" style={{ display: "flex", gap: 6 }}>
        {last ? (
          <>
            <StateMark state={last.state} />
            <Link className="name dim" to={`/executions/${last.id}`}>
              <RelTime at={last.fire_time} />
            </Link>
          </>
        ) : (
          <span className="dim">never ran</span>
        )}
      </span>
      <RowMenu job={job} onVerb={(verb) => handlers.verb(verb, job)} refusal={refusal} />
    </div>
  );
});

function RowMenu({
  job,
  onVerb,
  refusal,
}: {
  job: JobOut;
  onVerb: (verb: Verb) => void;
  refusal: (role: "operator" | "editor") => string | null;
}) {
  const operate = refusal("operator") !== null;
  const edit = refusal("editor") !== null;
  return (
    <Menu position="bottom-end" width={190}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={`What to do with ${job.name}`}>
          <IconDots size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {operate && <Menu.Label>{refusal("operator")}</Menu.Label>}
        <Menu.Item
          leftSection={<IconPlayerTrackNext size={15} />}
          disabled={operate || job.status === "cancelled"}
          onClick={() => onVerb("trigger")}
        >
          Trigger now
        </Menu.Item>
        {job.status === "paused" ? (
          <Menu.Item
            leftSection={<IconPlayerPlay size={15} />}
            disabled={operate}
            onClick={() => onVerb("resume")}
          >
            Resume
          </Menu.Item>
        ) : (
          <Menu.Item
            leftSection={<IconPlayerPause size={15} />}
            disabled={operate || job.status !== "active"}
            onClick={() => onVerb("pause")}
          >
            Pause
          </Menu.Item>
        )}
        {!edit && (
          <>
            <Menu.Divider />
            <Menu.Item
              leftSection={<IconPencil size={15} />}
              component={Link}
              to={`${pathOf(job)}/edit`}
            >
              Edit
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              component={Link}
              to={`/jobs/new?from=${encodeURIComponent(job.name)}`}
            >
              Duplicate
            </Menu.Item>
            <Menu.Divider />
            <Menu.Item
              c="var(--bad)"
              leftSection={<IconTrash size={15} />}
              onClick={() => onVerb("remove")}
            >
              Delete
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
