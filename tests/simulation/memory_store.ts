/** A store in memory, whose writes become durable and visible when a scheduler says so. */
import { PreconditionFailedError } from "../../core/errors.ts";
import { compareKeys } from "../../core/key.ts";
import {
  type Admit,
  type Condition,
  type IncomingValue,
  type ListOptions,
  type SetResult,
  type Store,
} from "../../core/store.ts";
import { Value } from "../../core/value.ts";

/** The keys and values that a power cut leaves. */
export type Durable = Map<string, Value>;

/** The store of one start of a server. */
export class MemoryStore implements Store {
  writes = 0;
  readonly #durable: Durable;
  readonly #pause: () => Promise<void>;
  #last: Promise<unknown> = Promise.resolve();

  /** @param pause Resolves when the next write is durable; never again after a crash. */
  constructor(durable: Durable, pause: () => Promise<void>) {
    this.#durable = durable;
    this.#pause = pause;
  }

  get size(): number {
    return this.#durable.size;
  }

  get(key: string): Value | undefined {
    return this.#durable.get(key);
  }

  async set(
    key: string,
    value: Value | IncomingValue,
    condition?: Condition,
    admit?: Admit,
  ): Promise<SetResult> {
    const whole = value instanceof Value ? value : await wholeOf(value);
    return await this.#write(key, condition, admit, () => {
      const created = !this.#durable.has(key);
      this.#durable.set(key, whole);
      return { created, etag: whole.etag };
    });
  }

  delete(key: string, condition?: Condition, admit?: Admit): Promise<boolean> {
    return this.#write(key, condition, admit, () => this.#durable.delete(key));
  }

  async settled(): Promise<void> {
    await this.#last.catch(() => {});
  }

  list({ prefix = "", after, limit = Infinity }: ListOptions = {}): string[] {
    return [...this.#durable.keys()]
      .filter((key) =>
        key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0)
      )
      .sort(compareKeys).slice(0, limit);
  }

  async close(): Promise<void> {
    await this.settled();
  }

  async #write<T>(
    key: string,
    condition: Condition | undefined,
    admit: Admit | undefined,
    apply: () => T,
  ): Promise<T> {
    for (let wait = admit?.(); wait !== undefined; wait = admit?.()) await wait;
    const before = this.#last;
    const write = (async () => {
      await before;
      await this.#pause();
      if (!holds(condition, this.#durable.get(key))) {
        throw new PreconditionFailedError("Precondition failed");
      }
      this.writes++;
      return apply();
    })();
    this.#last = write.catch(() => {});
    return await write;
  }
}

function holds(condition: Condition | undefined, value: Value | undefined): boolean {
  if (condition === undefined) return true;
  if (condition === "absent") return value === undefined;
  if (value === undefined) return false;
  return condition === "present" || condition.etags.includes(value.etag);
}

async function wholeOf({ chunks, contentType }: IncomingValue): Promise<Value> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  return new Value(await new Blob(parts).bytes(), contentType);
}
