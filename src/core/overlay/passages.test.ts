/**
 * What another firewall is to let through, as `nft` would show it, and where: the chain that Docker leaves to others, or
 * the one that leads there.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seedContext } from "../../../test/support/seed-cluster.ts";
import { formatHostState } from "../host/format.ts";
import { EMPTY_HOST_STATE, type Passage } from "../host/host-state.ts";
import type { OverlayContext } from "./context.ts";
import { passages } from "./passages.ts";

const context: OverlayContext = {
  ...seedContext(1),
  facts: { ...seedContext(1).facts, foreignDevs: ["eth0", "docker0", "wg0"], uplinks: ["eth0", "wg0"] },
};

function there(family: Passage["family"], chain: Passage["chain"], isAsked: boolean): Passage {
  return { family, chain, rules: [], isAsked };
}

function text(...observed: readonly Passage[]): string {
  return formatHostState({ ...EMPTY_HOST_STATE, passages: passages(context, observed) });
}

const RULES = `{
  oifname "weft*" counter accept comment "weft"
  iifname "weft*" oifname "vtep1024" counter accept comment "weft"
  iifname "weft*" oifname "eth0" counter accept comment "weft"
  iifname "weft*" oifname "wg0" counter accept comment "weft"
}
`;

test("into containers from anywhere, out of them by the tunnel and what leads away, and into no bridge", () => {
  const chains = (["ip", "ip6"] as const).flatMap((family) => [
    there(family, "FORWARD", true),
    there(family, "DOCKER-USER", true),
  ]);
  assert.equal(text(...chains), `passage ip filter DOCKER-USER ${RULES}passage ip6 filter DOCKER-USER ${RULES}`);
});

test("nothing without Docker's chain; in the one before it when nothing leads there", () => {
  assert.equal(text(), "");
  assert.equal(text(there("ip", "FORWARD", false)), "");
  assert.equal(
    text(there("ip", "DOCKER-USER", false), there("ip", "FORWARD", true)),
    `passage ip filter FORWARD ${RULES}`,
  );
});

test("of a family that is not served nothing passes", () => {
  const { assignment } = context;
  const chains = [there("ip6", "FORWARD", true), there("ip6", "DOCKER-USER", true)];
  assert.deepEqual(passages({ ...context, assignment: { ...assignment, enableIpv6: false } }, chains), []);
});
