import { Button, Modal, NativeSelect, Select, Text, TextInput } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { IconKey, IconRefresh, IconTrash } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { ask } from "../api/client";
import { ApiError, messageOf } from "../api/problem";
import { type KeyOut, keysQuery } from "../api/queries";
import { useSession } from "../api/session";
import { Code } from "../components/Code";
import { Guarded } from "../components/Guarded";
import { Lines } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { RelTime } from "../components/Time";
import { useTitle } from "../lib/useTitle";

interface Created extends KeyOut {
  key: string;
}

const ROLES = [
  { value: "viewer", label: "viewer: sees everything, changes nothing" },
  { value: "operator", label: "operator: triggers, pauses, retries, cancels" },
  { value: "editor", label: "editor: creates and changes jobs too" },
  { value: "admin", label: "admin: keys and the audit log too" },
];

export default function Keys() {
  useTitle("API keys");
  const client = useQueryClient();
  const keys = useQuery(keysQuery());
  const [creating, setCreating] = useState(false);
  const [shown, setShown] = useState<Created | null>(null);
  const { namespace, refusal } = useSession();
  const refresh = () => client.invalidateQueries({ queryKey: ["keys"] });
  const complain = (error: unknown) =>
    notifications.show({ color: "red", title: "Not done", message: messageOf(error) });

  const rotate = useMutation({
    mutationFn: (key: KeyOut) => ask<Created>("POST", `/api/v1/keys/${key.id}/rotate`, {}),
    onSuccess: setShown,
    onError: complain,
    onSettled: refresh,
  });
  const revoke = useMutation({
    mutationFn: (key: KeyOut) => ask("DELETE", `/api/v1/keys/${key.id}`),
    onError: complain,
    onSettled: refresh,
  });
  const confirm = (title: string, text: string, label: string, act: () => void) =>
    modals.openConfirmModal({
      title,
      children: <Text size="sm">{text}</Text>,
      labels: { confirm: label, cancel: "Keep" },
      confirmProps: { color: "red.8" },
      onConfirm: act,
    });

  return (
    <>
      <div className="page-head">
        <h1>API keys</h1>
        <div className="actions">
          <Guarded reason={refusal("admin")}>
            {(disabled) => (
              <Button
                leftSection={<IconKey size={15} aria-hidden="true" />}
                disabled={disabled}
                onClick={() => setCreating(true)}
              >
                New key
              </Button>
            )}
          </Guarded>
        </div>
      </div>
      {keys.error ? (
        <Problem error={keys.error} retry={() => void keys.refetch()} />
      ) : (
        <ScrollX panel label="API keys">
          {!keys.data ? (
            <Lines />
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Begins with</th>
                  <th>Role</th>
                  <th>Namespace</th>
                  <th>Created</th>
                  <th>Last used</th>
                  <th>Ends</th>
                  <th>
                    <span className="sr-only">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {keys.data.items.map((key) => (
                  <tr key={key.id}>
                    <td style={{ fontWeight: 550 }}>{key.name}</td>
                    <td className="mono">{key.prefix}…</td>
                    <td>{key.role}</td>
                    <td>
                      {key.namespace === "*" ? "all" : key.namespace}
                      {key.tags && <span className="dim"> only {key.tags.join(", ")}</span>}
                    </td>
                    <td>
                      <RelTime at={key.created_at} />
                    </td>
                    <td>
                      <RelTime at={key.last_used_at} none="never" />
                    </td>
                    <td>
                      {key.status && key.status !== "active" ? (
                        <span className="tone-bad">{key.status}</span>
                      ) : (
                        <RelTime at={key.expires_at} none="never" />
                      )}
                    </td>
                    <td className="right nowrap">
                      {(key.status ?? "active") === "active" && (
                        <>
                          <Button
                            variant="subtle"
                            color="gray"
                            size="compact-xs"
                            leftSection={<IconRefresh size={13} aria-hidden="true" />}
                            onClick={() =>
                              confirm(
                                `Rotate ${key.name}?`,
                                "It gets a new secret. The old one goes on working for 24 hours, for programs to be given the new one.",
                                "Rotate",
                                () => rotate.mutate(key),
                              )
                            }
                          >
                            Rotate
                          </Button>
                          <Button
                            variant="subtle"
                            color="gray"
                            c="var(--bad)"
                            size="compact-xs"
                            leftSection={<IconTrash size={13} aria-hidden="true" />}
                            onClick={() =>
                              confirm(
                                `Revoke ${key.name}?`,
                                "Whoever uses it is refused from now on. This cannot be undone.",
                                "Revoke",
                                () => revoke.mutate(key),
                              )
                            }
                          >
                            Revoke
                          </Button>
                        </>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </ScrollX>
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="New API key">
        <NewKey
          namespace={namespace}
          onCreated={(key) => {
            setCreating(false);
            setShown(key);
            void refresh();
          }}
        />
      </Modal>
      <Modal
        opened={shown !== null}
        onClose={() => setShown(null)}
        closeOnClickOutside={false}
        title={`The key of ${shown?.name ?? ""}`}
      >
        <Text size="sm" mb={10}>
          It is shown this once; only a hash of it is kept.
        </Text>
        <Code text={shown?.key ?? ""} wrap label="The new key" />
        <Button mt={14} fullWidth onClick={() => setShown(null)}>
          I have kept it
        </Button>
      </Modal>
    </>
  );
}

function NewKey({
  namespace,
  onCreated,
}: {
  namespace: string;
  onCreated: (key: Created) => void;
}) {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  const [where, setWhere] = useState(namespace);
  const [life, setLife] = useState("");
  const create = useMutation({
    mutationFn: () =>
      ask<Created>("POST", "/api/v1/keys", {
        name,
        role,
        namespace: where.trim(),
        ...(life
          ? { expires_at: new Date(Date.now() + Number(life) * 86_400_000).toISOString() }
          : {}),
      }),
    onSuccess: onCreated,
  });
  const error = create.error;
  const fieldError = (field: string) =>
    error instanceof ApiError
      ? error.fields.find((one) => one.field.split(".")[0] === field)?.message
      : undefined;
  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        create.mutate();
      }}
      className="grid"
    >
      <TextInput
        label="Name"
        description="Who uses it; it is written into the audit log."
        required
        data-autofocus
        value={name}
        error={fieldError("name")}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Select
        label="Role"
        data={ROLES}
        value={role}
        allowDeselect={false}
        error={fieldError("role")}
        onChange={(value) => value && setRole(value)}
      />
      <TextInput
        label="Namespace"
        description="Where it holds; * for all."
        value={where}
        error={fieldError("namespace")}
        onChange={(event) => setWhere(event.currentTarget.value)}
      />
      <NativeSelect
        label="Ends"
        data={[
          { value: "", label: "never" },
          { value: "30", label: "in 30 days" },
          { value: "90", label: "in 90 days" },
          { value: "365", label: "in a year" },
        ]}
        value={life}
        error={fieldError("expires_at")}
        onChange={(event) => setLife(event.currentTarget.value)}
      />
      {error && <Problem error={error} />}
      <Button type="submit" loading={create.isPending} disabled={!name.trim()}>
        Create key
      </Button>
    </form>
  );
}
