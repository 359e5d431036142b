/** What servers tell of their layout to who asked the wrong one, or asks for the layout. */
import { RemoteError } from "../errors.ts";
import { type Layout, type Mark, parseLayout } from "../layout/layout.ts";
import { isObject } from "../protocol.ts";

/** A layout and a mark, as one server has them. */
export interface LayoutTold {
  /** `undefined` if the server has none. */
  readonly layout: Layout | undefined;
  /** Up to which key the server has handed its keys over. */
  readonly mark: Mark;
}

/** Reads what a server tells; `undefined` if it tells nothing of a layout. */
export function parseTold(json: unknown): LayoutTold | undefined {
  if (!isObject(json) || json.layout === undefined) return undefined;
  const mark = parseMark(json);
  if (json.layout === null) return { layout: undefined, mark };
  try {
    return { layout: parseLayout(json.layout), mark };
  } catch {
    return undefined;
  }
}

/** The mark in an answer. */
export function parseMark(json: Readonly<Record<string, unknown>>): Mark {
  const { mark, end } = json;
  return { key: typeof mark === "string" ? mark : undefined, end: end === true };
}

/** Thrown when a server answers 421: by its layout another server answers for the key. */
export class MisdirectedError extends RemoteError {
  /** What the server told of its layout, if it did. */
  readonly told: LayoutTold | undefined;

  constructor(server: string, message: string, told: LayoutTold | undefined) {
    super(server, 421, message);
    this.told = told;
  }
}
