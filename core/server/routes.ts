/**
 * The routes of a server: one table. The dispatch of requests, `Allow`, the labels of the metrics and
 * the text of `GET /` all come from it, so a route that stands here is known everywhere.
 */
import {
  METRICS,
  V1_BATCH,
  V1_DONE,
  V1_HANDOVER,
  V1_KEYS,
  V1_LAYOUT,
  V1_MOVE,
  V1_STATS,
  V1_TAKE,
} from "../protocol.ts";

/** All methods that a route may have, in the order in which `Allow` names them. */
const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE"] as const;

type Method = typeof METHODS[number];

/** Methods of a route that only shows something: RFC 9110 section 9.3.2. */
const LOOK = ["GET", "HEAD"] as const;

/** The sections of the text of `GET /`, in order; `method`: whether the lines of the section name the method. */
const SECTIONS = [
  {
    name: "book",
    title: "Book routes (GET, plain text; in KEY and WORD write ? as %3F, / as %2F, % as %25)",
    method: false,
  },
  { name: "native", title: "Native routes", method: true },
  { name: "health", title: "Health", method: false },
] as const;

/** One or more methods of a path, which one function answers. */
interface RouteRow {
  /** The name in the metrics, by which the handler finds its function too. Rows may share a name. */
  readonly name: string;
  readonly methods: readonly Method[];
  /** A path; a segment in braces is a parameter: one segment of the request, percent-encoded. */
  readonly pattern: string;
  /** Whether it is guarded and answers 503 while the shard is not serving. */
  readonly touchesData: boolean;
  /** The section of `GET /` that lists it, if one does. */
  readonly section: typeof SECTIONS[number]["name"] | undefined;
  /** Says what the route does, in a line or more. */
  readonly words: string;
}

const KEY = `${V1_KEYS}/{key}`;

const ROWS = [
  {
    name: "save",
    methods: ["GET"],
    pattern: "/save/{key}/{word}",
    touchesData: true,
    section: "book",
    words: "save WORD under KEY, answer WORD",
  },
  {
    name: "load",
    methods: ["GET"],
    pattern: "/load/{key}",
    touchesData: true,
    section: "book",
    words: "the value, or _key_not_found_",
  },
  {
    name: "allKeys",
    methods: ["GET"],
    pattern: "/allKeys",
    touchesData: true,
    section: "book",
    words: "all keys, joined by commas",
  },
  {
    name: "v1_put",
    methods: ["PUT"],
    pattern: KEY,
    touchesData: true,
    section: "native",
    words: "save the body (If-Match, If-None-Match: *)",
  },
  {
    name: "v1_get",
    methods: LOOK,
    pattern: KEY,
    touchesData: true,
    section: "native",
    words: "the value, with ETag (If-Match, If-None-Match)",
  },
  {
    name: "v1_delete",
    methods: ["DELETE"],
    pattern: KEY,
    touchesData: true,
    section: "native",
    words: "delete (If-Match)",
  },
  {
    name: "v1_list",
    methods: LOOK,
    pattern: V1_KEYS,
    touchesData: true,
    section: "native",
    words: "a page of keys: ?prefix= &after= &limit=\n" +
      "(Accept: application/x-ndjson streams them all)",
  },
  {
    name: "v1_batch",
    methods: ["POST"],
    pattern: V1_BATCH,
    touchesData: true,
    section: "native",
    words: 'one JSON operation a line: {"op":"put","key":"a","value":"x"}',
  },
  {
    name: "v1_stats",
    methods: LOOK,
    pattern: V1_STATS,
    touchesData: true,
    section: "native",
    words: "number of keys, and the room that the disk has for more",
  },
  {
    name: "v1_move",
    methods: ["PUT"],
    pattern: V1_MOVE,
    touchesData: true,
    section: "native",
    words: "kvs rebalance says that a move begins, and that it is complete",
  },
  {
    name: "v1_layout",
    methods: LOOK,
    pattern: V1_LAYOUT,
    touchesData: true,
    section: "native",
    words: "the layout of the cluster, if there is one",
  },
  {
    name: "v1_layout_put",
    methods: ["PUT"],
    pattern: V1_LAYOUT,
    touchesData: true,
    section: "native",
    words: "kvs scale gives the next layout",
  },
  {
    name: "v1_handover",
    methods: ["POST"],
    pattern: V1_HANDOVER,
    touchesData: true,
    section: "native",
    words: "kvs scale fences the next range of keys, and gets it",
  },
  {
    name: "v1_take",
    methods: ["POST"],
    pattern: V1_TAKE,
    touchesData: true,
    section: "native",
    words: "kvs scale gives a range of keys to its new server",
  },
  {
    name: "v1_done",
    methods: ["POST"],
    pattern: V1_DONE,
    touchesData: true,
    section: "native",
    words: "kvs scale says that a range has been taken",
  },
  {
    name: "health",
    methods: LOOK,
    pattern: "/healthz",
    touchesData: false,
    section: "health",
    words: "200 while the process can serve at all",
  },
  {
    name: "health",
    methods: LOOK,
    pattern: "/readyz",
    touchesData: false,
    section: "health",
    words: "200 when ready, else 503 with the reason",
  },
  {
    name: "metrics",
    methods: LOOK,
    pattern: METRICS,
    touchesData: false,
    section: "health",
    words: "numbers for Prometheus",
  },
  {
    name: "index",
    methods: LOOK,
    pattern: "/",
    touchesData: false,
    section: undefined,
    words: "this list",
  },
] as const satisfies readonly RouteRow[];

type Row = typeof ROWS[number];

/** The routes that reach the store. */
export type DataRoute = Extract<Row, { touchesData: true }>["name"];

/** The routes that everybody may ask at any time. */
export type OpenRoute = Extract<Row, { touchesData: false }>["name"];

/** The name by which a request is counted: its route, or `other` if it is for none. */
export type RouteName = Row["name"] | "other";

/** The route names, each once. A route's index in it is its number in the metrics. */
export const ROUTE_NAMES: readonly RouteName[] = [
  ...new Set(ROWS.map(({ name }) => name)),
  "other",
];

/** The index of `other`: no such path, a method that the path does not have, no proper request. */
export const OTHER = ROUTE_NAMES.indexOf("other");

/** A row of the table, with its number. */
export type Operation = Row & {
  /** Its index in {@link ROUTE_NAMES}. */
  readonly index: number;
};

/** A path with its methods. */
export class Route {
  readonly pattern: string;
  /** Its methods, as `Allow` names them. */
  readonly allow: string;
  /** The pattern up to its first parameter. */
  readonly prefix: string;
  /** The number of its parameters. */
  readonly parameters: number;
  readonly #operations = new Map<string, Operation>();

  /** @param rows The rows of one pattern. */
  constructor(pattern: string, rows: readonly Row[]) {
    for (const row of rows) {
      const operation = { ...row, index: ROUTE_NAMES.indexOf(row.name) };
      for (const method of row.methods) this.#operations.set(method, operation);
    }
    this.pattern = pattern;
    this.allow = METHODS.filter((method) => this.#operations.has(method)).join(", ");
    const [prefix = "", ...parameters] = pattern.split(/\{\w+\}/);
    this.prefix = prefix;
    this.parameters = parameters.length;
  }

  /** The row of `method`; `undefined` if the route does not have the method. */
  operation(method: string): Operation | undefined {
    return this.#operations.get(method);
  }

  /** Whether `path`, which begins with the prefix, has as many segments as the pattern. */
  fits(path: string): boolean {
    let segments = 1;
    let slash = path.indexOf("/", this.prefix.length);
    while (slash >= 0 && segments <= this.parameters) {
      segments++;
      slash = path.indexOf("/", slash + 1);
    }
    return segments === this.parameters;
  }
}

const ROUTES = [...Map.groupBy(ROWS, ({ pattern }) => pattern)]
  .map(([pattern, rows]) => new Route(pattern, rows));

/** Routes of one path each. */
const PATHS = new Map(
  ROUTES.filter(({ parameters }) => parameters === 0).map((route) => [route.pattern, route]),
);

/** Routes with parameters. No prefix is the beginning of another one. */
const PREFIXES = ROUTES.filter(({ parameters }) => parameters > 0);

/**
 * The route of a raw path, `undefined` if there is none. Allocates nothing, since each request asks.
 * Segments are counted before escapes are decoded, so a `%2F` is part of a segment.
 */
export function findRoute(path: string): Route | undefined {
  for (const route of PREFIXES) {
    if (path.startsWith(route.prefix)) return route.fits(path) ? route : undefined;
  }
  return PATHS.get(path);
}

/** The column in which the words begin in the text of `GET /` (characters). */
const WORDS_AT = 23;

/** The text of `GET /`. */
export const ROUTES_TEXT = [
  "kvs: one shard of a key/value store.\n",
  ...SECTIONS.map(({ name, title, method }) => {
    const rows = ROWS.filter(({ section }) => section === name);
    return `${title}\n${rows.map((row) => lineOf(row, method)).join("")}`;
  }),
].join("\n");

function lineOf({ methods: [first], pattern, words }: Row, withMethod: boolean): string {
  const path = pattern.replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
  const head = `  ${withMethod ? `${first} ` : ""}${path}`;
  return `${head.padEnd(WORDS_AT - 2)}  ${words.replaceAll("\n", `\n${" ".repeat(WORDS_AT)}`)}\n`;
}
