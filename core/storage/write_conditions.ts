/** Decides conditional writes when their batch is about to be written. */
import { KvsError, messageOf, PreconditionFailedError } from "../errors.ts";
import { type Condition, type IfMatch } from "../store.ts";
import { PendingCarry, type PendingWrite, SupersededError } from "./pending_write.ts";

/** Looks up what is durable before a batch. */
export interface DurableState {
  /** Whether `key` has a value. */
  has(key: string): boolean;
  /** Returns the ETag of the value of `key`, which has one. */
  etagOf(key: string): Promise<string | undefined>;
}

/**
 * Sets `failure` on each write of a batch whose condition does not hold. A condition is compared with what is durable
 * and with the writes before it in the same batch, which become durable together or not at all. So no write ever
 * succeeds because of a write that failed.
 */
export async function decideConditions(
  writes: readonly PendingWrite[],
  durable: DurableState,
): Promise<void> {
  const inBatch = new Map<string, PendingWrite>();
  for (const write of writes) {
    const { key, condition } = write;
    if (write instanceof PendingCarry && (inBatch.has(key) || !write.entry.isPending)) {
      write.failure = new SupersededError("A newer write has taken its place");
    }
    if (condition !== undefined) {
      const before = inBatch.get(key);
      try {
        if (!await holds(condition, key, before, durable)) {
          write.failure = preconditionFailed();
        }
      } catch (error) {
        write.failure = error instanceof KvsError ? error : unreadable(error);
      }
    }
    if (write.failure === undefined) inBatch.set(key, write);
  }
}

function unreadable(cause: unknown): Error {
  return new Error(`Cannot read the value to compare with: ${messageOf(cause)}`, { cause });
}

async function holds(
  condition: Condition,
  key: string,
  before: PendingWrite | undefined,
  durable: DurableState,
): Promise<boolean> {
  const exists = before === undefined ? durable.has(key) : before.state !== undefined;
  if (condition === "absent") return !exists;
  if (condition === "present" || !exists) return exists;
  const etag = before === undefined ? await durable.etagOf(key) : before.state?.etag;
  return etag !== undefined && condition.etags.includes(etag);
}

/** Whether a key is as `expected`; `etag` is the ETag of its value, `undefined` if the key is absent. */
export function isAsExpected(expected: IfMatch, etag: string | undefined): boolean {
  return etag !== undefined && (expected === "present" || expected.etags.includes(etag));
}

/** The error that tells of a condition that does not hold. */
export function preconditionFailed(): PreconditionFailedError {
  return new PreconditionFailedError(
    "Precondition failed: the key is not in the state that the request names",
  );
}
