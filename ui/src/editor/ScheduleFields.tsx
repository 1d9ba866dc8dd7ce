import { Button, NativeSelect, NumberInput, Select, TextInput } from "@mantine/core";
import { IconChevronDown } from "@tabler/icons-react";
import { useState } from "react";
import { Segments } from "../components/Segments";
import { fromCron, type Simple, toCron, WEEKDAYS } from "../lib/cron";
import { errorsAt, type Form, type ScheduleKind } from "../lib/form";
import { allZones } from "../lib/prefs";
import { fromWall, toWall } from "../lib/time";

type Errors = readonly { field: string; message: string }[];
type Schedule = Form["schedule"];

export function ScheduleFields({
  value,
  onChange,
  errors,
}: {
  value: Schedule;
  onChange: (change: Partial<Schedule>) => void;
  errors: Errors;
}) {
  const [more, setMore] = useState(
    Boolean(value.jitter || value.starts_at || value.ends_at || value.anchor),
  );
  const showMore =
    more ||
    Boolean(
      errorsAt(
        errors,
        "schedule.jitter",
        "schedule.starts_at",
        "schedule.ends_at",
        "schedule.anchor",
      ),
    );
  return (
    <>
      <div className="choice">
        <Segments
          value={value.kind}
          onChange={(kind) => {
            const next = kind as ScheduleKind;
            // The builder shows what it can say; anything else starts from its first choice.
            if (next === "simple" && !fromCron(value.cron)) {
              onChange({ kind: next, cron: "0 9 * * *" });
            } else if (next === "at" && !value.at) {
              onChange({ kind: next, at: new Date(Date.now() + 3_600_000).toISOString() });
            } else onChange({ kind: next });
          }}
          data={[
            { value: "simple", label: "Regularly" },
            { value: "every", label: "Interval" },
            { value: "at", label: "Once" },
            { value: "cron", label: "Cron" },
          ]}
          label="Kind of schedule"
        />
      </div>
      <div className="fields">
        {value.kind === "simple" && (
          <Builder cron={value.cron} onChange={(cron) => onChange({ cron })} />
        )}
        {value.kind === "cron" && (
          <TextInput
            style={{ gridColumn: "span 7" }}
            label="Cron expression"
            description="Minute, hour, day, month, weekday; six fields begin with the second."
            placeholder="0 2 * * *"
            classNames={{ input: "mono" }}
            spellCheck={false}
            autoComplete="off"
            value={value.cron}
            error={errorsAt(errors, "schedule.cron")}
            onChange={(event) => onChange({ cron: event.currentTarget.value })}
          />
        )}
        {value.kind === "every" && (
          <TextInput
            style={{ gridColumn: "span 7" }}
            label="Every"
            description="Such as 30s, 15m, 1h30m or 2d."
            value={value.every}
            error={errorsAt(errors, "schedule.every")}
            onChange={(event) => onChange({ every: event.currentTarget.value })}
          />
        )}
        {value.kind === "at" && (
          <Instant
            span={7}
            label="At"
            description="It fires once; the job is completed then."
            value={value.at}
            zone={value.timezone}
            error={errorsAt(errors, "schedule.at")}
            onChange={(at) => onChange({ at })}
          />
        )}
        <Select
          style={{ gridColumn: "span 5" }}
          label="Time zone"
          description="Whose clock it follows, changes included."
          data={allZones()}
          searchable
          limit={80}
          allowDeselect={false}
          value={value.timezone}
          error={errorsAt(errors, "schedule.timezone")}
          onChange={(timezone) => timezone && onChange({ timezone })}
        />
        {showMore ? (
          <>
            <TextInput
              style={{ gridColumn: "span 4" }}
              label="Jitter"
              description="Delays each fire by up to so much."
              placeholder="none"
              value={value.jitter}
              error={errorsAt(errors, "schedule.jitter")}
              onChange={(event) => onChange({ jitter: event.currentTarget.value })}
            />
            <Instant
              span={4}
              label="Not before"
              description="The first fire is not earlier."
              value={value.starts_at}
              zone={value.timezone}
              error={errorsAt(errors, "schedule.starts_at")}
              onChange={(starts_at) => onChange({ starts_at })}
            />
            <Instant
              span={4}
              label="Not after"
              description="The last fire is not later."
              value={value.ends_at}
              zone={value.timezone}
              error={errorsAt(errors, "schedule.ends_at")}
              onChange={(ends_at) => onChange({ ends_at })}
            />
            {value.kind === "every" && (
              <Instant
                span={6}
                label="Counted from"
                description="By default the creation of the job."
                value={value.anchor}
                zone={value.timezone}
                error={errorsAt(errors, "schedule.anchor")}
                onChange={(anchor) => onChange({ anchor })}
              />
            )}
          </>
        ) : (
          <div style={{ gridColumn: "1 / -1" }}>
            <Button
              variant="subtle"
              color="gray"
              px={4}
              leftSection={<IconChevronDown size={14} aria-hidden="true" />}
              onClick={() => setMore(true)}
            >
              Jitter, start and end
            </Button>
          </div>
        )}
      </div>
    </>
  );
}

function Instant({
  span,
  label,
  description,
  value,
  zone,
  error,
  onChange,
}: {
  span: number;
  label: string;
  description: string;
  value: string;
  zone: string;
  error: string | undefined;
  onChange: (value: string) => void;
}) {
  const at = value ? Date.parse(value) : Number.NaN;
  return (
    <TextInput
      style={{ gridColumn: `span ${span}` }}
      type="datetime-local"
      step={1}
      label={label}
      description={description}
      value={Number.isNaN(at) ? "" : toWall(at, zone)}
      error={error}
      onChange={(event) => {
        const found = fromWall(event.currentTarget.value, zone);
        onChange(Number.isNaN(found) ? "" : new Date(found).toISOString());
      }}
    />
  );
}

const KINDS = [
  { value: "minutes", label: "every few minutes" },
  { value: "hourly", label: "every hour" },
  { value: "daily", label: "every day" },
  { value: "weekly", label: "on days of the week" },
  { value: "monthly", label: "on a day of the month" },
];
const STEPS = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30];

/** For those who do not know cron: what they choose becomes an expression, which is shown. */
function Builder({ cron, onChange }: { cron: string; onChange: (cron: string) => void }) {
  const simple: Simple = fromCron(cron) ?? { kind: "daily", hour: 9, minute: 0 };
  const set = (next: Simple) => onChange(toCron(next));
  const hour = "hour" in simple ? simple.hour : 9;
  const minute = "minute" in simple ? simple.minute : 0;
  const choose = (kind: string) => {
    if (kind === "minutes") set({ kind, every: 15 });
    else if (kind === "hourly") set({ kind, minute });
    else if (kind === "daily") set({ kind, hour, minute });
    else if (kind === "weekly") set({ kind, days: [1, 2, 3, 4, 5], hour, minute });
    else if (kind === "monthly") set({ kind, day: 1, hour, minute });
  };
  return (
    <div
      style={{
        gridColumn: "span 7",
        display: "flex",
        flexWrap: "wrap",
        gap: 10,
        alignItems: "flex-end",
      }}
    >
      <NativeSelect
        label="It fires"
        description={`As cron: ${cron}`}
        data={KINDS}
        value={simple.kind}
        onChange={(event) => choose(event.currentTarget.value)}
      />
      {simple.kind === "minutes" && (
        <NativeSelect
          label="Minutes apart"
          data={STEPS.map(String)}
          value={String(simple.every)}
          onChange={(event) => set({ ...simple, every: Number(event.currentTarget.value) })}
        />
      )}
      {simple.kind === "hourly" && (
        <NumberInput
          w={120}
          label="At minute"
          min={0}
          max={59}
          clampBehavior="strict"
          value={simple.minute}
          onChange={(value) => set({ ...simple, minute: Number(value) || 0 })}
        />
      )}
      {simple.kind === "monthly" && (
        <NumberInput
          w={100}
          label="Day"
          min={1}
          max={31}
          clampBehavior="strict"
          value={simple.day}
          onChange={(value) => set({ ...simple, day: Math.max(1, Number(value) || 1) })}
        />
      )}
      {simple.kind === "weekly" && (
        <fieldset style={{ border: 0, padding: 0, margin: 0 }}>
          <legend className="sr-only">Days of the week</legend>
          <div className="chips">
            {[1, 2, 3, 4, 5, 6, 0].map((day) => (
              <button
                type="button"
                key={day}
                className="chip"
                style={{ height: 30 }}
                aria-pressed={simple.days.includes(day)}
                onClick={() => {
                  const days = simple.days.includes(day)
                    ? simple.days.filter((one) => one !== day)
                    : [...simple.days, day];
                  // None would be every day: the last one stays.
                  if (days.length) set({ ...simple, days });
                }}
              >
                {WEEKDAYS[day]}
              </button>
            ))}
          </div>
        </fieldset>
      )}
      {(simple.kind === "daily" || simple.kind === "weekly" || simple.kind === "monthly") && (
        <TextInput
          w={132}
          type="time"
          label="At"
          value={`${String(simple.hour).padStart(2, "0")}:${String(simple.minute).padStart(2, "0")}`}
          onChange={(event) => {
            const [h, m] = event.currentTarget.value.split(":").map(Number);
            if (h !== undefined && m !== undefined && !Number.isNaN(h + m)) {
              set({ ...simple, hour: h, minute: m });
            }
          }}
        />
      )}
    </div>
  );
}
