/** The programs that make load: `wrk`, `redis-benchmark`, and the built-in one for the rest. */
import { fromFileUrl } from "@std/path";
import { findProgram, run } from "./stage.ts";
import { KEY_DIGITS, type Sample, type Template, type Traffic } from "./types.ts";
import { valueOf } from "./dialects.ts";

const RAW_LOAD = fromFileUrl(new URL("raw_load.ts", import.meta.url));

/** What starting and ending may take, and a pass through many keys. */
const SLACK_MS = 60_000;

/** Up to so many keys the requests are made before the start and not while it runs. */
const MAX_PREPARED = 10_000;

const wrk = await findProgram("wrk");
const redisBenchmark = await findProgram("redis-benchmark");

/** What the machine has, for the head of the report. */
export const GENERATORS: readonly string[] = [
  wrk === undefined
    ? "HTTP: built-in generator; wrk is not installed (Debian package wrk)"
    : "HTTP: wrk, one thread",
  redisBenchmark === undefined
    ? "Redis: built-in generator"
    : "Redis: redis-benchmark -P 1 (built-in generator for mixed loads)",
  "memcached, etcd (gRPC), Redis once more: built-in generator",
];

/** The built-in generator: any protocol, and checks each answer. */
export async function rawLoad(traffic: Traffic, folder: string): Promise<Sample> {
  const file = await Deno.makeTempFile({ dir: folder, suffix: ".json" });
  await Deno.writeTextFile(file, JSON.stringify(traffic));
  const args = ["run", "--allow-all", "--quiet", "--no-config", "--no-lock", RAW_LOAD, file];
  const { stdout } = await run(Deno.execPath(), args, timeoutMs(traffic));
  const sample: Sample = JSON.parse(stdout);
  return sample;
}

/** `wrk` where it is installed, else the built-in generator. */
export async function httpLoad(traffic: Traffic, folder: string): Promise<Sample> {
  if (wrk === undefined || traffic.seconds === undefined) return await rawLoad(traffic, folder);
  const script = await Deno.makeTempFile({ dir: folder, suffix: ".lua" });
  await Deno.writeTextFile(script, luaScript(traffic));
  // One thread leaves a core to the server on a machine with two.
  // deno-fmt-ignore
  const args = [
    "-t", "1", "-c", String(traffic.inFlight), "-d", `${Math.ceil(traffic.seconds)}s`,
    "--timeout", "10s", "--script", script, `http://127.0.0.1:${traffic.port}/`,
  ];
  const { stdout } = await run(wrk, args, timeoutMs(traffic));
  // wrk has printed a text before what the script prints.
  const sample: Sample = JSON.parse(stdout.slice(stdout.lastIndexOf("\n{")));
  return sample;
}

function timeoutMs(traffic: Traffic): number {
  return (traffic.seconds ?? 0) * 1000 + SLACK_MS;
}

/** Writes `text` (one character a byte) as a string of Lua. */
function luaString(text: string): string {
  const escaped = text.replace(
    /[^ !#-\[\]-~]/g,
    (character) => `\\${String(character.charCodeAt(0)).padStart(3, "0")}`,
  );
  return `"${escaped}"`;
}

function luaTemplate(name: string, template: Template | undefined): string {
  return template === undefined
    ? `local ${name}`
    : `local ${name} = { ${luaString(template.before)}, ${luaString(template.after)} }`;
}

function luaScript(traffic: Traffic): string {
  return `
${luaTemplate("load", traffic.load)}
${luaTemplate("save", traffic.save)}
local keys, share, prepared = ${traffic.keys}, ${traffic.loadShare}, {}
local random, format = math.random, string.format

local function make(template, key)
  return template[1] .. format("%0${KEY_DIGITS}d", key) .. template[2]
end

function init()
  math.randomseed(${Math.floor(Math.random() * 2 ** 31)})
  if keys > ${MAX_PREPARED} then return end
  for _, template in pairs({ load = load, save = save }) do
    prepared[template] = {}
    for key = 0, keys - 1 do prepared[template][key] = make(template, key) end
  end
end

function request()
  local template = random() < share and load or save
  local key = random(0, keys - 1)
  local ready = prepared[template]
  return ready and ready[key] or make(template, key)
end

function done(summary, latency)
  local errors = summary.errors
  io.write("\\n", format(
    '{"perSecond":%.3f,"p50Ms":%.4f,"p99Ms":%.4f,"errors":%d}\\n',
    summary.requests * 1e6 / summary.duration,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
`;
}

/** How long the built-in generator tries out how many requests make a round. */
const TRIAL_SECONDS = 0.2;

/** `redis-benchmark` without pipelining where it is installed and can make such a load. */
export async function redisLoad(traffic: Traffic, folder: string): Promise<Sample> {
  const mixed = traffic.loadShare > 0 && traffic.loadShare < 1;
  const { seconds } = traffic;
  if (redisBenchmark === undefined || mixed || seconds === undefined) {
    return await rawLoad(traffic, folder);
  }
  // It counts requests and not time.
  const trial = await rawLoad({ ...traffic, seconds: TRIAL_SECONDS }, folder);
  const requests = Math.ceil(trial.perSecond * seconds);
  return await countedRedisLoad(redisBenchmark, traffic, requests);
}

async function countedRedisLoad(
  program: string,
  traffic: Traffic,
  requests: number,
): Promise<Sample> {
  const { prefix, keys, loadShare, valueBytes } = traffic;
  const key = prefix + (keys === 1 ? "0".repeat(KEY_DIGITS) : "__rand_int__");
  // deno-fmt-ignore
  const args = [
    "-h", "127.0.0.1", "-p", String(traffic.port), "-c", String(traffic.inFlight), "-P", "1",
    "-n", String(requests), ...(keys === 1 ? [] : ["-r", String(keys)]), "--csv",
    ...(loadShare === 1 ? ["GET", key] : ["SET", key, valueOf(valueBytes)]),
  ];
  const { stdout } = await run(program, args, timeoutMs(traffic));
  // rate, average, minimum, p50, p95, p99, maximum; the command before them holds no quotes.
  const fields = stdout.trim().split("\n").at(-1)?.split(",").slice(-7) ?? [];
  const [perSecond, , , p50Ms, , p99Ms] = fields.map((field) => Number(field.replaceAll('"', "")));
  if (perSecond === undefined || p50Ms === undefined || p99Ms === undefined) {
    throw new Error(`redis-benchmark printed ${JSON.stringify(stdout.slice(-200))}`);
  }
  return { perSecond, p50Ms, p99Ms, errors: 0 };
}
