/** What a user would pick instead, where its Debian package is installed. Nothing is installed here. */
import { join } from "@std/path";
import { ETCD, MEMCACHED, RESP } from "./dialects.ts";
import { Child, findProgram, freePort, run } from "./stage.ts";
import type { Running, Server, StartOptions } from "./types.ts";

const VERSION_TIMEOUT_MS = 10_000;

/** Why a program cannot be used. */
async function missing(program: string, debianPackage = program): Promise<string | undefined> {
  const path = await findProgram(program);
  return path === undefined
    ? `not installed (Debian package ${debianPackage}), skipped`
    : undefined;
}

/** Starts a program and waits until it listens on `port`. */
async function listening(program: string, args: readonly string[], port: number): Promise<Running> {
  const path = await findProgram(program);
  if (path === undefined) throw new Error(`${program} is not installed`);
  const child = new Child(path, args);
  await child.accepts(port);
  return { pids: [child.pid], ports: { main: port }, stop: () => child.stop() };
}

function startRedis({ folder, durable }: StartOptions): Promise<Running> {
  const port = freePort();
  const persistence = durable
    ? ["--appendonly", "yes", "--appendfsync", "always"]
    : ["--appendonly", "no"];
  // deno-fmt-ignore
  const args = [
    "--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...persistence,
  ];
  return listening("redis-server", args, port);
}

export const REDIS: Server = {
  name: "Redis",
  keys: { dialect: RESP, port: "main" },
  missing: () => missing("redis-server"),
  start: startRedis,
};

/** Redis behind webdis, which speaks HTTP in front of it. */
export const WEBDIS_SERVER: Server = {
  name: "webdis",
  keys: { dialect: RESP, port: "redis" },
  missing: async () => await missing("webdis") ?? await missing("redis-server"),
  async start(options) {
    const redis = await startRedis(options);
    const port = freePort();
    const config = join(options.folder, "webdis.json");
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        redis_host: "127.0.0.1",
        redis_port: redis.ports["main"],
        http_host: "127.0.0.1",
        http_port: port,
        // As Debian configures it.
        threads: 2,
        daemonize: false,
        http_max_request_size: 1024 * 1024,
        verbosity: 0,
        logfile: join(options.folder, "webdis.log"),
      }),
    );
    const webdis = await listening("webdis", [config], port);
    return {
      pids: [...webdis.pids, ...redis.pids],
      ports: { main: port, redis: redis.ports["main"] ?? 0 },
      stop: async () => {
        await webdis.stop();
        await redis.stop();
      },
    };
  },
};

export const MEMCACHED_SERVER: Server = {
  name: "memcached",
  keys: { dialect: MEMCACHED, port: "main" },
  missing: () => missing("memcached"),
  start() {
    const port = freePort();
    // -u is what it becomes when it is started by root, and ignored otherwise.
    const args = ["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-m", "512", "-u", "nobody"];
    return listening("memcached", args, port);
  },
};

export const ETCD_SERVER: Server = {
  name: "etcd",
  keys: { dialect: ETCD, port: "main" },
  missing: () => missing("etcd", "etcd-server"),
  async start({ folder }) {
    const port = freePort();
    const client = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${freePort()}`;
    // deno-fmt-ignore
    const args = [
      "--data-dir", join(folder, "etcd"), "--log-level", "error",
      "--listen-client-urls", client, "--advertise-client-urls", client,
      "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
      "--initial-cluster", `default=${peer}`,
    ];
    const path = await findProgram("etcd");
    if (path === undefined) throw new Error("etcd is not installed");
    const child = new Child(path, args);
    await child.accepts(port);
    await child.until("a leader", async () => {
      const response = await fetch(`${client}/health`).catch(() => undefined);
      const text = await response?.text();
      return text?.includes("true") ? true : undefined;
    });
    return { pids: [child.pid], ports: { main: port }, stop: () => child.stop() };
  },
};

export const NGINX: Server = {
  name: "nginx",
  keys: "files",
  missing: () => missing("nginx"),
  async start({ folder }) {
    const port = freePort();
    const config = join(folder, "nginx.conf");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`).join("\n  ");
    // One process, like the other servers here; started by root a worker would change its user and
    // could not read the folder.
    await Deno.writeTextFile(
      config,
      `daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx.log crit;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  ${temporary}
  server { listen 127.0.0.1:${port}; root ${folder}/data; }
}
`,
    );
    return await listening(
      "nginx",
      ["-c", config, "-p", folder, "-e", `${folder}/nginx.log`],
      port,
    );
  },
};

/** One file a key, as the book's server does it, but durable: flush and rename. */
const FLASK_APP = `
import os, sys, threading
from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

folder, port = sys.argv[1], int(sys.argv[2])
app = Flask(__name__)

@app.get("/<key>")
def load(key):
    try:
        with open(os.path.join(folder, key), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return "", 404

@app.put("/<key>")
def save(key):
    path = os.path.join(folder, key)
    temporary = os.path.join(folder, f".{threading.get_ident()}")
    with open(temporary, "wb") as file:
        file.write(request.get_data())
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return "", 204

class Handler(WSGIRequestHandler):
    def log_request(self, *args):
        pass

make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler).serve_forever()
`;

export const FLASK: Server = {
  name: "Flask",
  keys: "files",
  async missing() {
    const python = await findProgram("python3");
    try {
      if (python !== undefined) {
        await run(python, ["-c", "import flask"], VERSION_TIMEOUT_MS);
        return undefined;
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
    return "not installed (Debian package python3-flask), skipped";
  },
  async start({ folder }) {
    const port = freePort();
    const program = join(folder, "app.py");
    await Deno.writeTextFile(program, FLASK_APP);
    return await listening("python3", [program, join(folder, "data"), String(port)], port);
  },
};
