/**
 * A program that keeps its data in kvs: it counts visits. No visit is lost, even if many programs count at
 * the same time and servers restart meanwhile.
 *
 *     kvs cluster                                # in another terminal
 *     deno run --allow-net examples/visits.ts 'localhost:{8000..8002}' front-page
 */
import { Kvs, KvsError, PreconditionFailedError } from "@kvs/kvs";

/** A counter. The id makes each value the only one of its kind. */
interface Visits {
  readonly count: number;
  readonly id: string;
}

/** Adds one to the count under `key`, and returns the new count. */
export async function visit(store: Kvs, key: string): Promise<number> {
  while (true) {
    const before = await store.get(key);
    const count = before === undefined ? 0 : parseVisits(before.text).count;
    const visits: Visits = { count: count + 1, id: crypto.randomUUID() };
    // Only if nobody counted in between. If an answer is lost, the store finds out by the unique value
    // whether this visit was counted.
    const condition = before === undefined ? { ifAbsent: true } : { ifMatch: before.etag };
    try {
      await store.put(key, JSON.stringify(visits), {
        ...condition,
        unique: true,
        contentType: "application/json",
      });
      return visits.count;
    } catch (error) {
      // Somebody did: count again, from what is there now.
      if (!(error instanceof PreconditionFailedError)) throw error;
    }
  }
}

/** Reads a counter. @throws {TypeError} If `text` is none. */
export function parseVisits(text: string): Visits {
  const value: unknown = JSON.parse(text);
  if (
    typeof value === "object" && value !== null && "count" in value && "id" in value &&
    typeof value.count === "number" && typeof value.id === "string"
  ) {
    return { count: value.count, id: value.id };
  }
  throw new TypeError(`Not a counter: ${text}`);
}

if (import.meta.main) {
  const [servers = "localhost:{8000..8002}", page = "front-page"] = Deno.args;
  try {
    const store = await Kvs.open(servers);
    console.log(`${page}: ${await visit(store, `visits/${page}`)}`);
    for await (const key of store.keys({ prefix: "visits/" })) {
      console.log(`${key} is on ${store.ownerOf(key).server.name}`);
    }
  } catch (error) {
    if (!(error instanceof KvsError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
