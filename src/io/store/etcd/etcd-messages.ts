/**
 * etcd's calls and answers as JSON, as its gRPC gateway takes and gives them: bytes are base64, 64-bit numbers are text.
 * Only what Weft asks for. Source of truth: etcd 3.4, etcdserver/etcdserverpb/rpc.proto.
 */
import { z } from "zod";

export const text64 = (text: string): string => Buffer.from(text).toString("base64");
const textOf = (base64: string): string => Buffer.from(base64, "base64").toString();

export type Compare = Readonly<Record<string, string>>;
export type Operation = Readonly<Record<string, unknown>>;

export interface Txn {
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure: readonly Operation[];
}

export interface RangeRequest {
  /** The first key after the last one; absent: one key. */
  readonly end?: string;
  readonly limit?: number;
  /** As of which revision of etcd; absent: now. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
}

/** The key was last written at this revision of etcd; 0: there is no such key. */
export function compareWritten(key: string, revision: number): Compare {
  return { key: text64(key), target: "MOD", result: "EQUAL", mod_revision: String(revision) };
}

export function compareValue(key: string, value: string): Compare {
  return { key: text64(key), target: "VALUE", result: "EQUAL", value: text64(value) };
}

export function put(key: string, value: string, lease?: string): Operation {
  return { request_put: { key: text64(key), value: text64(value), ...(lease !== undefined && { lease }) } };
}

export function remove(key: string, end?: string): Operation {
  return { request_delete_range: { key: text64(key), ...(end !== undefined && { range_end: text64(end) }) } };
}

export function range(key: string, options: RangeRequest = {}): Operation {
  return { request_range: rangeBody(key, options) };
}

export function rangeBody(key: string, { end, limit, revision, keysOnly }: RangeRequest = {}): Operation {
  return {
    key: text64(key),
    ...(end !== undefined && { range_end: text64(end) }),
    ...(limit !== undefined && { limit: String(limit) }),
    ...(revision !== undefined && { revision: String(revision) }),
    ...(keysOnly === true && { keys_only: true }),
  };
}

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** The revision of etcd that wrote it last. */
  readonly written: number;
  /** Absent: it stays until it is deleted. */
  readonly lease?: string;
}

// proto3's JSON leaves out what has its default: an empty value, a lease of 0, `false`.
const number64 = z.string().regex(/^\d+$/).transform(Number);
const header = z.object({ revision: number64.default(0) });
const keyValue = z
  .object({ key: z.string(), value: z.string().default(""), mod_revision: number64, lease: z.string().optional() })
  .transform(
    ({ key, value, mod_revision, lease }): KeyValue => ({
      key: textOf(key),
      value: textOf(value),
      written: mod_revision,
      ...(lease !== undefined && lease !== "0" && { lease }),
    }),
  );
const rangeAnswer = z.object({ kvs: z.array(keyValue).default([]), more: z.boolean().default(false) });

export const rangeResponse = rangeAnswer.extend({ header });
export const txnResponse = z.object({
  header,
  succeeded: z.boolean().default(false),
  responses: z.array(z.object({ response_range: rangeAnswer.optional() })).default([]),
});
export type TxnResponse = z.infer<typeof txnResponse>;
export const leaseResponse = z.object({ ID: z.string() });
export const keepAliveResponse = z.object({ result: z.object({ TTL: number64.default(0) }) });
export const tokenResponse = z.object({ token: z.string() });
export const versionResponse = z.object({ etcdserver: z.string(), etcdcluster: z.string() });
export const anyResponse = z.object({});

/** One line of a watch's answer. */
export const watchResponse = z.object({
  result: z.object({
    header,
    created: z.boolean().default(false),
    canceled: z.boolean().default(false),
    compact_revision: number64.default(0),
    cancel_reason: z.string().default(""),
    events: z.array(z.object({ type: z.string().default("PUT"), kv: keyValue })).default([]),
  }),
});
export type WatchResponse = z.infer<typeof watchResponse>["result"];

/** The answers of the ranges of a txn, in the order they were asked for; other operations have none. */
export function rangesOf({ responses }: TxnResponse): readonly (readonly KeyValue[])[] {
  return responses.flatMap(({ response_range }) => (response_range === undefined ? [] : [response_range.kvs]));
}
