/** The target's side of a hand-over: it makes its own content of a range equal to what the source has. */
import { decodeBase64 } from "@std/encoding/base64";
import { InvalidLayoutError, LayoutConflictError } from "../errors.ts";
import { checkKey } from "../key.ts";
import { ownerIn } from "../layout/layout.ts";
import { isInRange, type Place } from "../layout/ownership.ts";
import { isObject, isOptionalText } from "../protocol.ts";
import { type Admit, type IncomingValue, type Store } from "../store.ts";
import { Value } from "../value.ts";
import { checkEpoch } from "./handover.ts";
import { deleteKeys } from "./delete_keys.ts";
import { type Membership } from "./membership.ts";
import { checkContentType } from "./request_value.ts";

/** The first line of a take: which range of which source it is. */
export interface TakenRange {
  readonly cluster: string;
  readonly epoch: number;
  readonly since: number;
  readonly source: string;
  readonly fence: number;
  readonly attempt: number;
  readonly after: string | null;
  readonly upto: string | null;
  /** The value that is alone in the range, if the rest of the body is its bytes. */
  readonly large: LargeEntry | undefined;
}

/** A large value, as the first line of its take tells of it. */
export interface LargeEntry {
  readonly key: string;
  readonly type: string;
  /** Bytes. */
  readonly size: number;
}

/** The content of a range: values by key. */
export type TakenValues = ReadonlyMap<string, Value | IncomingValue>;

/**
 * The place of this server, if it takes part in the move of a range.
 *
 * @throws {LayoutConflictError} If it does not.
 */
export function targetOf(membership: Membership, range: TakenRange): Place {
  const { place, isOut } = membership;
  if (place === undefined || isOut) {
    throw new LayoutConflictError("This server has no layout by which it serves", "behind");
  }
  checkEpoch(place.layout, range.cluster, range.epoch);
  if (!place.isMoving || !place.isNext || place.layout.since !== range.since) {
    throw new LayoutConflictError("This server is no target of the move", "behind");
  }
  if (range.source === place.self || !place.layout.servers.includes(range.source)) {
    throw new LayoutConflictError(`${range.source} is no source of this server`, "behind");
  }
  return place;
}

/**
 * Takes a range; durable once resolved.
 *
 * @throws {LayoutConflictError} If a newer take of the source was here.
 */
export async function takeRange(
  store: Store,
  membership: Membership,
  range: TakenRange,
  values: TakenValues,
): Promise<void> {
  const place = targetOf(membership, range);
  const { layout } = place;
  const { source, fence, attempt, epoch, upto } = range;
  // Nothing of a take is put in line any more when a newer one has been noted.
  const isNewest: Admit = () => {
    const { state } = membership;
    const newest = Object.hasOwn(state.takes, source) ? state.takes[source] : undefined;
    const isSame = state.layout?.epoch === epoch && newest?.fence === fence &&
      newest.attempt === attempt;
    if (!isSame) throw new LayoutConflictError("A newer take of this source has come", "old");
    return undefined;
  };
  const begin = async () => {
    await membership.note(source, { epoch, fence, attempt, upto });
    // What an older take had put in line is seen by the listing below.
    await store.settled();
    const after = range.after === null ? {} : { after: range.after };
    const isStale = (key: string) =>
      !values.has(key) && place.isTargetOf(key) && ownerIn(layout, key) === source;
    await deleteKeys(store, after, isStale, { upto: upto ?? undefined, admit: isNewest });
  };
  // A large value for this server comes in first: one that is cut off has not been a take.
  let begun: Promise<void> | undefined;
  const admit: Admit = () => begun === undefined ? begun = begin() : isNewest();
  if (range.large === undefined || values.size === 0) await (begun = begin());
  await Promise.all(Array.from(values, ([key, value]) => store.set(key, value, undefined, admit)));
}

/** Reads the first line of a take. @throws {InvalidLayoutError} If it is none. */
export function parseRange(line: string): TakenRange {
  const json = parseLine(line);
  const { cluster, epoch, since, source, fence, attempt, after = null, upto = null, large } = json;
  if (typeof cluster !== "string" || typeof source !== "string") {
    throw invalid('"cluster" and "source" are texts');
  }
  if (!isCount(epoch) || !isCount(since) || !isCount(fence) || !isCount(attempt)) {
    throw invalid('"epoch", "since", "fence" and "attempt" are positive whole numbers');
  }
  if (!isBound(after) || !isBound(upto)) throw invalid('"after" and "upto" are keys or null');
  const range = { cluster, epoch, since, source, fence, attempt, after, upto };
  return { ...range, large: large === undefined ? undefined : parseLarge(large) };
}

function parseLarge(json: unknown): LargeEntry {
  if (isObject(json)) {
    const { key, type, size } = json;
    if (typeof key === "string" && typeof type === "string" && typeof size === "number") {
      return { key: checkKey(key), type: checkContentType(type), size };
    }
  }
  throw invalid('"large" has "key", "type" and "size"');
}

/**
 * Reads a line of a key, and checks the value by its ETag.
 *
 * @throws {InvalidLayoutError} If it is none, or the value is not the one that the source has.
 */
export function parseEntry(line: string): readonly [key: string, value: Value] {
  const { key, value, base64, type, etag } = parseLine(line);
  if (typeof key !== "string" || typeof type !== "string" || typeof etag !== "string") {
    throw invalid('a key has "key", "type" and "etag"');
  }
  const isOne = (value === undefined) !== (base64 === undefined);
  if (!isOne || !isOptionalText(value) || !isOptionalText(base64)) {
    throw invalid('a key has "value" or "base64"');
  }
  const taken = new Value(value ?? decode(base64 ?? ""), checkContentType(type));
  if (taken.etag !== etag) {
    throw invalid(`the value of ${JSON.stringify(key)} was altered on its way`);
  }
  return [checkKey(key), taken];
}

/** Whether `key` is in a range, comes from its source, and goes to the server of `place`. */
export function isMeant({ after, upto, source }: TakenRange, place: Place, key: string): boolean {
  return isInRange({ after: after ?? undefined, upto: upto ?? undefined }, key) &&
    place.isTargetOf(key) && ownerIn(place.layout, key) === source;
}

function parseLine(line: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw invalid("a line is not JSON");
  }
  if (!isObject(json)) throw invalid("a line is no object");
  return json;
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64(base64);
  } catch {
    throw invalid('"base64" is not base64');
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function isBound(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function invalid(why: string): InvalidLayoutError {
  return new InvalidLayoutError(`Invalid take: ${why}`);
}
