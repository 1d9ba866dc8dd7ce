import { IconDots } from "@tabler/icons-react";
import { memo } from "react";
import type { JobOut, JobRecentOut } from "../api/schema";
import { Check } from "../components/Check";
import { StateMark, StatusBadge } from "../components/State";
import { Strip } from "../components/Strip";
import { RelTime } from "../components/Time";
import { placed } from "../components/WindowRows";
import { percent } from "../lib/text";
import { millis } from "../lib/time";

export interface RowHandlers {
  toggle: (job: JobOut) => void;
  tag: (tag: string) => void;
  menu: (job: JobOut, button: HTMLElement) => void;
}

export function pathOf(job: JobOut): string {
  return `/jobs/${encodeURIComponent(job.name)}`;
}

interface Props {
  job: JobOut;
  recent: JobRecentOut | undefined;
  number: number;
  selected: boolean;
  current: boolean;
  phone: boolean;
  top: number;
  height: number;
  handlers: RowHandlers;
}

/**
 * A job in the list. Plain elements: a long list makes hundreds of these while it scrolls, and the
 * components of the library cost ten times as much.
 */
export const JobRow = memo(function JobRow(props: Props) {
  const { job, recent, number, selected, current, phone, top, height, handlers } = props;
  return (
    <div
      role="row"
      aria-rowindex={number + 2}
      className="vrow jobs-grid"
      style={placed({ top, height })}
      data-current={current || undefined}
      data-selected={selected}
      data-job={job.name}
    >
      {phone ? (
        <>
          <div className="cut" role="cell">
            <Name job={job} handlers={handlers} />
            <div className="cut dim small">{job.schedule.description}</div>
          </div>
          <div className="right" style={{ width: 92 }} role="cell">
            {recent && <Strip executions={recent.executions} slots={14} />}
            <RelTime at={job.next_fire_at} none="no next fire" />
          </div>
        </>
      ) : (
        <Cells job={job} recent={recent} selected={selected} handlers={handlers} />
      )}
    </div>
  );
});

function Cells({
  job,
  recent,
  selected,
  handlers,
}: Pick<Props, "job" | "recent" | "selected" | "handlers">) {
  const last = job.last_execution;
  return (
    <>
      <span role="cell">
        <Check
          checked={selected}
          onChange={() => handlers.toggle(job)}
          label={`Select ${job.name}`}
        />
      </span>
      <div className="cut" role="cell">
        <Name job={job} handlers={handlers} />
      </div>
      <span className="dim two-lines" role="cell" data-tip={job.schedule.description}>
        {job.schedule.description}
      </span>
      <span className="num" role="cell">
        <RelTime at={job.next_fire_at} none="none" />
      </span>
      <span role="cell">{recent && <Strip executions={recent.executions} />}</span>
      <span
        role="cell"
        className={`right num${(recent?.success_ratio ?? 1) < 0.9 ? " tone-bad" : ""}`}
      >
        {percent(recent?.success_ratio)}
      </span>
      <span className="right num wide" role="cell">
        {millis(recent?.duration_ms.p95)}
      </span>
      <span className="wide cut last" role="cell">
        {last ? (
          <>
            <StateMark state={last.state} />
            <a className="name dim" href={`/executions/${last.id}`}>
              <RelTime at={last.fire_time} />
            </a>
          </>
        ) : (
          <span className="dim">no result yet</span>
        )}
      </span>
      <span role="cell">
        <button
          type="button"
          className="icon-button"
          aria-label={`What to do with ${job.name}`}
          aria-haspopup="menu"
          onClick={(event) => handlers.menu(job, event.currentTarget)}
        >
          <IconDots size={16} aria-hidden="true" />
        </button>
      </span>
    </>
  );
}

function Name({ job, handlers }: Pick<Props, "job" | "handlers">) {
  return (
    <>
      <div className="cut">
        {job.status !== "active" && (
          <span style={{ marginRight: 6 }}>
            <StatusBadge status={job.status} />
          </span>
        )}
        <a className="name job-name" href={pathOf(job)}>
          {job.name}
        </a>
      </div>
      <div className="cut small">
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
    </>
  );
}
