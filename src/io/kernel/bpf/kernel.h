/*
 * What of the kernel's interface to BPF programs is used here: helpers by their numbers (linux/bpf.h), flags that are
 * newer than the headers of the distribution that compiles, and the kernel's words for byte order.
 *
 * clang and the kernel's own headers are all that is needed to compile; no libbpf, no BTF, no CO-RE.
 */
#ifndef WEFT_KERNEL_H
#define WEFT_KERNEL_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

#define htons(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define ntohs(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)
#define copy __builtin_memcpy

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the object is made for little-endian machines: amd64, arm64, riscv64"
#endif

/* linux/bpf.h from 6.3 on: the packet that is left is IPv6. */
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV6
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

/* What a program answers. TCX and a direct-action filter of clsact have the same numbers for these. */
#define TO_KERNEL (-1) /* goes on to whatever comes next: other programs, nftables, the stack */
#define DISCARD 2

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_hash_recalc)(struct __sk_buff *skb) = (void *)34;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, __u32 length) = (void *)39;
static __s64 (*const bpf_csum_update)(struct __sk_buff *skb, __u32 difference) = (void *)40;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 bytes, __u32 mode, __u64 flags) = (void *)50;
static long (*const bpf_ringbuf_output)(void *ring, void *data, __u64 size, __u64 flags) = (void *)130;
static long (*const bpf_csum_level)(struct __sk_buff *skb, __u64 what) = (void *)135;
static long (*const bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *to, int size, __u64 flags) = (void *)152;
static long (*const bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;

#endif
