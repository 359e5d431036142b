/**
 * The words of the layout protocol (layouts, marks, ranges) as a program of their own: written from the
 * specification alone, so that it shares no mistake with the code under test.
 */
import { assertEquals } from "@std/assert";

/** A layout as it goes over the wire. */
export interface LayoutDocument {
  readonly cluster: string;
  readonly epoch: number;
  readonly since: number;
  readonly placement: string;
  readonly servers: readonly string[];
  readonly next?: readonly string[];
  readonly nextPlacement?: string;
  readonly lost?: readonly string[];
  readonly stores: Readonly<Record<string, string>>;
}

/** How far a source has handed its keys over: up to `mark`, or all of them. */
export interface Progress {
  readonly mark: string | null;
  readonly end: boolean;
}

/** The answer to `GET /v1/layout`. */
export interface State extends Progress {
  readonly layout: LayoutDocument | null;
  readonly self: string | null;
  readonly store: string;
  readonly keys: number;
  readonly stopped: unknown;
}

/** A key as a handover tells it and a take brings it. */
export interface KeyLine {
  readonly key: string;
  readonly value?: string;
  readonly base64?: string;
  readonly type: string;
  readonly etag: string;
  readonly size?: number;
}

/** A range under a fence, or the news that nothing is left. */
export interface Handover {
  readonly fence: number;
  readonly after: string | null;
  readonly upto: string | null;
  readonly lines: readonly KeyLine[];
}

const encoder = new TextEncoder();

/** The order of keys: bytes of UTF-8, not UTF-16 units. */
export function compareKeys(a: string, b: string): number {
  const left = encoder.encode(a);
  const right = encoder.encode(b);
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** The server of a list that holds a key by the placement `modulo`. */
export function placed(list: readonly string[], key: string): string {
  let hash = 0;
  for (const character of key) {
    hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  }
  const name = list[hash % list.length];
  if (name === undefined) throw new Error("The list of servers is empty");
  return name;
}

export function sourceOf(layout: LayoutDocument, key: string): string {
  return placed(layout.servers, key);
}

export function targetOf(layout: LayoutDocument, key: string): string {
  return placed(layout.next ?? layout.servers, key);
}

/** The value of the header `Kvs-Layout`. */
export function headerOf({ cluster, epoch }: LayoutDocument, moved = false): string {
  return `${cluster}:${epoch}${moved ? ";moved" : ""}`;
}

/** An answer, read to its end. */
export class Reply {
  constructor(
    readonly status: number,
    readonly headers: Headers,
    readonly bytes: Uint8Array<ArrayBuffer>,
  ) {}

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }

  /** Its JSON, as what the specification says that it is. */
  json<T>(): T {
    const value: T = JSON.parse(this.text);
    return value;
  }

  /** Its lines of NDJSON. */
  lines<T>(): T[] {
    return this.text.split("\n").filter((line) => line !== "").map((line) => {
      const value: T = JSON.parse(line);
      return value;
    });
  }
}

/** How much a range holds, and how long its fence stands (milliseconds). */
export interface Limits {
  readonly keys?: number;
  readonly bytes?: number;
  readonly leaseMs?: number;
}

export function pathOf(key: string): string {
  return `/v1/keys/${encodeURIComponent(key)}`;
}

/** The range of a handover's answer; undefined if all is handed over. */
export function rangeOf(reply: Reply): Handover | undefined {
  assertEquals(reply.status, 200, reply.text);
  const [first, ...lines] = reply.text.split("\n").filter((line) => line !== "");
  const head: { end?: boolean; fence: number; after: string | null; upto: string | null } = JSON
    .parse(first ?? "");
  if (head.end === true) {
    assertEquals(lines, [], "No key comes with the end");
    return undefined;
  }
  return { ...head, lines: lines.map((line): KeyLine => JSON.parse(line)) };
}

/** The range of a handover's answer, which has to have one. */
export function fencedRange(reply: Reply): Handover {
  const range = rangeOf(reply);
  if (range === undefined) throw new Error("All is handed over");
  return range;
}

/** What the first line of a take says beside its range. */
export interface TakeHead {
  readonly source: string;
  readonly attempt: number;
  readonly large?: { readonly key: string; readonly type: string; readonly size: number };
}

/** The body of a take: its first line, then keys, or the raw bytes of one large value. */
export function takeBody(
  { cluster, epoch, since }: LayoutDocument,
  { fence, after, upto }: Omit<Handover, "lines">,
  head: TakeHead,
  keys: readonly KeyLine[] | Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const first = { cluster, epoch, since, fence, after, upto, ...head };
  if (keys instanceof Uint8Array) {
    const line = encoder.encode(JSON.stringify(first) + "\n");
    const body = new Uint8Array(line.length + keys.length);
    body.set(line);
    body.set(keys, line.length);
    return body;
  }
  return encoder.encode([first, ...keys].map((line) => JSON.stringify(line) + "\n").join(""));
}
