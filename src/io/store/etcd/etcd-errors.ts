/**
 * What goes wrong between Weft and etcd: which failures may be tried again at another member, and which fault each of the
 * others is. Source of truth: etcd 3.4, etcdserver/api/v3rpc/rpctypes/error.go; codes are gRPC's.
 */
import { Fault, messageOf } from "../../../model/fault.ts";

const GRPC = { cancelled: 1, deadline: 4, exhausted: 8, aborted: 10, unavailable: 14, unauthenticated: 16 } as const;

/** etcd answered, and refused. */
export class EtcdError extends Error {
  readonly grpcCode: number;

  constructor(grpcCode: number, message: string) {
    super(message);
    this.name = "EtcdError";
    this.grpcCode = grpcCode;
  }

  /** Another try, or another member, may do better. What was asked may have been done all the same. */
  get isTransient(): boolean {
    if (this.grpcCode === GRPC.exhausted) return /too many requests/.test(this.message);
    const codes: readonly number[] = [GRPC.cancelled, GRPC.deadline, GRPC.aborted, GRPC.unavailable];
    return codes.includes(this.grpcCode);
  }

  /** The token that a call showed has ended, or none was shown. */
  get asksForToken(): boolean {
    return (
      this.grpcCode === GRPC.unauthenticated ||
      /invalid auth token|user name is empty|revision of auth store is old/.test(this.message)
    );
  }

  get isCompacted(): boolean {
    return /required revision has been compacted/.test(this.message);
  }
}

/** No member answered within the time that there was; nobody knows whether what was asked was done. */
export class EtcdUnreachable extends Error {
  constructor(reasons: readonly string[]) {
    super(reasons.join("; "));
    this.name = "EtcdUnreachable";
  }
}

/** An answer is longer than anyone may read. */
export class EtcdAnswerTooLong extends Error {}

const AUTH = /permission denied|invalid auth token|user name is empty|invalid user ID or password|user name not found/;

/** The fault that stands for what a call to etcd threw; what is a fault already stays it. */
export function etcdFault(thrown: unknown, doing: string): Fault {
  if (thrown instanceof Fault) return thrown;
  const message = messageOf(thrown);
  const options = { cause: thrown };
  if (thrown instanceof EtcdUnreachable)
    return new Fault(
      "storage",
      `etcd does not answer, to ${doing} (${message}); check that most of its members run and that this host reaches them`,
      {},
      options,
    );
  if (/database space exceeded/.test(message))
    return new Fault(
      "storage",
      `etcd is full, and cannot ${doing}; nothing was changed. Raise its --quota-backend-bytes, or compact and defragment ` +
        "it; then disarm the alarm with 'etcdctl alarm disarm'",
      {},
      options,
    );
  if (AUTH.test(message))
    return new Fault(
      "unauthorized",
      `etcd refuses to ${doing} (${message}); give --store-user and --store-password-file of a user who may read and write ` +
        "Weft's keys",
      {},
      options,
    );
  if (/request is too large/.test(message))
    return new Fault(
      "storage",
      `etcd refuses to ${doing}: ${message}; give it --max-request-bytes 1572864 (its default) or more`,
      {},
      options,
    );
  return new Fault("storage", `etcd cannot ${doing} (${message}); see the log of its members`, {}, options);
}
