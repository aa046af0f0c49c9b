import assert from "node:assert/strict";
import { test } from "node:test";
import { delegateEnvironment, delegateFault } from "./delegate.ts";

test("a plugin is started with the parameters of the call, and nothing of the agent's own", () => {
  const subject = { containerId: "c1", ifname: "eth0", netns: "/run/netns/c1" };
  const { PATH, ...environment } = delegateEnvironment("ADD", subject, { cniPath: ["/a", "/b"], args: "K=V" });
  assert.deepEqual(environment, {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/c1",
    CNI_ARGS: "K=V",
    CNI_PATH: "/a:/b",
  });
  assert.match(PATH ?? "", /\/usr\/sbin/);
});

test("a plugin's refusal is told in its words; 'try again later' stays that", () => {
  const full = delegateFault("host-local", '{"code":999,"msg":"no IP addresses available","details":"in range set"}');
  assert.equal(full.code, "delegate-failed");
  assert.equal(full.message, "the plugin host-local refused: no IP addresses available: in range set");
  assert.equal(delegateFault("dhcp", '{"code":11,"msg":"later"}').code, "not-ready");
});

test("what is no CNI error is shown as it is, shortened", () => {
  assert.match(delegateFault("x", "panic: oops\n").message, /refused: panic: oops$/);
  assert.match(delegateFault("x", "").message, /it said nothing/);
  assert.match(delegateFault("x", '["y"]').message, /refused: \["y"\]$/);
  assert.ok(delegateFault("x", "y".repeat(9_000)).message.length < 500);
});
