import assert from "node:assert/strict";
import { test } from "node:test";
import { DCOS, DCOS6, fileOf, network, overlays, problemsOf } from "../../../test/support/config-file.ts";
import { OVERLAYS_MAX } from "../../model/limits.ts";
import { parseClusterConfig, parseNetworkSource } from "./cluster-config.ts";
import { DEFAULT_NETWORK } from "./default-network.ts";

const NET_B = { name: "b", subnet: "192.168.0.0/16", prefix: 24 };
const N = "dcos_overlay_network";

/** What is written, and a pattern for each problem that must be reported, in order; none: accepted. */
type Row = readonly [what: string, text: string, ...problems: RegExp[]];

const CONFORMANCE: Row[] = [
  ["default config", fileOf(DEFAULT_NETWORK)],
  ["not JSON", fileOf("{vtep_subnet"), /^dcos_overlay_network: .* is not valid JSON; /],
  ["the section as JSON text", fileOf(JSON.stringify(DEFAULT_NETWORK))],
  ["overlays missing", fileOf(network({ overlays: undefined })), /^dcos_overlay_network.overlays: is missing/],
  ["overlays empty", fileOf(overlays()), /^dcos_overlay_network.overlays: is empty/],
  ["no vtep_mac_oui", fileOf(network({ vtep_mac_oui: undefined })), /^dcos_overlay_network.vtep_mac_oui: is missing/],
  ["no vtep_subnet", fileOf(network({ vtep_subnet: undefined })), /^dcos_overlay_network.vtep_subnet: is missing/],
  [
    "no vtep_subnet6, and an overlay needs it",
    fileOf(network({ vtep_subnet6: undefined })),
    /vtep_subnet6: is missing/,
  ],
  ["no vtep_subnet6, and no overlay needs it", fileOf(network({ vtep_subnet6: undefined, overlays: [DCOS] }))],
  ["vtep_subnet of IPv6", fileOf(network({ vtep_subnet: "fd01::/64" })), /vtep_subnet: .* IPv6 network, not an IPv4/],
  [
    "vtep_subnet6 of IPv4",
    fileOf(network({ vtep_subnet6: "44.0.0.0/8" })),
    /vtep_subnet6: .* IPv4 network, not an IPv6/,
  ],
  ["a VTEP pool of /8", fileOf(network({ vtep_subnet: "44.0.0.0/8" }))],
  ["a VTEP pool of /7", fileOf(network({ vtep_subnet: "40.0.0.0/7" })), /vtep_subnet: 40.0.0.0\/7 is larger than \/8/],
  ["an OUI of 5 bytes", fileOf(network({ vtep_mac_oui: "70:B3:D5:00:00" })), /vtep_mac_oui: .* not six bytes/],
  ["an OUI with a 6th byte", fileOf(network({ vtep_mac_oui: "70:B3:D5:00:00:01" })), /last three bytes .* not zero/],
  ["vtep_mtu 551", fileOf(network({ vtep_mtu: 551 })), /vtep_mtu: 551 is out of range; .* from 552 to 65535/],
  ["vtep_mtu 552", fileOf(network({ vtep_mtu: 552 }))],
  ["vtep_mtu 9000", fileOf(network({ vtep_mtu: 9000 }))],
  ["vtep_mtu abc", fileOf(network({ vtep_mtu: "abc" })), /vtep_mtu: "abc" is not an integer/],
  ["an overlay without name", fileOf(overlays({ ...DCOS, name: undefined })), /overlays\[0\]\.name: is missing/],
  ["a name of 13 bytes", fileOf(overlays({ ...DCOS, name: "abcdefghijklm" }))],
  ["a name of 14 bytes", fileOf(overlays({ ...DCOS, name: "abcdefghijklmn" })), /name: "abcdefghijklmn" has 14 bytes/],
  ...["host", "bridge", "default", "none"].map(
    (name): Row => [`the reserved name ${name}`, fileOf(overlays({ ...DCOS, name })), /name: .* is reserved/],
  ),
  [
    "duplicate name",
    fileOf(overlays(DCOS, { ...DCOS6, name: "dcos" })),
    /overlays\[1\]\.name: "dcos" is also the name at dcos_overlay_network.overlays\[0\]\.name/,
  ],
  [
    "overlays that overlap",
    fileOf(overlays(DCOS, { name: "b", subnet: "9.1.0.0/16", prefix: 24 })),
    /overlays\[1\]\.subnet: 9\.1\.0\.0\/16 overlaps 9\.0\.0\.0\/8 of dcos_overlay_network.overlays\[0\]\.subnet/,
  ],
  [
    "overlays side by side",
    fileOf(
      overlays(
        { name: "a", subnet: "192.168.0.0/17", prefix: 24 },
        { name: "b", subnet: "192.168.128.0/17", prefix: 24 },
      ),
    ),
  ],
  ["an overlay with neither subnet", fileOf(overlays({ name: "a" })), /overlays\[0\]\.subnet: is missing, and subnet6/],
  [
    "host bits",
    fileOf(overlays({ ...DCOS, subnet: "9.0.0.1/8" })),
    /"9.0.0.1\/8" has host bits set; did you mean 9.0.0.0\/8\?/,
  ],
  ["a bare address", fileOf(overlays({ ...DCOS, subnet: "9.0.0.0" })), /"9.0.0.0" has no prefix length/],
  ["strict halves", fileOf(overlays({ ...DCOS, strict_halves: true }))],
  [
    "strict_halves 1",
    fileOf(overlays({ ...DCOS, strict_halves: 1 })),
    /overlays\[0\]\.strict_halves: 1 is not a boolean/,
  ],
  ...["open", "closed", { allow: [] }, { allow: ["dcos", "b"] }].map(
    (isolation): Row => [`isolation ${JSON.stringify(isolation)}`, fileOf(overlays({ ...DCOS, isolation }, NET_B))],
  ),
  [
    "isolation from a network that is not there",
    fileOf(overlays({ ...DCOS, isolation: { allow: ["b", "c"] } }, NET_B)),
    /overlays\[0\]\.isolation\.allow: there is no network "c"; give names of networks in this file: "dcos, b"/,
  ],
  ...["close", true, null, ["b"], {}, { allow: "b" }, { deny: ["b"] }, { allow: ["b"], deny: [] }].map(
    (isolation): Row => [
      `isolation ${JSON.stringify(isolation)}`,
      fileOf(overlays({ ...DCOS, isolation }, NET_B)),
      /overlays\[0\]\.isolation: .* is no isolation; give open, closed or \{ allow: \[NETWORK, …\] \}/,
    ],
  ),
  [
    "isolation from a number",
    fileOf(overlays({ ...DCOS, isolation: { allow: [7] } })),
    /overlays\[0\]\.isolation\.allow: 7 is not a network's name/,
  ],
  ...["masquerade", "routed", "none"].map((egress): Row => [`egress ${egress}`, fileOf(overlays({ ...DCOS, egress }))]),
  ["egress nat", fileOf(overlays({ ...DCOS, egress: "nat" })), /overlays\[0\]\.egress: "nat" is no egress; give masq/],
  ["enabled yes", fileOf(overlays({ ...DCOS, enabled: "yes" })), /overlays\[0\]\.enabled: "yes" is not a boolean/],
  [
    "a default name that no overlay has",
    fileOf(overlays({ name: "bar", subnet: "1.1.1.0/24", prefix: 24 }), { dcos_overlay_network_default_name: "foo" }),
    /^dcos_overlay_network_default_name: default name does not refer to a defined overlay: foo; .*bar.* dcos_overlay_network/,
  ],
  [
    "dcos_overlay_mtu 551",
    fileOf(DEFAULT_NETWORK, { dcos_overlay_mtu: 551 }),
    /^dcos_overlay_mtu: 551 is out of range/,
  ],
  ["dcos_overlay_mtu 552", fileOf(DEFAULT_NETWORK, { dcos_overlay_mtu: 552 })],
  [
    "config attempts -1",
    fileOf(DEFAULT_NETWORK, { dcos_overlay_config_attempts: -1 }),
    /_attempts: -1 is out of range/,
  ],
  ["config attempts 0", fileOf(DEFAULT_NETWORK, { dcos_overlay_config_attempts: 0 })],
  ["config attempts 10", fileOf(DEFAULT_NETWORK, { dcos_overlay_config_attempts: "10" })],
  [
    "config attempts 11",
    fileOf(DEFAULT_NETWORK, { dcos_overlay_config_attempts: 11 }),
    /_attempts: 11 is out of range/,
  ],
  ["enable_ipv6=false", fileOf(DEFAULT_NETWORK, { enable_ipv6: "false" })],
  [
    "Calico in an overlay",
    fileOf(DEFAULT_NETWORK, { calico_enabled: "true", calico_network_cidr: "9.9.0.0/16" }),
    /overlays\[0\]\.subnet: 9\.0\.0\.0\/8 overlaps 9\.9\.0\.0\/16 of calico_network_cidr/,
  ],
  ["Calico in an overlay, but off", fileOf(DEFAULT_NETWORK, { calico_network_cidr: "9.9.0.0/16" })],
  [
    "Calico's VNI",
    fileOf(DEFAULT_NETWORK, { calico_enabled: true, calico_vxlan_vni: 1024 }),
    /^calico_vxlan_vni: 1024 is the VNI of the overlays/,
  ],
];

const SECOND = { subnet: "10.1.0.0/16", prefix: 24 };
const BEYOND_THE_ORIGINAL: Row[] = [
  ["a further space", fileOf(overlays({ ...DCOS, more: [SECOND] }))],
  ["a space that is replaced", fileOf(overlays({ ...DCOS, draining: true, more: [SECOND] }))],
  ["no space that lasts", fileOf(overlays({ ...DCOS, draining: true })), /draining: no subnet is left that is not dr/],
  [
    "an only IPv6 space that drains",
    fileOf(overlays({ ...DCOS, draining: true, subnet6: "fd01:d::/64", prefix6: 80, more: [SECOND] })),
    /draining: no subnet6 is left/,
  ],
  [
    "a further space in the first",
    fileOf(overlays({ ...DCOS, more: [{ subnet: "9.1.0.0/16", prefix: 24 }] })),
    /overlays\[0\]\.more\[0\]\.subnet: 9\.1\.0\.0\/16 overlaps 9\.0\.0\.0\/8/,
  ],
  [
    "a further space without slices",
    fileOf(overlays({ ...DCOS, more: [{ subnet: "10.1.0.0/16" }] })),
    /more\[0\]\.prefix: is missing/,
  ],
  [
    "further spaces that are no list",
    fileOf(overlays({ ...DCOS, more: SECOND })),
    /overlays\[0\]\.more: .* not a list/,
  ],
  ["a threshold", fileOf(DEFAULT_NETWORK, { elastic: { threshold: 1, empty_seconds: 5, rest_seconds: 5 } })],
  ["elastic: false", fileOf(DEFAULT_NETWORK, { elastic: false })],
  [
    "a threshold of 80",
    fileOf(DEFAULT_NETWORK, { elastic: { threshold: 80 } }),
    /^elastic\.threshold: 80 is not a share/,
  ],
  ["elastic: 0.8", fileOf(DEFAULT_NETWORK, { elastic: 0.8 }), /^elastic: 0\.8 is not a mapping/],
  ["no prefix", fileOf(overlays({ ...DCOS, prefix: undefined })), /overlays\[0\]\.prefix: is missing/],
  ["no prefix6", fileOf(overlays({ ...DCOS6, prefix6: undefined })), /overlays\[0\]\.prefix6: is missing/],
  ["slices larger than the network", fileOf(overlays({ ...DCOS, prefix: 7 })), /prefix: 7 .* from 8 to 29/],
  ["slices without room for two halves", fileOf(overlays({ ...DCOS, prefix: 30 })), /prefix: 30 .* from 8 to 29/],
  ["a prefix of 280", fileOf(overlays({ ...DCOS, prefix: 280 })), /prefix: 280 .* from 8 to 29/],
  ["a prefix6 of 126", fileOf(overlays({ ...DCOS6, prefix6: 126 })), /prefix6: 126 .* from 64 to 125/],
  ["the longest slices", fileOf(overlays({ ...DCOS, prefix: 29 }, { ...DCOS6, prefix6: 125 }))],
  [
    "a network too small to cut",
    fileOf(overlays({ ...DCOS, subnet: "9.0.0.0/30", prefix: 30 })),
    /subnet: .* too small/,
  ],
  ["bad hexadecimal", fileOf(network({ vtep_mac_oui: "70:B3:G5:00:00:00" })), /not six bytes in hexadecimal/],
  ["a multicast OUI", fileOf(network({ vtep_mac_oui: "71:B3:D5:00:00:00" })), /is a multicast address/],
  ["a locally administered OUI", fileOf(network({ vtep_mac_oui: "02:B3:D5:00:00:00" }))],
  [
    "an overlay in the VTEP pool",
    fileOf(overlays({ ...DCOS, subnet: "44.128.0.0/16" })),
    /overlaps 44.128.0.0\/20 of .*vtep_subnet/,
  ],
  [
    "an IPv6 overlay in the VTEP pool",
    fileOf(overlays({ ...DCOS6, subnet6: "fd01:a::/64" })),
    /overlaps fd01:a::\/64 of .*vtep_subnet6/,
  ],
  [
    "an overlay over a master",
    fileOf(DEFAULT_NETWORK, { master_list: ["9.1.2.3"] }),
    /subnet: 9.0.0.0\/8 overlaps the underlay: it covers 9.1.2.3 of master_list\[0\]/,
  ],
  [
    "an overlay over an agent, list in JSON",
    fileOf(DEFAULT_NETWORK, { agent_list: '["10.0.0.1","9.1.2.3"]' }),
    /covers 9.1.2.3 of agent_list\[1\]/,
  ],
  [
    "the VTEP pool over an agent",
    fileOf(DEFAULT_NETWORK, { agent_list: ["44.128.0.9"] }),
    /vtep_subnet: .* overlaps the underlay/,
  ],
  [
    "a list of names",
    fileOf(DEFAULT_NETWORK, { agent_list: ["node-1"] }),
    /^agent_list\[0\]: "node-1" is not an IP address/,
  ],
  ["an empty name", fileOf(overlays({ ...DCOS, name: "" })), /name: "" is empty/],
  ["a slash in the name", fileOf(overlays({ ...DCOS, name: "../etc" })), /may hold only letters/],
  ["names that differ by case", fileOf(overlays(DCOS, { ...DCOS6, name: "DCOS" })), /"DCOS" differs only by case/],
  [
    "a container MTU above the tunnel's",
    fileOf(network({ vtep_mtu: 1400 }), { dcos_overlay_mtu: 1420 }),
    /^dcos_overlay_mtu: 1420 is more than the 1400/,
  ],
  [
    "too many overlays",
    fileOf(
      overlays(
        ...Array.from({ length: OVERLAYS_MAX + 1 }, (_, i) => ({
          name: `n${i}`,
          subnet: `10.${i % 256}.${i >> 8}.0/24`,
          prefix: 29,
        })),
      ),
    ),
    /overlays: has 257 networks; give at most 256/,
  ],
  [
    "loopback as an overlay",
    fileOf(overlays({ ...DCOS, subnet: "127.0.0.0/8" })),
    /overlaps 127.0.0.0\/8 \(loopback\)/,
  ],
  [
    "a VTEP pool without addresses",
    fileOf(network({ vtep_subnet: "44.128.0.0/31" })),
    /vtep_subnet: .* no room for VTEP/,
  ],
  [
    "an IPv6 default name without IPv6",
    fileOf(DEFAULT_NETWORK, { dcos_overlay_network6_default_name: "dcos" }),
    /^dcos_overlay_network6_default_name: .* with subnet6: dcos/,
  ],
  ["an empty section", `${N}:\n`, /^dcos_overlay_network: null is not a mapping/],
  ["a list in place of a mapping", fileOf([]), /^dcos_overlay_network: \[\] is not a mapping/],
  ["overlays as a mapping", fileOf(network({ overlays: { dcos: DCOS } })), /overlays: .* is not a list/],
  ["an overlay that is text", fileOf(network({ overlays: ["dcos"] })), /overlays\[0\]: "dcos" is not a mapping/],
  ["a file that is a list", "- a\n", /^the file holds \["a"\]/],
  ["a flag that is text", fileOf(DEFAULT_NETWORK, { enable_ipv6: "maybe" }), /^enable_ipv6: "maybe" is not a boolean/],
];

for (const [suite, rows] of Object.entries({ CONFORMANCE, BEYOND_THE_ORIGINAL }))
  for (const [what, text, ...patterns] of rows)
    test(`${suite.toLowerCase().replaceAll("_", " ")}: ${what} is ${patterns.length === 0 ? "accepted" : "refused"}`, () => {
      const problems = problemsOf(text);
      assert.equal(problems.length, patterns.length, problems.join("\n"));
      patterns.forEach((pattern, i) => {
        assert.match(problems[i] ?? "", pattern);
        assert.match(problems[i] ?? "", /; ./, "says what would be right");
      });
    });

test("every problem of a file is reported at once, each with its path", () => {
  const text = fileOf(
    network({
      vtep_subnet: "44.128.0.1/20",
      vtep_mac_oui: "nonsense",
      vtep_mtu: 1,
      overlays: [
        { name: "none", subnet: "9.0.0.0/8", prefix: 33 },
        { subnet6: "fd01:b::/64", prefix6: 80, enabled: 1 },
      ],
    }),
    { dcos_overlay_mtu: "big" },
  );
  const paths = problemsOf(text).map((line) => line.slice(0, line.indexOf(":")));
  assert.deepEqual(paths, [
    "dcos_overlay_mtu",
    `${N}.vtep_subnet`,
    `${N}.vtep_mac_oui`,
    `${N}.vtep_mtu`,
    `${N}.overlays[0].name`,
    `${N}.overlays[0].prefix`,
    `${N}.overlays[1].name`,
    `${N}.overlays[1].enabled`,
  ]);
});

test("a file without the section, and an empty one, mean the networks dcos and dcos6", () => {
  for (const text of ["", "# nothing\n", "cluster_name: x\n", "{}"]) {
    const { config, source } = parseClusterConfig(text);
    assert.deepEqual(source, DEFAULT_NETWORK);
    assert.deepEqual(config, {
      network: {
        vtepSubnet: "44.128.0.0/20",
        vtepSubnet6: "fd01:a::/64",
        vtepMacOui: "70:B3:D5:00:00:00",
        overlays: [
          { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
          { name: "dcos6", subnet6: "fd01:b::/64", prefix6: 80, enabled: true },
        ],
      },
      enableIpv6: true,
      elastic: { threshold: 0.8 },
      defaultNetwork: "dcos",
    });
  }
});

test("the documented example is taken as it stands, other components' keys and indentation included", () => {
  const { config, source, warnings } = parseClusterConfig(`    agent_list:
    - 10.10.0.117
    - 10.10.0.116
    # Use this bootstrap_url value unless the DC/OS installer assets have been moved.
    bootstrap_url: file:///opt/dcos_install_tmp
    cluster_name: <cluster-name>
    master_discovery: static
    master_list:
    - 10.10.0.120
    - 10.10.0.119
    - 10.10.0.118
    resolvers:
    - 8.8.4.4
    - 8.8.8.8
    ssh_port: 22
    ssh_user: centos
    dcos_overlay_network:
      vtep_subnet: 44.128.0.0/20
      vtep_mac_oui: 70:B3:D5:00:00:00
      overlays:
        - name: dcos
          subnet: 9.0.0.0/8
          prefix: 26
        - name: dcos-1
          subnet: 192.168.0.0/16
          prefix: 24
`);
  assert.deepEqual(warnings, []);
  assert.equal(config.network.vtepSubnet6, undefined);
  assert.deepEqual(source.overlays, [
    { name: "dcos", subnet: "9.0.0.0/8", prefix: 26, enabled: true },
    { name: "dcos-1", subnet: "192.168.0.0/16", prefix: 24, enabled: true },
  ]);
});

test("without IPv6, networks that have nothing else are switched off, and no IPv6 VTEP pool is needed", () => {
  const six = { name: "both", subnet: "10.1.0.0/16", prefix: 24, subnet6: "fd01:c::/64", prefix6: 80 };
  const text = fileOf(network({ vtep_subnet6: undefined, overlays: [DCOS, DCOS6, six] }), { enable_ipv6: false });
  const { config, source } = parseClusterConfig(text);
  assert.deepEqual(
    source.overlays.map(({ name, enabled }) => [name, enabled]),
    [
      ["dcos", true],
      ["dcos6", false],
      ["both", true],
    ],
  );
  assert.equal(config.enableIpv6, false);
});

test("dcos_overlay_enable=false switches every network off and says so", () => {
  const { source, warnings } = parseClusterConfig(fileOf(DEFAULT_NETWORK, { dcos_overlay_enable: "false" }));
  assert.deepEqual(new Set(source.overlays.map(({ enabled }) => enabled)), new Set([false]));
  assert.match(warnings.join(), /^dcos_overlay_enable: is false/);
});

test("strings are kept as they were written, numbers are calculated with", () => {
  const { config, source } = parseClusterConfig(
    fileOf(overlays({ ...DCOS6, subnet6: "FD01:B:0::/64", prefix6: "80" })),
  );
  assert.deepEqual(source.overlays, [{ name: "dcos6", subnet6: "FD01:B:0::/64", prefix6: 80, enabled: true }]);
  assert.equal(config.network.overlays[0]?.subnet6, "fd01:b::/64");
});

test("a misspelt key of an overlay is warned of", () => {
  const { warnings } = parseClusterConfig(fileOf(overlays({ ...DCOS, vni: 7, prefix6: 80 })));
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? "", /overlays\[0\]\.vni: is not a known key/);
  assert.match(warnings[1] ?? "", /overlays\[0\]\.prefix6: has no effect without subnet6/);
});

test("what is stored can be read again", () => {
  const { source } = parseClusterConfig("");
  assert.deepEqual(parseNetworkSource(JSON.parse(JSON.stringify(source))), source);
  assert.throws(() => parseNetworkSource({ ...source, overlays: 3 }), { code: "bad-config" });
  assert.throws(() => parseNetworkSource(undefined), { code: "bad-config" });
});
