/** Who takes part: one more is one more entry here, and its name in the workloads. */
import { basename, fromFileUrl, join } from "@std/path";
import {
  ALL_GET,
  ETCD,
  FILES,
  FILES_CLOSING,
  KVS_BOOK,
  KVS_V1,
  MEMCACHED,
  RESP,
  WEBDIS,
} from "./dialects.ts";
import { httpLoad, rawLoad, redisLoad } from "./generators.ts";
import { COMPILED, type Runtime, SOURCE } from "./runtimes.ts";
import {
  ETCD_SERVER,
  FLASK,
  MEMCACHED_SERVER,
  NGINX,
  REDIS,
  WEBDIS_SERVER,
} from "./servers_debian.ts";
import {
  bareNodeServer,
  bareServer,
  KVS_COMPILED,
  KVS_FROM_SOURCE,
  type KvsProgram,
  kvsServer,
  missingRuntime,
  NO_SERVER,
} from "./servers_deno.ts";
import { run } from "./stage.ts";
import type { Contender, Dialect, Generator, Sample, Server } from "./types.ts";

const APPEND_LIMIT = fromFileUrl(new URL("append_limit.ts", import.meta.url));
const APPEND_SLACK_MS = 20_000;

const main = () => "main";

function kvs(program: KvsProgram): [v1: Contender, book: Contender] {
  const server = kvsServer(program);
  const { id, label } = program;
  const shared = { server, generator: httpLoad, port: main };
  return [
    { ...shared, id: `${id}/v1`, label: `kvs v1 (${label})`, dialect: KVS_V1 },
    { ...shared, id: `${id}/book`, label: `kvs book (${label})`, dialect: KVS_BOOK },
  ];
}

/** Another build of kvs, a file: to see what a change is worth. */
export function otherBuild(file: string): Contender {
  return kvs({ id: file, label: basename(file), runtime: COMPILED, command: [file] })[0];
}

function bare(id: string, runtime: Runtime): [Contender, Contender] {
  const server = bareServer(runtime);
  const limit = `limit: bare Deno.serve`;
  return [
    {
      id: `${id}/bare`,
      label: `${limit} (Deno ${runtime.version})`,
      server,
      dialect: FILES,
      generator: httpLoad,
      port: ({ loadShare, valueBytes }) => `${loadShare === 1 ? "load" : "any"}-${valueBytes}`,
    },
    {
      id: `${id}/bare-get`,
      label: `${limit}, save by GET (Deno ${runtime.version})`,
      server,
      dialect: ALL_GET,
      generator: httpLoad,
      port: ({ valueBytes }) => `load-${valueBytes}`,
    },
  ];
}

function bareNode(id: string, runtime: Runtime): Contender {
  return {
    id: `${id}/node`,
    label: `limit: bare node:http (Deno ${runtime.version})`,
    server: bareNodeServer(runtime),
    dialect: FILES,
    generator: httpLoad,
    port: ({ valueBytes }) => String(valueBytes),
  };
}

function append(id: string, runtime: Runtime): Contender {
  const generator: Generator = async (traffic, folder): Promise<Sample> => {
    const { inFlight, valueBytes, seconds } = traffic;
    const file = join(folder, "appended");
    // deno-fmt-ignore
    const args = [
      "run", "--allow-read", "--allow-write", "--quiet", "--no-config", "--no-lock", APPEND_LIMIT,
      file, String(inFlight), String(valueBytes), String(seconds),
    ];
    try {
      const { stdout } = await run(
        runtime.deno ?? "",
        args,
        APPEND_SLACK_MS + (seconds ?? 0) * 1e3,
      );
      const sample: Sample = JSON.parse(stdout);
      return sample;
    } finally {
      await Deno.remove(file);
    }
  };
  return {
    id: `${id}/append`,
    label: `limit: append + fdatasync in process (Deno ${runtime.version})`,
    server: { ...NO_SERVER, missing: () => missingRuntime(runtime) },
    dialect: FILES,
    generator,
    port: main,
  };
}

function other(id: string, server: Server, dialect: Dialect, generator: Generator): Contender {
  return { id, label: server.name, server, dialect, generator, port: main };
}

const [KVS, BOOK] = kvs(KVS_COMPILED);
const [KVS_SOURCE, BOOK_SOURCE] = kvs(KVS_FROM_SOURCE);
const [BARE, BARE_GET] = bare("kvs", COMPILED);
const [BARE_SOURCE, BARE_GET_SOURCE] = bare("source", SOURCE);

export const C = {
  kvs: KVS,
  book: BOOK,
  kvsSource: KVS_SOURCE,
  bookSource: BOOK_SOURCE,
  bare: BARE,
  bareGet: BARE_GET,
  bareSource: BARE_SOURCE,
  bareGetSource: BARE_GET_SOURCE,
  node: bareNode("kvs", COMPILED),
  nodeSource: bareNode("source", SOURCE),
  append: append("kvs", COMPILED),
  appendSource: append("source", SOURCE),
  redis: other("redis", REDIS, RESP, redisLoad),
  redisRaw: {
    ...other("redis-raw", REDIS, RESP, rawLoad),
    label: "Redis, built-in generator",
  },
  memcached: other("memcached", MEMCACHED_SERVER, MEMCACHED, rawLoad),
  etcd: other("etcd", ETCD_SERVER, ETCD, rawLoad),
  webdis: other("webdis", WEBDIS_SERVER, WEBDIS, httpLoad),
  nginx: other("nginx", NGINX, FILES, httpLoad),
  flask: other("flask", FLASK, FILES_CLOSING, httpLoad),
};
