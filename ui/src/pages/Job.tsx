import { Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { ApiError } from "../api/problem";
import { jobQuery } from "../api/queries";
import type { JobOut } from "../api/schema";
import { History } from "../components/History";
import { Lines } from "../components/Panel";
import { Problem } from "../components/Problem";
import { JobDefinition } from "../job/JobDefinition";
import { JobHead } from "../job/JobHead";
import { JobOverview } from "../job/JobOverview";
import { useTitle } from "../lib/useTitle";
import { oneOf, useUrlState } from "../lib/useUrlState";
import { NotFound } from "./NotFound";

const TABS = ["overview", "history", "definition"] as const;

export default function Job() {
  const { ref = "" } = useParams();
  const job = useQuery(jobQuery(ref));
  useTitle(job.data?.name ?? "Job");
  if (job.error && !job.data) {
    if (job.error instanceof ApiError && job.error.status === 404) {
      return <NotFound what="job" why={job.error.message} />;
    }
    return <Problem error={job.error} retry={() => void job.refetch()} />;
  }
  if (!job.data) {
    return (
      <section className="panel">
        <Lines count={8} />
      </section>
    );
  }
  return <Found job={job.data} />;
}

function Found({ job }: { job: JobOut }) {
  const [params, change] = useUrlState();
  const tab = oneOf(params.get("tab"), TABS);
  return (
    <>
      <JobHead job={job} />
      <Tabs
        value={tab}
        onChange={(value) =>
          change({
            tab: value === "overview" ? null : value,
            state: null,
            error_kind: null,
            since: null,
            until: null,
          })
        }
        keepMounted={false}
      >
        <Tabs.List mb={14}>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="history">History</Tabs.Tab>
          <Tabs.Tab value="definition">Definition</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <JobOverview job={job} />
        </Tabs.Panel>
        <Tabs.Panel value="history">
          <History job={job.id} />
        </Tabs.Panel>
        <Tabs.Panel value="definition">
          <JobDefinition job={job} />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}
