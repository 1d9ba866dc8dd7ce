import { Button, TagsInput, Text, Textarea, TextInput } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { IconSend } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link, useBlocker, useNavigate, useParams, useSearchParams } from "react-router";
import { ApiError } from "../api/problem";
import { changes, jobQuery, keys } from "../api/queries";
import type { JobOut } from "../api/schema";
import { useSession } from "../api/session";
import { AttemptView, Explained, RequestView } from "../components/AttemptView";
import { Guarded } from "../components/Guarded";
import { Lines, Panel } from "../components/Panel";
import { Problem } from "../components/Problem";
import { PolicyFields, RetryFields } from "../editor/PolicyFields";
import { SchedulePreview, useSchedulePreview } from "../editor/Preview";
import { ScheduleFields } from "../editor/ScheduleFields";
import { TargetFields } from "../editor/TargetFields";
import { fromCron } from "../lib/cron";
import { DRAFTS, readDraft, writeDraft } from "../lib/drafts";
import {
  definitionFrom,
  EMPTY,
  errorsAt,
  type Form,
  formOf,
  SHOWN_FIELDS,
  scheduleFrom,
} from "../lib/form";
import { useTitle } from "../lib/useTitle";
import { randomUuid } from "../lib/uuid";
import { NotFound } from "./NotFound";

export default function EditorPage() {
  const { ref } = useParams();
  const [params] = useSearchParams();
  const from = ref ?? params.get("from");
  // Read once: an edit starts from what was there, whatever happens meanwhile.
  const job = useQuery({
    ...jobQuery(from ?? ""),
    enabled: from !== null,
    staleTime: Number.POSITIVE_INFINITY,
  });
  useTitle(ref ? `Edit ${job.data?.name ?? ""}` : "New job");
  if (from === null) return <Editor key="new" job={null} copy={false} />;
  if (job.error && !job.data) {
    return job.error instanceof ApiError && job.error.status === 404 ? (
      <NotFound what="job" why={job.error.message} />
    ) : (
      <Problem error={job.error} retry={() => void job.refetch()} />
    );
  }
  if (!job.data) {
    return (
      <section className="panel">
        <Lines count={10} />
      </section>
    );
  }
  return <Editor key={from} job={job.data} copy={ref === undefined} />;
}

const isSimple = (cron: string) => fromCron(cron) !== null;

function Editor({ job, copy }: { job: JobOut | null; copy: boolean }) {
  const editing = job !== null && !copy;
  const draftKey = `${DRAFTS}${editing ? job.id : copy ? `copy-${job?.id}` : "new"}`;
  const [initial] = useState<Form>(() => {
    if (!job) return EMPTY;
    const form = formOf(job, isSimple);
    return copy ? { ...form, name: `${job.name}-copy`.slice(0, 100) } : form;
  });
  const [draft] = useState(() => readDraft(draftKey));
  const [form, setForm] = useState<Form>(draft ?? initial);
  const [restored, setRestored] = useState(draft !== null);
  const [saved, setSaved] = useState(false);
  // The same for each try, so that an answer that got lost does not make a second job.
  const [requestKey, setRequestKey] = useState(() => randomUuid());
  const dirty = !saved && JSON.stringify(form) !== JSON.stringify(initial);
  const client = useQueryClient();
  const navigate = useNavigate();
  const { refusal } = useSession();
  const refused = refusal("editor");
  const head = useRef<HTMLDivElement>(null);

  const set = (change: Partial<Form>) => setForm((before) => ({ ...before, ...change }));
  const schedule = scheduleFrom(form);
  const preview = useSchedulePreview(schedule);
  const kept = editing && JSON.stringify(schedule) === JSON.stringify(scheduleFrom(initial));

  useEffect(() => {
    if (dirty) writeDraft(draftKey, form);
    else sessionStorage.removeItem(draftKey);
  }, [dirty, draftKey, form]);

  const blocker = useBlocker(
    ({ currentLocation, nextLocation }) =>
      dirty && currentLocation.pathname !== nextLocation.pathname,
  );
  useEffect(() => {
    if (blocker.state !== "blocked") return;
    modals.openConfirmModal({
      title: "Leave without saving?",
      children: (
        <Text size="sm">What you typed is kept in this tab, and is here when you come back.</Text>
      ),
      labels: { confirm: "Leave", cancel: "Stay" },
      onConfirm: () => blocker.proceed(),
      onCancel: () => blocker.reset(),
    });
  }, [blocker]);
  useEffect(() => {
    if (!dirty) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [dirty]);

  const save = useMutation({
    mutationFn: async (overwrite: boolean) => {
      const { definition, typos } = definitionFrom(form);
      if (typos.length) throw typoError(typos);
      if (editing) return changes.replace(job.id, definition, overwrite ? null : job.version);
      return changes.create(definition, requestKey);
    },
    onSuccess: async (made) => {
      setSaved(true);
      sessionStorage.removeItem(draftKey);
      client.setQueryData(jobQuery(made.name).queryKey, made);
      await client.invalidateQueries({ queryKey: [keys.jobs] });
      await client.invalidateQueries({ queryKey: [keys.job] });
      notifications.show({ message: editing ? `${made.name} changed` : `${made.name} created` });
      // After the form has heard that it is saved: there is nothing to hold back any more.
      setTimeout(() => void navigate(`/jobs/${encodeURIComponent(made.name)}`), 0);
    },
    onError: () => {
      setRequestKey(randomUuid());
      requestAnimationFrame(() => {
        const first = document.querySelector<HTMLElement>('[aria-invalid="true"]');
        if (first) first.focus();
        else head.current?.scrollIntoView({ block: "start" });
      });
    },
  });

  const trial = useMutation({
    mutationFn: () => {
      const { definition, typos } = definitionFrom(form);
      if (typos.length) throw typoError(typos);
      return changes.trial(definition);
    },
  });

  const problem = save.error ?? trial.error;
  const fields = problem instanceof ApiError ? problem.fields : [];
  // The schedule is looked at while it is typed; its errors need not wait for the button.
  const looked = preview.error
    ? preview.error instanceof ApiError
      ? preview.error.fields
      : []
    : kept
      ? []
      : (preview.data?.errors ?? []);
  const typed = preview.settled ? looked : [];
  const errors = [
    ...typed,
    ...fields.filter((one) => !typed.some((other) => other.field === one.field)),
  ];
  const elsewhere = fields.filter(
    (one) =>
      !SHOWN_FIELDS.some((field) => one.field === field || one.field.startsWith(`${field}.`)),
  );
  const changed = save.error instanceof ApiError && save.error.status === 412;

  return (
    <>
      <div className="page-head" ref={head}>
        <h1>{editing ? `Edit ${job.name}` : copy ? `Duplicate ${job?.name}` : "New job"}</h1>
      </div>
      {restored && dirty && (
        <div className="note warn" style={{ marginBottom: 14 }}>
          <div className="grow">This is what you typed before; it was not saved yet.</div>
          <Button
            variant="default"
            size="compact-xs"
            onClick={() => {
              setForm(initial);
              setRestored(false);
            }}
          >
            Start over
          </Button>
        </div>
      )}
      {changed && (
        <div className="note warn" style={{ marginBottom: 14 }} role="alert">
          <div className="grow">
            Somebody changed this job since you opened it. What you typed is still here.
          </div>
          <Button variant="default" size="compact-xs" onClick={() => save.mutate(true)}>
            Save mine over it
          </Button>
        </div>
      )}
      {problem && !changed && (
        <div style={{ marginBottom: 14 }} role="alert">
          {fields.length === 0 ? (
            <Problem error={problem} />
          ) : (
            <div className="note bad">
              <div>
                <strong>
                  {save.error ? "Not saved" : "Not tried"}:{" "}
                  {fields.length === 1 ? "a field is" : `${fields.length} fields are`} not right
                  yet.
                </strong>
                {elsewhere.map((one) => (
                  <div key={`${one.field} ${one.message}`}>
                    {one.field} {one.message}
                  </div>
                ))}
              </div>
            </div>
          )}
        </div>
      )}
      <div className="grid cols-main">
        <form
          className="panel"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            trial.reset();
            save.mutate(false);
          }}
        >
          <section className="form-section">
            <h2>What it is</h2>
            <p>A name to find it by; programs use it too.</p>
            <div className="fields">
              <TextInput
                style={{ gridColumn: "span 6" }}
                label="Name"
                description="Small letters, digits and . _ - ; empty: its id."
                placeholder="nightly-report"
                spellCheck={false}
                autoComplete="off"
                value={form.name}
                error={errorsAt(errors, "name")}
                onChange={(event) => set({ name: event.currentTarget.value })}
              />
              <TagsInput
                style={{ gridColumn: "span 6" }}
                label="Tags"
                description="To filter by."
                value={form.tags}
                error={errorsAt(errors, "tags")}
                onChange={(tags) => set({ tags })}
              />
              <Textarea
                style={{ gridColumn: "span 12" }}
                label="Description"
                autosize
                minRows={1}
                value={form.description}
                error={errorsAt(errors, "description")}
                onChange={(event) => set({ description: event.currentTarget.value })}
              />
            </div>
          </section>
          <section className="form-section">
            <h2>When</h2>
            <p>What it says is shown beside it, while you type.</p>
            <ScheduleFields
              value={form.schedule}
              onChange={(change) => set({ schedule: { ...form.schedule, ...change } })}
              errors={errors}
            />
            {errors.some((one) => one.field === "schedule") && (
              <p className="tone-bad" style={{ margin: "8px 0 0" }}>
                The schedule {errors.find((one) => one.field === "schedule")?.message}
              </p>
            )}
          </section>
          <section className="form-section">
            <h2>What it does</h2>
            <p>The request that each fire makes.</p>
            <TargetFields
              value={form.target}
              onChange={(change) => set({ target: { ...form.target, ...change } })}
              errors={errors}
            />
          </section>
          <section className="form-section">
            <h2>When it fails</h2>
            <p>A failed attempt is made again, after waits that grow.</p>
            <RetryFields form={form} set={set} errors={errors} />
          </section>
          <section className="form-section">
            <h2>When things go otherwise</h2>
            <p>The defaults are right for most jobs.</p>
            <PolicyFields form={form} set={set} errors={errors} />
          </section>
          <div className="editor-foot">
            <Guarded reason={refused}>
              {(disabled) => (
                <Button type="submit" size="sm" loading={save.isPending} disabled={disabled}>
                  {editing ? "Save changes" : "Create job"}
                </Button>
              )}
            </Guarded>
            <Guarded reason={refused}>
              {(disabled) => (
                <Button
                  variant="default"
                  size="sm"
                  leftSection={<IconSend size={15} aria-hidden="true" />}
                  loading={trial.isPending}
                  disabled={disabled}
                  onClick={() => {
                    save.reset();
                    trial.mutate();
                  }}
                >
                  Send a test call now
                </Button>
              )}
            </Guarded>
            <Button
              variant="subtle"
              color="gray"
              size="sm"
              component={Link}
              to={editing ? `/jobs/${encodeURIComponent(job.name)}` : "/jobs"}
            >
              Cancel
            </Button>
            {dirty && <span className="dim">Not saved yet</span>}
          </div>
        </form>
        <aside className="grid" style={{ position: "sticky", top: 16 }}>
          <SchedulePreview preview={preview} kept={kept} />
          <TestResult trial={trial.data} />
        </aside>
      </div>
    </>
  );
}

function TestResult({ trial }: { trial: Awaited<ReturnType<typeof changes.trial>> | undefined }) {
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (trial) panel.current?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }, [trial]);
  const attempt = useMemo(() => trial?.attempt, [trial]);
  if (!trial || !attempt) {
    return (
      <Panel title="Test call">
        <span className="dim">
          Sends the request once, with what is typed, and shows the answer here. Nothing is stored,
          nothing is tried again.
        </span>
      </Panel>
    );
  }
  return (
    <div ref={panel} data-testid="trial">
      <Panel title="Test call" flush>
        {attempt.error_kind && (
          <div style={{ padding: "0 14px 10px" }}>
            <Explained kind={attempt.error_kind} status={attempt.http_status} />
          </div>
        )}
        <AttemptView attempt={attempt} />
        {trial.request && (
          <div style={{ padding: "0 14px 14px" }}>
            <div className="dim" style={{ marginBottom: 4 }}>
              Request as sent
            </div>
            <RequestView request={trial.request} />
          </div>
        )}
      </Panel>
    </div>
  );
}

function typoError(typos: readonly { field: string; message: string }[]): ApiError {
  return new ApiError(422, {
    detail: "Something is not JSON yet",
    code: "typo",
    errors: typos.map((one) => ({ ...one, code: "typo" })),
  });
}
