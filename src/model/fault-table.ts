/**
 * How each refused request leaves the process: the one table from fault code to HTTP status, CNI error code and exit
 * status. CNI codes below 100 are the specification's (CNI 1.1.0, "Error"), those from 100 up are ours.
 */
import { Fault, type FaultCode, type FaultFacts } from "./fault.ts";

export interface FaultRow {
  readonly http: number;
  readonly cni: number;
  /** sysexits.h where a value fits. */
  readonly exit: number;
}

export const FAULT_TABLE: Readonly<Record<FaultCode, FaultRow>> = {
  "address-taken": { http: 409, cni: 102, exit: 1 },
  "bad-environment": { http: 400, cni: 4, exit: 64 },
  "bad-config": { http: 400, cni: 7, exit: 78 },
  "bad-request": { http: 400, cni: 7, exit: 64 },
  "bad-netns": { http: 400, cni: 4, exit: 64 },
  "check-failed": { http: 409, cni: 103, exit: 1 },
  "corrupt-store": { http: 500, cni: 5, exit: 65 },
  "delegate-failed": { http: 502, cni: 108, exit: 69 },
  "engine-failed": { http: 502, cni: 109, exit: 69 },
  exhausted: { http: 507, cni: 101, exit: 1 },
  forbidden: { http: 403, cni: 102, exit: 77 },
  "identity-taken": { http: 409, cni: 102, exit: 1 },
  "in-use": { http: 409, cni: 102, exit: 1 },
  "interface-exists": { http: 409, cni: 104, exit: 1 },
  "kernel-lacks": { http: 501, cni: 105, exit: 69 },
  "kernel-refused": { http: 500, cni: 106, exit: 71 },
  "network-failed": { http: 503, cni: 11, exit: 75 },
  "no-rights": { http: 403, cni: 102, exit: 77 },
  "not-admitted": { http: 403, cni: 102, exit: 77 },
  "not-leader": { http: 503, cni: 11, exit: 75 },
  "not-ready": { http: 503, cni: 11, exit: 75 },
  "port-taken": { http: 409, cni: 102, exit: 69 },
  storage: { http: 507, cni: 5, exit: 74 },
  unauthorized: { http: 401, cni: 102, exit: 77 },
  undecodable: { http: 400, cni: 6, exit: 65 },
  "unknown-agent": { http: 404, cni: 107, exit: 1 },
  "unknown-container": { http: 404, cni: 3, exit: 1 },
  "unknown-network": { http: 404, cni: 107, exit: 1 },
  "unsupported-version": { http: 400, cni: 1, exit: 64 },
};

/** A fault as both HTTP interfaces write it. */
export interface FaultBody {
  readonly error: { readonly code: FaultCode; readonly message: string; readonly facts: FaultFacts };
}

export function faultBody(fault: Fault): FaultBody {
  return { error: { code: fault.code, message: fault.message, facts: fault.facts } };
}

/** The fault in an answer of the other side, or `undefined` when the body is none of ours. */
export function parseFaultBody(body: unknown): Fault | undefined {
  const error = (body as Partial<FaultBody> | null)?.error;
  if (typeof error?.message !== "string" || typeof error.code !== "string" || !Object.hasOwn(FAULT_TABLE, error.code))
    return undefined;
  return new Fault(error.code, error.message, error.facts ?? {});
}
