/** What is measured: a table a workload. One more is one more entry. */
import { C } from "./contenders.ts";
import type { Workload } from "./types.ts";

const V1 = [C.kvs, C.kvsSource];
const KVS = [C.kvs, C.book, C.kvsSource, C.bookSource];
const BARE = [C.bare, C.bareSource];
const NODE = [C.node, C.nodeSource];
const LIMITS = [...BARE, C.append];
const BOTH_REDIS = [C.redis, C.redisRaw];

const HOT = { durable: false, loadShare: 1, keys: 1, inFlight: 64 };
const SAVE = { durable: true, loadShare: 0, keys: 10_000, inFlight: 64 };

export const WORKLOADS: readonly Workload[] = [
  {
    ...HOT,
    name: "hot-1B",
    title: "Loads of one key, 1 B, 64 in flight",
    valueBytes: 1,
    prefix: "a",
    contenders: [...KVS, ...BARE, ...NODE, ...BOTH_REDIS, C.memcached],
  },
  {
    ...HOT,
    name: "hot-1KiB",
    title: "Loads of one key, 1 KiB, 64 in flight",
    valueBytes: 1024,
    prefix: "b",
    contenders: [
      ...KVS,
      ...BARE,
      ...NODE,
      ...BOTH_REDIS,
      C.memcached,
      C.nginx,
      C.webdis,
      C.etcd,
      C.flask,
    ],
  },
  {
    ...HOT,
    name: "hot-64KiB",
    title: "Loads of one key, 64 KiB, 64 in flight",
    valueBytes: 65536,
    prefix: "c",
    contenders: [...V1, ...BARE, ...NODE, C.redis, C.nginx],
  },
  {
    name: "many",
    title: "Loads over 100,000 keys at random, 100 B, 64 in flight",
    durable: false,
    loadShare: 1,
    keys: 100_000,
    inFlight: 64,
    valueBytes: 100,
    prefix: "d",
    warm: true,
    contenders: [...KVS, ...BARE, C.redis, C.nginx],
  },
  {
    ...SAVE,
    name: "save-1",
    title: "Durable saves, 1 KiB, 1 in flight",
    valueBytes: 1024,
    inFlight: 1,
    prefix: "e",
    contenders: [...V1, ...LIMITS, C.redis, C.etcd, C.webdis, C.flask],
  },
  {
    ...SAVE,
    name: "save-8",
    title: "Durable saves, 1 KiB, 8 in flight",
    valueBytes: 1024,
    inFlight: 8,
    prefix: "f",
    contenders: [...V1, ...LIMITS, C.redis, C.etcd],
  },
  {
    ...SAVE,
    name: "save-64",
    title: "Durable saves, 1 KiB, 64 in flight",
    valueBytes: 1024,
    prefix: "g",
    contenders: [
      ...KVS,
      ...LIMITS,
      C.appendSource,
      C.bareGet,
      C.bareGetSource,
      ...BOTH_REDIS,
      C.etcd,
      C.webdis,
      C.flask,
    ],
  },
  {
    ...SAVE,
    name: "save-64-1B",
    title: "Durable saves, 1 B, 64 in flight",
    valueBytes: 1,
    prefix: "h",
    contenders: [...V1, ...LIMITS, ...BOTH_REDIS, C.etcd],
  },
  {
    ...SAVE,
    name: "save-64-64KiB",
    title: "Durable saves, 64 KiB, 64 in flight",
    valueBytes: 65536,
    keys: 256,
    prefix: "i",
    contenders: [...V1, ...LIMITS, C.redis],
  },
  {
    ...SAVE,
    name: "sustained",
    title: "Durable saves for 10 s without a break, 1 KiB, 64 in flight",
    valueBytes: 1024,
    rounds: 1,
    seconds: 10,
    prefix: "j",
    contenders: [...V1, C.redis],
  },
  {
    name: "mixed",
    title: "90 loads to 10 durable saves, 10,000 keys, 1 KiB, 64 in flight",
    durable: true,
    loadShare: 0.9,
    keys: 10_000,
    inFlight: 64,
    valueBytes: 1024,
    prefix: "k",
    warm: true,
    contenders: [...KVS, ...BARE, ...NODE, C.redis, C.etcd, C.webdis],
  },
];
