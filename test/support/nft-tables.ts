/** Tables with the statements that host ports and the rules against spoofing need, as few of each as show it. */
import type { NftRule, NftTable } from "../../src/core/host/host-state.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";

const LOCAL: NftRule = [{ kind: "fib daddr type local" }, { kind: "jump", chain: "host-ports" }];
export const PORTS: NftTable = {
  family: "ip",
  name: "weft",
  maps: [
    {
      name: "ports",
      type: "inet_proto . inet_service : ipv4_addr . inet_service",
      elements: [["tcp . 8080", `${ip("9.0.1.2")} . 80`]],
    },
    {
      name: "ports-at",
      type: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
      elements: [[`${ip("10.0.0.11")} . udp . 65535`, `${ip("9.0.1.2")} . 1`]],
    },
  ],
  chains: [
    {
      name: "host-ports",
      rules: [
        [{ kind: "dnat", family: "ip", key: "ip daddr . meta l4proto . th dport", map: "ports-at" }],
        [{ kind: "dnat", family: "ip", key: "meta l4proto . th dport", map: "ports" }],
      ],
    },
    {
      name: "prerouting",
      hook: { type: "nat", hook: "prerouting", priority: -100, policy: "accept" },
      rules: [LOCAL],
    },
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
      rules: [
        [
          { kind: "ct status dnat" },
          { kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.0.0/8") },
          { kind: "masquerade" },
        ],
      ],
    },
  ],
};
export const PORTS6: NftTable = {
  family: "ip6",
  name: "weft",
  maps: [
    {
      name: "ports",
      type: "inet_proto . inet_service : ipv6_addr . inet_service",
      elements: [["tcp . 8080", `${ip("fd01:b::2")} . 80`]],
    },
    {
      name: "ports-at",
      type: "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
      elements: [[`${ip("fd00::11")} . udp . 53`, `${ip("fd01:b::2")} . 53`]],
    },
  ],
  chains: [
    {
      name: "host-ports",
      rules: [
        [{ kind: "dnat", family: "ip6", key: "ip6 daddr . meta l4proto . th dport", map: "ports-at" }],
        [{ kind: "dnat", family: "ip6", key: "meta l4proto . th dport", map: "ports" }],
      ],
    },
    {
      name: "output",
      hook: { type: "nat", hook: "output", priority: -100, policy: "accept" },
      rules: [LOCAL],
    },
  ],
};
export const SPOOFING: NftTable = {
  family: "netdev",
  name: "weft",
  maps: [],
  chains: [
    {
      name: "m-dcos",
      hook: { type: "filter", hook: "ingress", priority: 0, device: "m-dcos", policy: "drop" },
      rules: [
        [{ kind: "ether saddr", op: "!=", mac: mac("02:57:09:00:01:02") }, { kind: "drop" }],
        [{ kind: "range", field: "icmp type", first: 5, last: 5 }, { kind: "drop" }],
        [{ kind: "range", field: "icmpv6 type", first: 133, last: 137 }, { kind: "drop" }],
        [{ kind: "range", field: "udp sport", first: 67, last: 67 }, { kind: "drop" }],
        [{ kind: "range", field: "tcp sport", first: 80, last: 8080 }, { kind: "accept" }],
      ],
    },
  ],
};
