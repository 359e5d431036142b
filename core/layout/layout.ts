/**
 * A layout says which servers hold the keys of a cluster, by which placement, and what is changing. Each server keeps
 * the newest one that it was given. docs/scaling.md tells the protocol.
 */
import { InvalidLayoutError } from "../errors.ts";
import { compareKeys } from "../key.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { isObject } from "../protocol.ts";

/** The servers that hold the keys, and how keys are placed on them. */
export interface Arrangement {
  /** The names of the servers, in the order that placement goes by. The first is the anchor of the cluster. */
  readonly servers: readonly string[];
  readonly placement: PlacementName;
}

/** A layout, in the form in which it is sent and kept. It is steady, or moving if it has `next`. */
export interface Layout extends Arrangement {
  /** A UUID, which was made with the first layout of the cluster. */
  readonly cluster: string;
  /** Each new layout of a cluster has a higher number. */
  readonly epoch: number;
  /** The epoch with which the move began; of a steady layout its own epoch. */
  readonly since: number;
  /** The servers that will hold the keys; the anchor is the first here, too. */
  readonly next?: readonly string[];
  readonly nextPlacement?: PlacementName;
  /** The sources whose disks were lost in this move: their keys count as handed over to the end. */
  readonly lost?: readonly string[];
  /** The id of the store of each server of both lists, by the server's name. */
  readonly stores: Readonly<Record<string, string>>;
}

/** A moving layout. */
export type MovingLayout = Layout & Required<Pick<Layout, "next" | "nextPlacement" | "lost">>;

/** Up to which key a source has handed its keys over. */
export interface Mark {
  /** The last key of the last range; `undefined` before the first. */
  readonly key: string | undefined;
  /** Whether all keys are handed over. */
  readonly end: boolean;
}

/** The mark of a source that has handed nothing over, and of every server that is no source. */
export const NO_MARK: Mark = { key: undefined, end: false };

/** The mark of a source that has handed over all its keys. */
export const END_MARK: Mark = { key: undefined, end: true };

/** Whether `layout` is moving. */
export function isMoving(layout: Layout): layout is MovingLayout {
  return layout.next !== undefined;
}

/** Whether a source with this mark has handed `key` over. */
export function isHandedOver(mark: Mark, key: string): boolean {
  return mark.end || (mark.key !== undefined && compareKeys(key, mark.key) <= 0);
}

/** The arrangement after the move; of a steady layout the one that it has. */
export function nextOf(layout: Layout): Arrangement {
  return isMoving(layout) ? { servers: layout.next, placement: layout.nextPlacement } : layout;
}

/** Whether servers and placement are the same. */
export function sameArrangement(a: Arrangement, b: Arrangement): boolean {
  return a.placement === b.placement && sameNames(a.servers, b.servers);
}

/** Whether both are layouts of the same move, from the same servers to the same servers. */
export function sameMove(a: Layout, b: Layout): boolean {
  return isMoving(a) && isMoving(b) && a.cluster === b.cluster && a.since === b.since &&
    sameArrangement(a, b) && sameArrangement(nextOf(a), nextOf(b));
}

/** Whether two layouts say the same. */
export function sameLayout(a: Layout, b: Layout): boolean {
  return formatLayout(a) === formatLayout(b);
}

/** All servers of both lists, each once: first those of `servers`. */
export function membersOf(layout: Layout): string[] {
  return [...new Set([...layout.servers, ...layout.next ?? []])];
}

/** The name of the owner of `key` in an arrangement. */
export function ownerIn({ servers, placement }: Arrangement, key: string): string {
  return servers[PLACEMENTS[placement](key, servers.length)] ?? "";
}

/** A layout as one line of JSON. The same layout always gives the same text. */
export function formatLayout(layout: Layout): string {
  const { cluster, epoch, since, placement, servers } = layout;
  const move = isMoving(layout)
    ? { next: layout.next, nextPlacement: layout.nextPlacement, lost: layout.lost.toSorted() }
    : {};
  const stores = Object.fromEntries(
    Object.entries(layout.stores).toSorted(([a], [b]) => compareKeys(a, b)),
  );
  return JSON.stringify({ cluster, epoch, since, placement, servers, ...move, stores });
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NAME = /^[!-~]{1,253}$/;

/** The most servers of a list. */
const MOST_SERVERS = 10_000;

/**
 * Reads a layout from parsed JSON. Unknown fields are refused, since a server must not keep a part of a layout.
 *
 * @throws {InvalidLayoutError} If it is none; the message says which field is wrong.
 */
export function parseLayout(json: unknown): Layout {
  if (!isObject(json)) throw invalid("expected an object");
  const { cluster, epoch, since, placement, servers, next, nextPlacement, lost, stores, ...rest } =
    json;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw invalid(`unknown field "${unknown}"`);
  if (!isUuid(cluster)) throw invalid('"cluster" is no UUID');
  if (!isEpoch(epoch)) throw invalid('"epoch" is no positive whole number');
  if (!isSince(since, epoch, next !== undefined)) {
    throw invalid('"since" is no epoch up to "epoch"');
  }
  if (!isPlacementName(placement)) throw invalid('"placement" is none');
  if (!isServerNames(servers)) throw invalid('"servers" is no list of different names');
  // Only a move has a beginning. So two steady layouts that say the same are the same text.
  const steady = {
    cluster,
    epoch,
    since: next === undefined ? epoch : since ?? epoch,
    placement,
    servers,
  };
  const ids = readStores(stores);
  if (next === undefined) {
    if (nextPlacement !== undefined || lost !== undefined) throw invalid('"next" is missing');
    return checkStores({ ...steady, stores: ids });
  }
  if (!isServerNames(next)) throw invalid('"next" is no list of different names');
  if (next[0] !== servers[0]) throw invalid("the first server is the anchor and has to stay");
  const target = nextPlacement === undefined ? placement : nextPlacement;
  if (!isPlacementName(target)) throw invalid('"nextPlacement" is none');
  const gone = lost === undefined ? [] : lost;
  if (!isTexts(gone) || !gone.every((name) => servers.includes(name))) {
    throw invalid('"lost" names a server that is not in "servers"');
  }
  return checkStores({ ...steady, next, nextPlacement: target, lost: gone, stores: ids });
}

function checkStores(layout: Layout): Layout {
  const missing = membersOf(layout).find((name) => layout.stores[name] === undefined);
  if (missing !== undefined) throw invalid(`"stores" does not name the store of ${missing}`);
  return layout;
}

function readStores(json: unknown): Record<string, string> {
  if (!isObject(json) || Array.isArray(json)) throw invalid('"stores" is no object');
  const stores: Record<string, string> = {};
  for (const [name, id] of Object.entries(json)) {
    if (!isUuid(id)) throw invalid(`the store of ${name} is no UUID`);
    stores[name] = id;
  }
  return stores;
}

/** Whether `value` is a UUID in lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === "string" && UUID.test(value);
}

/** Whether `value` is the number of a layout. */
export function isEpoch(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

/** Whether `value` is the name of a server: 1 to 253 visible ASCII characters. */
export function isServerName(value: unknown): value is string {
  return typeof value === "string" && NAME.test(value);
}

function isSince(value: unknown, epoch: number, isNeeded: boolean): value is number | undefined {
  return value === undefined ? !isNeeded : isEpoch(value) && value <= epoch;
}

function isPlacementName(value: unknown): value is PlacementName {
  return typeof value === "string" && Object.hasOwn(PLACEMENTS, value);
}

function isServerNames(value: unknown): value is string[] {
  return isTexts(value) && value.length > 0 && value.length <= MOST_SERVERS &&
    value.every(isServerName) && new Set(value).size === value.length;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}

function invalid(why: string): InvalidLayoutError {
  return new InvalidLayoutError(`Invalid layout: ${why}`);
}
