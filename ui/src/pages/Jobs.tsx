import { IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useChunks } from "../api/chunks";
import { jobChunks, statsQuery } from "../api/queries";
import type { JobOut } from "../api/schema";
import { useSession } from "../api/session";
import { FirstStep } from "../components/FirstStep";
import { Guarded } from "../components/Guarded";
import { LinkButton } from "../components/LinkButton";
import { Problem } from "../components/Problem";
import { useJobActions } from "../components/useJobActions";
import { BulkBar } from "../jobs/BulkBar";
import { JobRows } from "../jobs/JobRows";
import { JobToolbar } from "../jobs/JobToolbar";
import { OrderSelect } from "../jobs/OrderSelect";
import { chosenIn, isFiltered, queryOf, type Sort } from "../jobs/query";
import { count } from "../lib/text";
import { useTitle } from "../lib/useTitle";
import { useUrlState } from "../lib/useUrlState";

/** All jobs: search, filters, order, and what can be done to many at once. */
export default function Jobs() {
  useTitle("Jobs");
  const [params, change] = useUrlState();
  const chosen = useMemo(() => chosenIn(params), [params]);
  const { refusal } = useSession();
  const filtered = isFiltered(chosen);
  const list = useChunks(jobChunks(queryOf(chosen)));
  const totals = useQuery(statsQuery("1h", "1m"));
  const [selected, setSelected] = useState<ReadonlyMap<string, JobOut>>(new Map());
  // What could not be done to stays selected.
  const { ask } = useJobActions((_, done) =>
    setSelected((before) => {
      const gone = new Set(done.map((job) => job.id));
      return new Map([...before].filter(([id]) => !gone.has(id)));
    }),
  );

  const onSort = (sort: Sort) => change({ sort: sort === "name" ? null : sort });
  const known = totals.data?.jobs;
  const all = known ? known.active + known.paused + known.completed + known.cancelled : undefined;
  const none = !list.pending && !list.old && !list.error && list.count === 0;

  return (
    <>
      <div className="page-head">
        <h1>Jobs</h1>
        <span className="dim" style={{ alignSelf: "center" }} role="status">
          {all === undefined ? "" : filtered ? `of ${count(all, "job")}` : count(all, "job")}
        </span>
        <div className="actions">
          <OrderSelect sort={chosen.sort} onSort={onSort} />
          <Guarded reason={refusal("editor")}>
            {(disabled) => (
              <LinkButton
                to="/jobs/new"
                leftSection={<IconPlus size={15} aria-hidden="true" />}
                disabled={disabled}
              >
                New job
              </LinkButton>
            )}
          </Guarded>
        </div>
      </div>
      <JobToolbar chosen={chosen} counts={known} change={change} />
      {list.error && list.count === 0 ? (
        <Problem error={list.error} retry={list.retry} />
      ) : none && !filtered ? (
        <FirstStep />
      ) : (
        <JobRows
          list={list}
          sort={chosen.sort}
          onSort={onSort}
          selected={selected}
          onSelect={setSelected}
          onTag={(tag) => change({ tag: [...new Set([...chosen.tags, tag])] })}
          onVerb={(verb, job) => ask(verb, [job])}
        />
      )}
      {selected.size > 0 && (
        <BulkBar
          chosen={[...selected.values()]}
          onVerb={ask}
          onClear={() => setSelected(new Map())}
        />
      )}
    </>
  );
}
