/**
 * A layout says which servers hold the keys of a cluster, by which placement, and what is changing. Each server keeps
 * the newest one that it was given. docs/scaling.md tells the protocol.
 */
import { InvalidLayoutError } from "../errors.ts";
import { compareKeys, displayKey } from "../key.ts";
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
  /**
   * The servers whose disks were lost in this move. What such a source had not handed over is lost, so its keys count as
   * handed over to the end.
   */
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

/** The id of the store of the server `name`, if the layout names one. */
export function storeOf(layout: Layout, name: string): string | undefined {
  return Object.hasOwn(layout.stores, name) ? layout.stores[name] : undefined;
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

/** An item of a server list. */
const NAME = /^(https?:\/\/)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[1-9]\d{0,4})?$/;

/** The longest name: that of a host of 253 characters, with scheme and port. */
const MOST_NAME_CHARACTERS = 267;

/** The most servers of a list. */
const MOST_SERVERS = 10_000;

/**
 * Reads a layout from parsed JSON. Unknown fields are refused, since a server must not keep a part of a layout.
 *
 * @throws {InvalidLayoutError} If it is none; the message says which field is wrong.
 */
export function parseLayout(json: unknown): Layout {
  if (!isObject(json) || Array.isArray(json)) throw invalid("expected an object");
  const { cluster, epoch, since, placement, servers, next, nextPlacement, lost, stores, ...rest } =
    json;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw invalid(`unknown field "${shorten(unknown)}"`);
  if (!isUuid(cluster)) throw invalid('"cluster" is no UUID');
  if (!isEpoch(epoch)) throw invalid('"epoch" is no positive whole number');
  if (!isPlacementName(placement)) throw invalid('"placement" is none');
  if (!isServerNames(servers)) throw invalid('"servers" is no list of different names');
  const ids = readStores(stores);
  if (since !== undefined && (!isEpoch(since) || since > epoch)) {
    throw invalid('"since" is no epoch up to "epoch"');
  }
  if (next === undefined) {
    if (nextPlacement !== undefined || lost !== undefined) throw invalid('"next" is missing');
    // Only a move has a beginning. So two steady layouts that say the same are the same text.
    return checkStores({ cluster, epoch, since: epoch, placement, servers, stores: ids });
  }
  if (since === undefined) throw invalid('"since" is missing');
  if (!isServerNames(next)) throw invalid('"next" is no list of different names');
  if (next[0] !== servers[0]) throw invalid("the first server is the anchor and has to stay");
  const target = nextPlacement === undefined ? placement : nextPlacement;
  if (!isPlacementName(target)) throw invalid('"nextPlacement" is none');
  const gone = readLost(lost, [...servers, ...next]);
  const move = { next, nextPlacement: target, lost: gone };
  return checkStores({ cluster, epoch, since, placement, servers, ...move, stores: ids });
}

function checkStores(layout: Layout): Layout {
  const missing = membersOf(layout).find((name) => storeOf(layout, name) === undefined);
  if (missing !== undefined) throw invalid(`"stores" does not name the store of ${missing}`);
  return layout;
}

function readStores(json: unknown): Record<string, string> {
  if (!isObject(json) || Array.isArray(json)) throw invalid('"stores" is no object');
  const stores: [string, string][] = [];
  for (const [name, id] of Object.entries(json)) {
    if (!isUuid(id)) throw invalid(`the store of ${shorten(name)} is no UUID`);
    stores.push([name, id]);
  }
  return Object.fromEntries(stores);
}

function readLost(json: unknown, members: readonly string[]): readonly string[] {
  if (json === undefined) return [];
  if (!isTexts(json) || new Set(json).size < json.length) {
    throw invalid('"lost" is no list of different names');
  }
  const stranger = json.find((name) => !members.includes(name));
  if (stranger !== undefined) {
    throw invalid(`"lost" names ${shorten(stranger)}, which is in neither list`);
  }
  return json;
}

/** Whether `value` is a UUID in lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === "string" && UUID.test(value);
}

/** Whether `value` is the number of a layout. */
export function isEpoch(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

/** Whether `value` is the name of a server: its address, as a server list has it. */
export function isServerName(value: unknown): value is string {
  return typeof value === "string" && value.length <= MOST_NAME_CHARACTERS && NAME.test(value);
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

/** A text of somebody else in a message of one line. */
function shorten(text: string): string {
  return displayKey(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function invalid(why: string): InvalidLayoutError {
  return new InvalidLayoutError(`Invalid layout: ${why}`);
}
