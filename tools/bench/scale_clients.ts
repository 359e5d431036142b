/**
 * Clients of the library beside a move: `scale_clients.ts SERVERS KEYS CLIENTS`. Nine of ten requests load, one saves.
 * SIGUSR1 begins the second part, SIGTERM ends it; then it prints what each part was like.
 *
 * @module
 */
import { Kvs } from "../../core/client/kvs.ts";
import { keyOf } from "./scale_keys.ts";

/** What one part was like. */
class Part {
  readonly #start = performance.now();
  readonly #waits: number[] = [];

  add(waitMs: number): void {
    this.#waits.push(waitMs);
  }

  end() {
    const seconds = (performance.now() - this.#start) / 1000;
    const sorted = Float64Array.from(this.#waits).sort();
    const at = (share: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return {
      perSecond: sorted.length / seconds,
      p50Ms: at(0.5),
      p999Ms: at(0.999),
      longestMs: sorted.at(-1),
    };
  }
}

const [servers = "", keyCount = "", clients = ""] = Deno.args;
const keys = Number(keyCount);
const store = await Kvs.open(servers, { patienceMs: 60_000, timeoutMs: 20_000 });
const value = "x".repeat(100);
let part = new Part();
let over = false;
let errors = 0;
const parts: ReturnType<Part["end"]>[] = [];

Deno.addSignalListener("SIGUSR1", () => {
  parts.push(part.end());
  part = new Part();
});
Deno.addSignalListener("SIGTERM", () => over = true);

async function work(): Promise<void> {
  while (!over) {
    const key = keyOf(Math.floor(Math.random() * keys));
    const start = performance.now();
    try {
      if (Math.random() < 0.9) {
        if (await store.get(key) === undefined) errors++;
      } else {
        await store.put(key, value);
      }
    } catch {
      errors++;
    }
    part.add(performance.now() - start);
  }
}

console.log("ready");
await Promise.all(Array.from({ length: Number(clients) }, work));
parts.push(part.end());
console.log(JSON.stringify({ parts, errors }));
Deno.exit(0);
