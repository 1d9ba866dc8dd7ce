import { Modal, Switch } from "@mantine/core";
import { useState } from "react";
import type { NavItem } from "../lib/nav";
import { singleKeys } from "../lib/prefs";
import { GENERAL_KEYS, JOB_KEYS, LIST_KEYS } from "./shortcuts";

interface Row {
  keys: readonly string[];
  does: string;
}

/** The help sheet of the keyboard. */
export default function ShortcutHelp({
  items,
  onClose,
}: {
  items: readonly NavItem[];
  onClose: () => void;
}) {
  const [single, setSingle] = useState(singleKeys.get);
  const places = items.map((item) => ({ keys: ["g", item.key], does: item.label }));
  return (
    <Modal opened onClose={onClose} title="Keyboard shortcuts" size="lg">
      <Switch
        mb={12}
        label="Single letters are shortcuts"
        description="Off: only Ctrl K works, and nothing happens by accident."
        checked={single}
        onChange={(event) => {
          singleKeys.set(event.currentTarget.checked);
          setSingle(event.currentTarget.checked);
        }}
      />
      <div className="grid cols-2">
        <Group title="Anywhere" rows={GENERAL_KEYS} />
        <Group title="Go to" rows={places} />
        <Group title="In lists" rows={LIST_KEYS} />
        <Group title="On the page of a job" rows={JOB_KEYS} />
      </div>
    </Modal>
  );
}

function Group({ title, rows }: { title: string; rows: readonly Row[] }) {
  return (
    <section>
      <h2 style={{ margin: "0 0 4px", fontSize: "0.8125rem" }}>{title}</h2>
      <ul className="rows">
        {rows.map((row) => (
          <li key={row.does} style={{ padding: "3px 0" }}>
            <span>{row.does}</span>
            <span className="end">
              {row.keys.map((key, index) => (
                <span key={key}>
                  {index > 0 && " "}
                  <kbd>{key}</kbd>
                </span>
              ))}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
