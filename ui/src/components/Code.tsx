import { ActionIcon } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useState } from "react";
import { copyText } from "../lib/copy";

const COPIED = "Copied";
const SAID_FOR = 1_500;

/** Text of programs, to be copied. */
export function Code({
  text,
  wrap = false,
  label,
  maxHeight = 420,
}: {
  text: string;
  wrap?: boolean;
  label: string;
  maxHeight?: number;
}) {
  const [said, setSaid] = useState("");
  const copy = async () => {
    setSaid((await copyText(text)) ? COPIED : "The browser does not allow copying here");
    setTimeout(() => setSaid(""), SAID_FOR);
  };
  return (
    <div className="code-box">
      <section
        className={`code${wrap ? " wrap" : ""}`}
        style={{ maxHeight }}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
        tabIndex={0}
        aria-label={label}
      >
        {text}
      </section>
      <ActionIcon
        className="copy"
        variant="default"
        size={26}
        onClick={() => void copy()}
        aria-label={`Copy: ${label}`}
        data-tip={said || "Copy"}
      >
        {said === COPIED ? (
          <IconCheck size={14} aria-hidden="true" />
        ) : (
          <IconCopy size={14} aria-hidden="true" />
        )}
      </ActionIcon>
      <span role="status" className="sr-only">
        {said}
      </span>
    </div>
  );
}
