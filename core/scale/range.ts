/** A range of keys on its way: what a source told, parted by target. */
import { parseJson } from "../client/json.ts";
import { type Layout, nextOf, ownerIn } from "../layout/layout.ts";
import { KvsError } from "../errors.ts";

/** A value that is too large for a line. Its range holds no other key. */
export interface LargeValue {
  readonly key: string;
  readonly type: string;
  readonly size: number;
}

/** A fenced range, as its source told it. */
export interface Range {
  readonly fence: number;
  /** The range begins behind this key; `null`: with the first key. */
  readonly after: string | null;
  /** The last key of the range; `null`: it has no end. */
  readonly upto: string | null;
  /** A line of JSON for each key of the range that has another target. */
  readonly lines: readonly string[];
}

/** What the targets of a range get. */
export interface Parcels {
  readonly keys: number;
  /** The sizes of the values, as they stand in the lines. */
  readonly bytes: number;
  /** The lines of each target that gets any, each with a line feed. */
  readonly lines: ReadonlyMap<string, string>;
  /** The large value, if the range is one. */
  readonly large: (LargeValue & { readonly target: string }) | undefined;
}

/** Parts a range by the targets of its keys. @throws {KvsError} If a line is none of a range. */
export function partRange({ lines }: Range, layout: Layout): Parcels {
  const next = nextOf(layout);
  const parts = new Map<string, string[]>();
  let bytes = 0;
  let large: Parcels["large"];
  for (const line of lines) {
    const entry = parseEntry(line);
    const target = ownerIn(next, entry.key);
    if (entry.size !== undefined) {
      bytes += entry.size;
      large = { key: entry.key, type: entry.type, size: entry.size, target };
      continue;
    }
    bytes += entry.bytes;
    const part = parts.get(target);
    if (part === undefined) parts.set(target, [line, "\n"]);
    else part.push(line, "\n");
  }
  const joined = [...parts].map(([target, part]) => [target, part.join("")] as const);
  return { keys: lines.length, bytes, lines: new Map(joined), large };
}

interface Entry {
  readonly key: string;
  readonly type: string;
  readonly bytes: number;
  /** Of a large value only. */
  readonly size: number | undefined;
}

function parseEntry(line: string): Entry {
  const json = parseJson(line);
  if (json !== undefined && "key" in json && typeof json.key === "string") {
    const { key } = json;
    const type = "type" in json && typeof json.type === "string" ? json.type : "";
    const entry = { key, type, size: undefined };
    if ("value" in json && typeof json.value === "string") {
      return { ...entry, bytes: json.value.length };
    }
    if ("base64" in json && typeof json.base64 === "string") {
      return { ...entry, bytes: Math.floor(json.base64.length * 3 / 4) };
    }
    if ("size" in json && typeof json.size === "number") {
      return { ...entry, bytes: 0, size: json.size };
    }
  }
  throw new KvsError(`A range holds a line that is none: ${line.slice(0, 100)}`);
}
