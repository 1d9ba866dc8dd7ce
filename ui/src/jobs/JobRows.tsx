import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router";
import type { Chunks } from "../api/chunks";
import type { JobOut } from "../api/schema";
import { Check } from "../components/Check";
import { Problem } from "../components/Problem";
import type { Verb } from "../components/useJobActions";
import { useRowKeys } from "../components/useRowKeys";
import { useWindowRows } from "../components/useWindowRows";
import { WindowRows } from "../components/WindowRows";
import { JobRow, pathOf, type RowHandlers } from "./JobRow";
import type { Sort } from "./query";
import { type Opened, RowMenu } from "./RowMenu";
import { useRecent } from "./useRecent";

const ROW = 46;
const PHONE_ROW = 64;

/** The table of jobs: rows that are in sight, and no others. */
export function JobRows({
  list,
  sort,
  onSort,
  selected,
  onSelect,
  onTag,
  onVerb,
}: {
  list: Chunks<JobOut>;
  sort: Sort;
  onSort: (sort: Sort) => void;
  selected: ReadonlyMap<string, JobOut>;
  onSelect: (selected: ReadonlyMap<string, JobOut>) => void;
  onTag: (tag: string) => void;
  onVerb: (verb: Verb, job: JobOut) => void;
}) {
  const navigate = useNavigate();
  const [menu, setMenu] = useState<Opened | null>(null);
  const sight = useWindowRows({
    count: list.count,
    height: ROW,
    phoneHeight: PHONE_ROW,
    show: list.show,
  });
  const recent = useRecent(list, sight.first, sight.last);
  const toggle = (job: JobOut) => {
    const next = new Map(selected);
    if (!next.delete(job.id)) next.set(job.id, job);
    onSelect(next);
  };
  const at = useRowKeys({
    length: list.count,
    show: (index) => sight.scrollTo(index),
    open: (index) => {
      const job = list.at(index);
      if (job) void navigate(pathOf(job));
    },
    toggle: (index) => {
      const job = list.at(index);
      if (job) toggle(job);
    },
    clear: () => onSelect(new Map()),
  });

  // The same for all rows and for good, so that scrolling paints only those that are new.
  const latest = useRef({ toggle, onTag });
  useEffect(() => {
    latest.current = { toggle, onTag };
  });
  const handlers = useMemo<RowHandlers>(
    () => ({
      toggle: (job) => latest.current.toggle(job),
      tag: (tag) => latest.current.onTag(tag),
      menu: (job, button) => setMenu({ job, button }),
    }),
    [],
  );

  return (
    <div className="panel" role="table" aria-label="Jobs" aria-rowcount={list.count + 1}>
      <Head list={list} sort={sort} onSort={onSort} selected={selected} onSelect={onSelect} />
      <WindowRows
        list={list}
        sight={sight}
        empty="No job fits. Change or remove a filter."
        row={(job, place) => (
          <JobRow
            key={job.id}
            job={job}
            recent={recent.get(job.id)}
            number={place.index}
            selected={selected.has(job.id)}
            current={place.index === at}
            phone={sight.phone}
            top={place.top}
            height={place.height}
            handlers={handlers}
          />
        )}
      />
      {list.error && <Problem error={list.error} retry={list.retry} />}
      {menu && (
        <RowMenu key={menu.job.id} opened={menu} onClose={() => setMenu(null)} onVerb={onVerb} />
      )}
    </div>
  );
}

function Head({
  list,
  sort,
  onSort,
  selected,
  onSelect,
}: {
  list: Chunks<JobOut>;
  sort: Sort;
  onSort: (sort: Sort) => void;
  selected: ReadonlyMap<string, JobOut>;
  onSelect: (selected: ReadonlyMap<string, JobOut>) => void;
}) {
  const loaded = selected.size > 0 ? list.loaded() : [];
  const all = loaded.length > 0 && loaded.every((job) => selected.has(job.id));
  return (
    <div role="rowgroup">
      <div className="vhead jobs-grid" role="row" aria-rowindex={1}>
        <span role="columnheader">
          <Check
            label="Select all that are loaded"
            checked={all}
            some={selected.size > 0 && !all}
            onChange={() =>
              onSelect(all ? new Map() : new Map(list.loaded().map((job) => [job.id, job])))
            }
          />
        </span>
        <SortHead word="name" label="Job" sort={sort} onSort={onSort} />
        <span role="columnheader">Schedule</span>
        <SortHead word="next_fire_at" label="Next fire" sort={sort} onSort={onSort} />
        <SortHead word="last_result" label="Last results" sort={sort} onSort={onSort} />
        <span className="right" role="columnheader">
          Success
        </span>
        <span className="right wide" role="columnheader">
          p95
        </span>
        <span className="wide" role="columnheader">
          Last
        </span>
        <span role="columnheader">
          <span className="sr-only">What to do</span>
        </span>
      </div>
    </div>
  );
}

const SAID: Record<"name" | "next_fire_at" | "last_result", string> = {
  name: "Sort by job",
  next_fire_at: "Sort by next fire",
  last_result: "Sort by last results, failing first",
};

function SortHead({
  word,
  label,
  sort,
  onSort,
}: {
  word: keyof typeof SAID;
  label: string;
  sort: Sort;
  onSort: (sort: Sort) => void;
}) {
  const up = sort === word;
  const on = up || sort === `-${word}`;
  return (
    <span role="columnheader" aria-sort={on ? (up ? "ascending" : "descending") : undefined}>
      <button
        type="button"
        className="sort"
        data-on={on}
        aria-label={up ? `${SAID[word]}, the other way round` : SAID[word]}
        onClick={() => onSort(up ? `-${word}` : word)}
      >
        {label}
        {on &&
          (up ? (
            <IconArrowUp size={12} aria-hidden="true" />
          ) : (
            <IconArrowDown size={12} aria-hidden="true" />
          ))}
      </button>
    </span>
  );
}
