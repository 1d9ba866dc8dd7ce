import { Button, Modal, PasswordInput, Text, TextInput } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { IconLock, IconTrash } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { ask } from "../api/client";
import { messageOf } from "../api/problem";
import { type SecretOut, secretsQuery } from "../api/queries";
import { useSession } from "../api/session";
import { Guarded } from "../components/Guarded";
import { Lines } from "../components/Panel";
import { Problem } from "../components/Problem";
import { ScrollX } from "../components/ScrollX";
import { RelTime } from "../components/Time";
import { count } from "../lib/text";
import { useTitle } from "../lib/useTitle";

export default function Secrets() {
  useTitle("Secrets");
  const client = useQueryClient();
  const secrets = useQuery(secretsQuery());
  const refused = useSession().refusal("editor");
  const [editing, setEditing] = useState<string | null>(null);
  const refresh = () => client.invalidateQueries({ queryKey: ["secrets"] });
  const remove = useMutation({
    mutationFn: (secret: SecretOut) =>
      ask("DELETE", `/api/v1/secrets/${encodeURIComponent(secret.name)}`),
    onError: (error) =>
      notifications.show({ color: "red", title: "Not deleted", message: messageOf(error) }),
    onSettled: refresh,
  });
  return (
    <>
      <div className="page-head">
        <div>
          <h1>Secrets</h1>
          <div className="dim">
            Used in targets as <code>{"{{ secret.NAME }}"}</code>; a value is never shown again.
          </div>
        </div>
        <div className="actions">
          <Guarded reason={refused}>
            {(disabled) => (
              <Button
                leftSection={<IconLock size={15} aria-hidden="true" />}
                disabled={disabled}
                onClick={() => setEditing("")}
              >
                New secret
              </Button>
            )}
          </Guarded>
        </div>
      </div>
      {secrets.error ? (
        <Problem error={secrets.error} retry={() => void secrets.refetch()} />
      ) : (
        <ScrollX panel label="Secrets">
          {!secrets.data ? (
            <Lines />
          ) : secrets.data.items.length === 0 ? (
            <div className="blank">
              There are none. Put a token here, and write its name into the headers of a job.
            </div>
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Created</th>
                  <th>Changed</th>
                  <th className="right">Used by</th>
                  <th>
                    <span className="sr-only">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {secrets.data.items.map((secret) => (
                  <tr key={secret.name}>
                    <td className="mono">{secret.name}</td>
                    <td>
                      <RelTime at={secret.created_at} />
                    </td>
                    <td>
                      <RelTime at={secret.updated_at} />
                    </td>
                    <td className="right">
                      {secret.used_by === undefined ? "" : count(secret.used_by, "job")}
                    </td>
                    <td className="right nowrap">
                      {refused === null && (
                        <>
                          <Button
                            variant="subtle"
                            color="gray"
                            size="compact-xs"
                            onClick={() => setEditing(secret.name)}
                          >
                            New value
                          </Button>
                          <Button
                            variant="subtle"
                            color="gray"
                            c="var(--bad)"
                            size="compact-xs"
                            leftSection={<IconTrash size={13} aria-hidden="true" />}
                            onClick={() =>
                              modals.openConfirmModal({
                                title: `Delete ${secret.name}?`,
                                children: (
                                  <Text size="sm">
                                    Calls of jobs that use it fail from now on. This cannot be
                                    undone.
                                  </Text>
                                ),
                                labels: { confirm: "Delete", cancel: "Keep" },
                                confirmProps: { color: "red.8" },
                                onConfirm: () => remove.mutate(secret),
                              })
                            }
                          >
                            Delete
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
      <Modal
        opened={editing !== null}
        onClose={() => setEditing(null)}
        title={editing ? `A new value for ${editing}` : "New secret"}
      >
        <SecretForm
          name={editing ?? ""}
          onDone={() => {
            setEditing(null);
            void refresh();
          }}
        />
      </Modal>
    </>
  );
}

function SecretForm({ name, onDone }: { name: string; onDone: () => void }) {
  const [typed, setTyped] = useState(name);
  const [value, setValue] = useState("");
  const save = useMutation({
    mutationFn: () => ask("PUT", `/api/v1/secrets/${encodeURIComponent(typed)}`, { value }),
    onSuccess: onDone,
  });
  return (
    <form
      className="grid"
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <TextInput
        label="Name"
        placeholder="API_TOKEN"
        required
        disabled={name !== ""}
        value={typed}
        onChange={(event) => setTyped(event.currentTarget.value)}
      />
      <PasswordInput
        label="Value"
        required
        autoComplete="off"
        data-autofocus
        value={value}
        onChange={(event) => setValue(event.currentTarget.value)}
      />
      {save.error && <Problem error={save.error} />}
      <Button type="submit" loading={save.isPending} disabled={!typed || !value}>
        Keep it
      </Button>
    </form>
  );
}
