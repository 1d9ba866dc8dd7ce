import type { JobOut } from "../api/schema";

type Definition = Record<string, unknown>;

/** The definition of a job without what Tocsin sets itself, as `PUT` takes it. */
export function definitionOf(job: JobOut): Definition {
  const { description: _, ...schedule } = job.schedule;
  return {
    name: job.name,
    description: job.description,
    schedule: withoutNull(schedule),
    target: job.target,
    retry: job.retry,
    misfire: withoutNull(job.misfire),
    overlap: job.overlap,
    delivery: job.delivery,
    success: job.success,
    tags: job.tags,
    metadata: job.metadata,
  };
}

function withoutNull(value: object): Definition {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
}

/** Where a copied command or program is to go, and as whom. */
export interface Door {
  origin: string;
  /** Whether a key is asked for; it is taken from `TOCSIN_KEY`. */
  key: boolean;
  namespace: string;
}

const DEFAULT_NAMESPACE = "default";

/** Headers of `curl` for those who need a key, or are not in the usual namespace. */
export function curlHeaders({ key, namespace }: Door): string[] {
  return [
    ...(key ? [`  -H "Authorization: Bearer $TOCSIN_KEY" \\`] : []),
    ...(key && namespace !== DEFAULT_NAMESPACE ? [`  -H 'Tocsin-Namespace: ${namespace}' \\`] : []),
  ];
}

/** A command for the shell that creates the job, or replaces its definition. */
export function asCurl(job: JobOut, door: Door): string {
  const { name, ...definition } = definitionOf(job);
  const body = JSON.stringify(definition, null, 2).replaceAll("'", "'\\''");
  return [
    `curl -X PUT '${door.origin}/api/v1/jobs/${name}' \\`,
    ...curlHeaders(door),
    `  -H 'Content-Type: application/json' \\`,
    `  -d '${body}'`,
  ].join("\n");
}

/** The same for Python's standard library. */
export function asPython(job: JobOut, door: Door): string {
  const { name, ...definition } = definitionOf(job);
  const headers = [
    ...(door.key ? [`"Authorization": "Bearer " + os.environ["TOCSIN_KEY"],`] : []),
    ...(door.key && door.namespace !== DEFAULT_NAMESPACE
      ? [`"Tocsin-Namespace": ${python(door.namespace, 0)},`]
      : []),
    `"Content-Type": "application/json",`,
  ].map((line) => `        ${line}\n`);
  return `import json
${door.key ? "import os\n" : ""}import urllib.request

definition = ${python(definition, 0)}

request = urllib.request.Request(
    ${python(`${door.origin}/api/v1/jobs/${name}`, 0)},
    data=json.dumps(definition).encode(),
    headers={
${headers.join("")}    },
    method="PUT",
)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["next_fire_at"])
`;
}

/** A JSON value as a Python literal. */
export function python(value: unknown, depth: number): string {
  const inner = "    ".repeat(depth + 1);
  const outer = "    ".repeat(depth);
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((one) => `${inner}${python(one, depth + 1)},\n`).join("")}${outer}]`;
  }
  if (typeof value === "object") {
    const entries = Object.entries(value);
    if (entries.length === 0) return "{}";
    const lines = entries.map(
      ([key, one]) => `${inner}${JSON.stringify(key)}: ${python(one, depth + 1)},\n`,
    );
    return `{\n${lines.join("")}${outer}}`;
  }
  // JSON's escapes for text mean the same in Python, surrogate pairs aside, which stay as they are.
  return JSON.stringify(value);
}

/** The file that `tocsin apply` reads; the YAML library is fetched when it is asked for. */
export async function asYaml(job: JobOut): Promise<string> {
  const { stringify } = await import("yaml");
  return stringify({ jobs: [definitionOf(job)] }, { lineWidth: 100 });
}
