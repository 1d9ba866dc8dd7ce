import { useId } from "react";

interface Choice<T extends string> {
  value: T;
  label: string;
}

/** One of a few: the browser's own radio buttons, side by side. */
export function Segments<T extends string>({
  data,
  value,
  onChange,
  label,
}: {
  data: readonly (T | Choice<T>)[];
  value: T | "";
  onChange: (value: T) => void;
  label: string;
}) {
  const group = useId();
  return (
    <fieldset className="segments" aria-label={label}>
      {data.map((one) => {
        const choice = typeof one === "string" ? { value: one, label: one } : one;
        return (
          <label key={choice.value} data-on={choice.value === value}>
            <input
              type="radio"
              name={group}
              value={choice.value}
              checked={choice.value === value}
              onChange={() => onChange(choice.value)}
            />
            {choice.label}
          </label>
        );
      })}
    </fieldset>
  );
}
