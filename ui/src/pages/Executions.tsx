import { Button } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { History } from "../components/History";
import { useTitle } from "../lib/useTitle";
import { useUrlState } from "../lib/useUrlState";

export default function Executions() {
  useTitle("Executions");
  const [params, change] = useUrlState();
  const job = params.get("job") ?? undefined;
  return (
    <>
      <div className="page-head">
        <h1>Executions</h1>
        {job && (
          <Button
            variant="light"
            rightSection={<IconX size={13} aria-hidden="true" />}
            onClick={() => change({ job: null })}
          >
            of {job}
          </Button>
        )}
      </div>
      <History {...(job ? { job } : {})} />
    </>
  );
}
