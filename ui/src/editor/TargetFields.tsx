import { ActionIcon, Button, NativeSelect, Textarea, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import { Segments } from "../components/Segments";
import { type BodyKind, errorsAt, type Form, rowId } from "../lib/form";
import { jsonProblem } from "../lib/text";

type Errors = readonly { field: string; message: string }[];
type Target = Form["target"];

const PLACEHOLDERS = ["fire_time", "fire_time_ms", "execution_id", "job_id", "job_name", "attempt"];

export function TargetFields({
  value,
  onChange,
  errors,
}: {
  value: Target;
  onChange: (change: Partial<Target>) => void;
  errors: Errors;
}) {
  return (
    <>
      <div className="choice">
        <Segments
          value={value.kind}
          onChange={(kind) => onChange({ kind: kind as Target["kind"] })}
          data={[
            { value: "url", label: "Call a URL" },
            { value: "log", label: "Write into the log" },
          ]}
          label="Kind of target"
        />
      </div>
      {value.kind === "log" ? (
        <Textarea
          label="Line"
          description="For reminders and tests: nothing is called."
          autosize
          minRows={2}
          value={value.log}
          error={errorsAt(errors, "target.log", "target.url") ?? whole(errors)}
          onChange={(event) => onChange({ log: event.currentTarget.value })}
        />
      ) : (
        <Http value={value} onChange={onChange} errors={errors} />
      )}
      <p className="dim" style={{ margin: "10px 0 0" }}>
        Placeholders are filled in at each attempt:{" "}
        {PLACEHOLDERS.map((name) => (
          <span key={name}>
            <code className="nowrap">{`{{ ${name} }}`}</code>{" "}
          </span>
        ))}
      </p>
    </>
  );
}

function whole(errors: Errors): string | undefined {
  const own = errors.filter((one) => one.field === "target");
  return own.length ? errorsAt(own, "target") : undefined;
}

function Http({
  value,
  onChange,
  errors,
}: {
  value: Target;
  onChange: (change: Partial<Target>) => void;
  errors: Errors;
}) {
  const setHeader = (id: number, change: { name?: string; value?: string }) =>
    onChange({
      headers: value.headers.map((one) => (one.id === id ? { ...one, ...change } : one)),
    });
  return (
    <div className="fields">
      <NativeSelect
        style={{ gridColumn: "span 2" }}
        label="Method"
        data={["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"]}
        value={value.method}
        error={errorsAt(errors, "target.method")}
        onChange={(event) => onChange({ method: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 10" }}
        label="URL"
        required
        placeholder="https://example.com/hook"
        type="url"
        spellCheck={false}
        autoComplete="off"
        value={value.url}
        error={errorsAt(errors, "target.url") ?? whole(errors)}
        onChange={(event) => onChange({ url: event.currentTarget.value })}
      />
      <div style={{ gridColumn: "1 / -1" }}>
        <div style={{ fontWeight: 500, marginBottom: 4 }}>Headers</div>
        {value.headers.map((header) => {
          const error = errors.find((one) => one.field === `target.headers.${header.name}`);
          return (
            <div key={header.id} style={{ display: "flex", gap: 6, marginBottom: 6 }}>
              <TextInput
                w="34%"
                aria-label="Name of the header"
                placeholder="X-Team"
                spellCheck={false}
                value={header.name}
                error={error ? errorsAt([error], error.field) : undefined}
                onChange={(event) => setHeader(header.id, { name: event.currentTarget.value })}
              />
              <TextInput
                className="grow"
                aria-label="Value of the header"
                spellCheck={false}
                value={header.value}
                onChange={(event) => setHeader(header.id, { value: event.currentTarget.value })}
              />
              <ActionIcon
                variant="subtle"
                color="gray"
                size={34}
                aria-label={`Remove the header ${header.name}`}
                onClick={() =>
                  onChange({ headers: value.headers.filter((one) => one.id !== header.id) })
                }
              >
                <IconX size={15} aria-hidden="true" />
              </ActionIcon>
            </div>
          );
        })}
        <Button
          variant="subtle"
          color="gray"
          px={4}
          leftSection={<IconPlus size={14} aria-hidden="true" />}
          onClick={() =>
            onChange({ headers: [...value.headers, { id: rowId(), name: "", value: "" }] })
          }
        >
          Add a header
        </Button>
      </div>
      <div style={{ gridColumn: "1 / -1" }}>
        <div style={{ display: "flex", alignItems: "center", gap: 12, marginBottom: 6 }}>
          <span style={{ fontWeight: 500 }}>Body</span>
          <Segments
            value={value.bodyKind}
            onChange={(kind) => onChange({ bodyKind: kind as BodyKind })}
            data={[
              { value: "none", label: "None" },
              { value: "json", label: "JSON" },
              { value: "text", label: "Text" },
              { value: "base64", label: "Base64" },
            ]}
            label="Kind of body"
          />
          {value.bodyKind === "json" && (
            <Button
              variant="subtle"
              color="gray"
              ml="auto"
              disabled={!value.body.trim() || jsonProblem(value.body) !== null}
              onClick={() => onChange({ body: JSON.stringify(JSON.parse(value.body), null, 2) })}
            >
              Format
            </Button>
          )}
        </div>
        {value.bodyKind !== "none" && <Body value={value} onChange={onChange} errors={errors} />}
      </div>
      <TextInput
        style={{ gridColumn: "span 6" }}
        label="Timeout"
        description="For one attempt as a whole."
        placeholder="30s"
        value={value.timeout}
        error={errorsAt(errors, "target.timeout")}
        onChange={(event) => onChange({ timeout: event.currentTarget.value })}
      />
      <TextInput
        style={{ gridColumn: "span 6" }}
        label="Redirects"
        description="How many are followed, up to 10."
        placeholder="0"
        inputMode="numeric"
        value={value.redirects}
        error={errorsAt(errors, "target.redirects")}
        onChange={(event) => onChange({ redirects: event.currentTarget.value })}
      />
    </div>
  );
}

function Body({
  value,
  onChange,
  errors,
}: {
  value: Target;
  onChange: (change: Partial<Target>) => void;
  errors: Errors;
}) {
  const field =
    value.bodyKind === "json"
      ? "target.body"
      : value.bodyKind === "text"
        ? "target.body_text"
        : "target.body_base64";
  const typo = value.bodyKind === "json" && value.body.trim() ? jsonProblem(value.body) : null;
  return (
    <Textarea
      aria-label="Body"
      autosize
      minRows={5}
      maxRows={24}
      spellCheck={false}
      classNames={{ input: "mono" }}
      placeholder={value.bodyKind === "json" ? '{"report": "{{ job_name }}"}' : undefined}
      value={value.body}
      error={
        typo ??
        errorsAt(
          errors.filter((one) => one.field === field || one.field.startsWith(`${field}.`)),
          field,
        )
      }
      onKeyDown={(event) => {
        // Tab leaves the field, as everywhere; indenting goes by the line before.
        if (event.key !== "Enter" || value.bodyKind !== "json") return;
        const area = event.currentTarget;
        const before = area.value.slice(0, area.selectionStart);
        const line = before.slice(before.lastIndexOf("\n") + 1);
        const indent = (/^\s*/.exec(line)?.[0] ?? "") + (/[[{]\s*$/.test(line) ? "  " : "");
        if (!indent) return;
        event.preventDefault();
        area.setRangeText(`\n${indent}`, area.selectionStart, area.selectionEnd, "end");
        onChange({ body: area.value });
      }}
      onChange={(event) => onChange({ body: event.currentTarget.value })}
    />
  );
}
