/** A box to tick: the browser's own, with a target that a finger can hit. */
export function Check({
  checked,
  some = false,
  onChange,
  label,
}: {
  checked: boolean;
  /** Some of what it stands for are, some are not. */
  some?: boolean;
  onChange: () => void;
  label: string;
}) {
  return (
    <label className="check">
      <input
        type="checkbox"
        aria-label={label}
        checked={checked}
        ref={(box) => {
          if (box) box.indeterminate = some;
        }}
        onChange={onChange}
      />
    </label>
  );
}
