import { ActionIcon, CopyButton } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";

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
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <ActionIcon
            data-tip={copied ? "Copied" : "Copy"}
            className="copy"
            variant="default"
            size={26}
            onClick={copy}
            aria-label={`Copy: ${label}`}
          >
            {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
          </ActionIcon>
        )}
      </CopyButton>
    </div>
  );
}
