import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesToMac, mac, macToBytes, parseMac } from "./mac.ts";
import { dockerBridgeName, mesosBridgeName, networkNameProblem } from "./names.ts";

test("a network's name is refused with the reason why it cannot be a device, a file or a Docker network", () => {
  const rows: [string, RegExp | undefined][] = [
    ["dcos", undefined],
    ["thirteenchars", undefined],
    ["Net_1.a-b", undefined],
    ["fourteen-chars", /14 bytes/],
    ["ümlautümlaut", /14 bytes/],
    ["", /empty/],
    ["host", /reserved/],
    ["none", /reserved/],
    ["Host", undefined],
    ["a/b", /letters/],
    ["a b", /letters/],
    ["..", /letters/],
    ["-x", /begins with/],
  ];
  for (const [name, problem] of rows) {
    const found = networkNameProblem(name);
    if (problem === undefined) assert.equal(found, undefined, name);
    else assert.match(found ?? "", problem, name);
  }
  assert.equal(mesosBridgeName("thirteenchars").length, 15);
  assert.equal(dockerBridgeName("dcos"), "d-dcos");
});

test("a MAC address is six bytes in lower case", () => {
  assert.equal(parseMac("70:B3:D5:80:00:01"), "70:b3:d5:80:00:01");
  for (const text of ["70:B3:D5:80:00", "70:B3:D5:80:00:01:02", "70-B3-D5-80-00-01", "g0:00:00:00:00:00", ""])
    assert.equal(parseMac(text), undefined, text);
  assert.equal(bytesToMac(macToBytes(mac("70:b3:d5:80:0f:fe"))), "70:b3:d5:80:0f:fe");
});
