/**
 * `deno task compile [--force]`: makes dist/kvs, unless it is newer than all it is made of.
 *
 * `deno compile` downloads its base binary, denort. Where that fails, a Deno and a denort from npm
 * compile instead (see npm_toolchain.ts).
 *
 * @module
 */

import { format } from "@std/fmt/bytes";
import { ensureDir } from "@std/fs/ensure-dir";
import { dirname, fromFileUrl, join } from "@std/path";
import { TextLineStream } from "@std/streams/text-line-stream";
import { npmToolchain } from "./npm_toolchain.ts";
import { V8_FLAGS } from "./v8_flags.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));
const OUTPUT = join(ROOT, "dist", "kvs");
const SOURCES = [
  "main.ts",
  "cmd",
  "core",
  "types",
  "deno.json",
  "deno.lock",
  "tools/compile.ts",
  "tools/npm_toolchain.ts",
  "tools/v8_flags.ts",
];

// All that the roles need together: each gives up what it does not need when it starts.
const COMPILE = [
  "compile",
  // Types are what `deno task check` is for; an older Deno has other ones of its own.
  "--no-check",
  // With the lock file its whole content would be embedded, test libraries too. Versions are exact
  // all the same: the import map pins them.
  "--no-lock",
  "--no-prompt",
  // What the live page is made of, read at start from within the binary.
  "--include=core/page/browser",
  // The thread that makes files: found by its address, not by an import.
  "--include=core/system/bulk_files_worker.ts",
  V8_FLAGS,
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-run",
  "--allow-ffi",
  "--allow-env=KVS_*,NO_COLOR,HTTP_PROXY,HTTPS_PROXY,ALL_PROXY,http_proxy,https_proxy,all_proxy",
  "--allow-sys=hostname,statfs",
];

// Deno 2.4.2 overflows the usual 2 MiB while it looks through CommonJS packages that name each other.
const STACK_BYTES = String(32 * 1024 * 1024);

const PROBE_TIMEOUT_MS = 10_000;
const COMPILE_TIMEOUT_MS = 600_000;
const DENORT_DOWNLOAD = /^Download (https?:\S*denort\S*)$/;

/** Last change to a file, or to a folder and anything in it (so that a deleted file counts too). */
async function lastChangeMs(path: string): Promise<number> {
  const info = await Deno.stat(path);
  let latest = info.mtime?.getTime() ?? Infinity;
  if (info.isDirectory) {
    for await (const entry of Deno.readDir(path)) {
      latest = Math.max(latest, await lastChangeMs(join(path, entry.name)));
    }
  }
  return latest;
}

async function isUpToDate(): Promise<boolean> {
  try {
    const sources = SOURCES.map((source) => lastChangeMs(join(ROOT, source)));
    return await lastChangeMs(OUTPUT) > Math.max(...await Promise.all(sources));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Runs `deno compile`.
 *
 * @returns `false` where denort could not be downloaded.
 * @throws {Error} If it failed for another reason, after showing what it said.
 */
async function compile(
  deno: string,
  args: string[],
  env: Record<string, string>,
): Promise<boolean> {
  const unreachable = new AbortController();
  const child = new Deno.Command(deno, {
    args: [...COMPILE, ...args, "main.ts"],
    cwd: ROOT,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0", RUST_MIN_STACK: STACK_BYTES, ...env },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.any([unreachable.signal, AbortSignal.timeout(COMPILE_TIMEOUT_MS)]),
  }).spawn();

  let downloads = false;
  const said: string[] = [];
  const lines = child.stderr.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) {
    said.push(line);
    const url = DENORT_DOWNLOAD.exec(line)?.[1];
    if (url !== undefined) {
      downloads = true;
      // The download itself has no time limit, and a firewall that drops packets would let it wait
      // for minutes.
      fetch(url, { method: "HEAD", signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
        .then(() => console.error(line), () => unreachable.abort());
    }
  }
  if ((await child.status).success) return true;
  if (downloads) return false;
  console.error(said.join("\n"));
  throw new Error("deno compile failed");
}

/** Writes the program to `output` and returns the version of the Deno that made it. */
async function make(output: string): Promise<string> {
  if (await compile(Deno.execPath(), ["--output", output], {})) return Deno.version.deno;
  console.error("The base binary of deno compile cannot be downloaded: taking one from npm");
  const { version, deno, denort } = await npmToolchain();
  // The Deno that runs this has just cached every dependency, by its own rules for certificates.
  await compile(deno, ["--cached-only", "--output", output], { DENORT_BIN: denort });
  return version;
}

async function main(): Promise<void> {
  if (!Deno.args.includes("--force") && await isUpToDate()) return;
  const startSeconds = Date.now() / 1000;
  await ensureDir(dirname(OUTPUT));
  const temporary = await Deno.makeTempDir({ dir: dirname(OUTPUT) });
  try {
    const output = join(temporary, "kvs");
    const version = await make(output);
    const { size } = await Deno.stat(output);
    // A source that was changed meanwhile is newer than what was made without that change.
    await Deno.utime(output, startSeconds, startSeconds);
    // dist/kvs is never half there, and a kvs that is running goes on undisturbed.
    await Deno.rename(output, OUTPUT);
    console.error(`Compiled dist/kvs with Deno ${version}: ${format(size)}`);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Error)) throw error;
  console.error(`Cannot compile dist/kvs: ${error.message}`);
  Deno.exit(1);
}
