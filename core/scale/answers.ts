/** What servers answer to the mover, as values. */
import { detailOf, parseJson } from "../client/json.ts";
import { type LayoutTold, parseTold } from "../client/layout_told.ts";
import { type Layout } from "../layout/layout.ts";
import { isObject } from "../protocol.ts";
import { type Range } from "./range.ts";

/** What a server tells of itself: the answer of `GET /v1/layout`. */
export interface Seen extends LayoutTold {
  /** Its name in the layout; `undefined` before it was told. */
  readonly self: string | undefined;
  readonly store: string;
  /** Number of keys that it holds. */
  readonly keys: number;
  /** Whether it is about to leave for good. */
  readonly leaving: boolean;
  /** Whether it serves nothing since its cluster went on without it. */
  readonly stopped: boolean;
}

/** Why a server did not do what it was told: the answer 409. */
export interface Refused {
  /** The word for it, if the route has words. */
  readonly reason: string | undefined;
  readonly detail: string;
  /** The layout that the server has. */
  readonly layout: Layout | undefined;
}

const decoder = new TextDecoder();

/** Reads the answer of `GET /v1/layout`; `undefined` if it is none. */
export function parseSeen(bytes: Uint8Array): Seen | undefined {
  const json = parseJson(decoder.decode(bytes));
  if (!isObject(json)) return undefined;
  const told = parseTold(json);
  const { self, store, keys, leaving, stopped } = json;
  if (told === undefined || typeof store !== "string" || typeof keys !== "number") return undefined;
  return {
    ...told,
    self: typeof self === "string" ? self : undefined,
    store,
    keys,
    leaving: leaving === true,
    stopped: stopped !== false && stopped !== undefined && stopped !== null,
  };
}

/** Reads the body of an answer 409. */
export function parseRefusal(bytes: Uint8Array): Refused {
  const json = parseJson(decoder.decode(bytes));
  const { reason } = isObject(json) ? json : {};
  return {
    reason: typeof reason === "string" ? reason : undefined,
    detail: detailOf(bytes),
    layout: parseTold(json)?.layout,
  };
}

/** Reads the answer of `POST /v1/handover`; `undefined` if it is none. */
export function parseRange(text: string): Range | "end" | undefined {
  const [first = "", ...lines] = text.split("\n");
  const json = parseJson(first);
  if (!isObject(json)) return undefined;
  if (json.end === true) return "end";
  const { fence, after, upto } = json;
  if (typeof fence !== "number" || !isKeyOrNull(after) || !isKeyOrNull(upto)) return undefined;
  // An answer that is whole ends with a line feed.
  return lines.pop() === "" ? { fence, after, upto, lines } : undefined;
}

function isKeyOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}
