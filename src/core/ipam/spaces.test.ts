import assert from "node:assert/strict";
import { test } from "node:test";
import type { OverlaySource } from "../../model/network-source.ts";
import { type SpaceEdit, withSpaces } from "./spaces.ts";

const DCOS: OverlaySource = { name: "dcos", enabled: true, subnet: "9.0.0.0/8", prefix: 24 };
const TEN = { subnet: "10.0.0.0/8", prefix: 24 };
const ADD_TEN: SpaceEdit = { op: "add", space: TEN };

test("a subnet is replaced step by step: added, the old one drained, and removed", () => {
  const two = withSpaces(DCOS, [ADD_TEN]);
  assert.deepEqual(two, { ...DCOS, more: [TEN] });
  const drained = withSpaces(two, [{ op: "drain", subnet: "9.0.0.0/8" }]);
  assert.deepEqual(drained, { ...DCOS, draining: true, more: [TEN] });
  assert.deepEqual(withSpaces(drained, [{ op: "resume", subnet: "9.0.0.0/8" }]), two);
  assert.deepEqual(withSpaces(drained, [{ op: "remove", subnet: "9.0.0.0/8" }]), {
    name: "dcos",
    enabled: true,
    ...TEN,
  });
  assert.deepEqual(withSpaces(DCOS, [ADD_TEN, { op: "drain", subnet: "9.0.0.0/8" }]), drained, "in one call as well");
});

test("a space goes by either of its prefixes, however it is written", () => {
  const both = withSpaces(DCOS, [{ op: "add", space: { ...TEN, subnet6: "FD02:B::/64", prefix6: 80 } }]);
  for (const subnet of ["10.0.0.0/8", "fd02:b::/64"])
    assert.deepEqual(withSpaces(both, [{ op: "remove", subnet }]), DCOS, subnet);
});

test("a step that names no space, or takes the last one, is refused", () => {
  assert.throws(
    () => withSpaces(DCOS, [{ op: "drain", subnet: "10.0.0.0/8" }]),
    /no address space 10\.0\.0\.0\/8; it has 9\.0/,
  );
  assert.throws(() => withSpaces(DCOS, [{ op: "remove", subnet: "9.0.0.0/8" }]), /no address space left/);
});
