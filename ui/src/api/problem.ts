import type { Problem } from "./schema";

/** Why a request was not answered with what was asked for; `status` 0: there was no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: readonly { field: string; message: string; code: string }[];

  constructor(status: number, problem: Partial<Problem> | undefined) {
    super(problem?.detail || problem?.title || sentenceOf(status));
    this.name = "ApiError";
    this.status = status;
    this.code = problem?.code ?? (status === 0 ? "unreachable" : "unknown");
    this.fields = problem?.errors ?? [];
  }

  /** Whether nobody answered: the server is gone, or the network is. */
  get unreachable(): boolean {
    return this.status === 0;
  }
}

function sentenceOf(status: number): string {
  if (status === 0) return "The server does not answer. Is it running, and are you online?";
  return `The server answered ${status}.`;
}

/** A sentence for whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
