import { NativeSelect, TagsInput, Textarea, TextInput } from "@mantine/core";
import { errorsAt, type Form } from "../lib/form";
import { jsonProblem } from "../lib/text";
import { POLICY_HELP } from "../lib/words";

type Errors = readonly { field: string; message: string }[];

const RETRY_ON = [
  "connection",
  "dns",
  "tls",
  "timeout",
  "protocol",
  "too_large",
  "408",
  "425",
  "429",
  "4xx",
  "5xx",
];

interface Props {
  form: Form;
  set: (change: Partial<Form>) => void;
  errors: Errors;
}

export function RetryFields({ form, set, errors }: Props) {
  const change = (part: Partial<Form["retry"]>) => set({ retry: { ...form.retry, ...part } });
  return (
    <div className="fields">
      <TextInput
        style={{ gridColumn: "span 4" }}
        label="Attempts"
        description="The first included; 1: never again."
        placeholder="3"
        inputMode="numeric"
        value={form.retry.max_attempts}
        error={errorsAt(errors, "retry.max_attempts")}
        onChange={(event) => change({ max_attempts: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 4" }}
        label="First wait"
        description="Before the second attempt."
        placeholder="1s"
        value={form.retry.initial}
        error={errorsAt(errors, "retry.initial")}
        onChange={(event) => change({ initial: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 4" }}
        label="Factor"
        description="Each wait is so many times the last."
        placeholder="2"
        inputMode="decimal"
        value={form.retry.factor}
        error={errorsAt(errors, "retry.factor")}
        onChange={(event) => change({ factor: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 4" }}
        label="Longest wait"
        description="No wait is longer."
        placeholder="5m"
        value={form.retry.max}
        error={errorsAt(errors, "retry.max")}
        onChange={(event) => change({ max: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 4" }}
        label="Spread"
        description="0.1: up to 10 % either way."
        placeholder="0.1"
        inputMode="decimal"
        value={form.retry.jitter}
        error={errorsAt(errors, "retry.jitter")}
        onChange={(event) => change({ jitter: event.currentTarget.value })}
      />
      <TagsInput
        style={{ gridColumn: "span 12" }}
        label="Try again after"
        description="Kinds of error and status codes. Empty: what is worth another try."
        placeholder={form.retry.on.length ? "" : "connection, dns, timeout, 408, 425, 429, 5xx"}
        data={RETRY_ON}
        value={form.retry.on}
        error={errorsAt(errors, "retry.on")}
        onChange={(on) => change({ on })}
      />
      <TagsInput
        style={{ gridColumn: "span 12" }}
        label="Counts as success"
        description="Status codes, such as 2xx, 404 or 200-204. Empty: 2xx."
        placeholder={form.success.length ? "" : "2xx"}
        data={["2xx", "3xx", "404", "409"]}
        value={form.success}
        error={errorsAt(errors, "success")}
        onChange={(success) => set({ success })}
      />
    </div>
  );
}

export function PolicyFields({ form, set, errors }: Props) {
  return (
    <div className="fields">
      <NativeSelect
        style={{ gridColumn: "span 6" }}
        label="When the one before still runs"
        description={POLICY_HELP.overlap[(form.overlap || "allow") as "allow"]}
        data={[
          { value: "allow", label: "allow (default)" },
          { value: "skip", label: "skip" },
          { value: "queue", label: "queue" },
          { value: "replace", label: "replace" },
        ]}
        value={form.overlap || "allow"}
        error={errorsAt(errors, "overlap")}
        onChange={(event) => set({ overlap: event.currentTarget.value })}
      />
      <NativeSelect
        style={{ gridColumn: "span 6" }}
        label="When a fire is noticed too late"
        description={POLICY_HELP.misfire[(form.misfire.policy || "latest") as "latest"]}
        data={[
          { value: "latest", label: "latest (default)" },
          { value: "all", label: "all" },
          { value: "skip", label: "skip" },
        ]}
        value={form.misfire.policy || "latest"}
        error={errorsAt(errors, "misfire.policy")}
        onChange={(event) =>
          set({ misfire: { ...form.misfire, policy: event.currentTarget.value } })
        }
      />
      <NativeSelect
        style={{ gridColumn: "span 6" }}
        label="When it is unknown whether a call arrived"
        description={POLICY_HELP.delivery[(form.delivery || "at_least_once") as "at_least_once"]}
        data={[
          { value: "at_least_once", label: "at least once (default)" },
          { value: "at_most_once", label: "at most once" },
        ]}
        value={form.delivery || "at_least_once"}
        error={errorsAt(errors, "delivery")}
        onChange={(event) => set({ delivery: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 3" }}
        label="Too late after"
        description="Within it, all run."
        placeholder="one interval"
        value={form.misfire.grace}
        error={errorsAt(errors, "misfire.grace")}
        onChange={(event) =>
          set({ misfire: { ...form.misfire, grace: event.currentTarget.value } })
        }
      />
      <TextInput
        style={{ gridColumn: "span 3" }}
        label="At most"
        description="With all: the newest."
        placeholder="100"
        inputMode="numeric"
        disabled={form.misfire.policy !== "all"}
        value={form.misfire.max}
        error={errorsAt(errors, "misfire.max")}
        onChange={(event) => set({ misfire: { ...form.misfire, max: event.currentTarget.value } })}
      />
      <Textarea
        style={{ gridColumn: "span 12" }}
        label="Metadata"
        description="Anything else as a JSON object, for your own use."
        autosize
        minRows={1}
        spellCheck={false}
        classNames={{ input: "mono" }}
        placeholder='{"owner": "ops"}'
        value={form.metadata}
        error={(form.metadata.trim() && jsonProblem(form.metadata)) || errorsAt(errors, "metadata")}
        onChange={(event) => set({ metadata: event.currentTarget.value })}
      />
    </div>
  );
}
