import { Select } from "@mantine/core";
import type { Sort } from "./query";

const ORDERS: readonly { value: Sort; label: string }[] = [
  { value: "name", label: "By name" },
  { value: "-name", label: "By name, Z first" },
  { value: "next_fire_at", label: "Next fire first" },
  { value: "-next_fire_at", label: "Next fire last" },
  { value: "last_result", label: "Failing first" },
  { value: "-last_result", label: "Failing last" },
  { value: "-created_at", label: "Newest first" },
  { value: "created_at", label: "Oldest first" },
  { value: "-updated_at", label: "Changed last" },
  { value: "updated_at", label: "Changed first" },
];

/** In which order the list of jobs is; more of them than its columns can be clicked for. */
export function OrderSelect({ sort, onSort }: { sort: Sort; onSort: (sort: Sort) => void }) {
  return (
    <Select
      w={148}
      size="xs"
      aria-label="Order"
      data={[...ORDERS]}
      maxDropdownHeight={340}
      value={sort}
      allowDeselect={false}
      onChange={(value) => value && onSort(value as Sort)}
    />
  );
}
