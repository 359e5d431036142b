/** What the parts of the benchmark hand each other. */

/** What a client does to a key. */
export type Operation = "load" | "save";

/** How a protocol says where an answer ends and whether it is a good one. */
export type Framing = "http" | "resp" | "memcached" | "grpc";

/** Digits of every key's number; `redis-benchmark` writes as many. */
export const KEY_DIGITS = 12;

/** A request with its key's number cut out, one character a byte: the digits go in between. */
export interface Template {
  readonly before: string;
  readonly after: string;
}

/** A protocol as one store speaks it. */
export interface Dialect {
  readonly framing: Framing;
  /** What a client sends first on each connection. */
  readonly greeting?: string;
  /** Whether the server closes the connection after each answer. */
  readonly closes?: boolean;
  /** The request on key `prefix` + number; `undefined` where the store has none such. */
  template(operation: Operation, prefix: string, valueBytes: number): Template | undefined;
}

/** What a generator is to send, and where. */
export interface Traffic {
  readonly port: number;
  readonly framing: Framing;
  readonly greeting: string;
  readonly closes: boolean;
  readonly load: Template | undefined;
  readonly save: Template | undefined;
  /** Share of loads, 0 to 1. */
  readonly loadShare: number;
  readonly prefix: string;
  readonly valueBytes: number;
  /** Keys are taken at random from so many. */
  readonly keys: number;
  /** Connections, each with one request under way. */
  readonly inFlight: number;
  /** How long; `undefined` goes through the keys once, in order. */
  readonly seconds: number | undefined;
}

/** What a generator saw. */
export interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests that failed or were answered with an error. */
  readonly errors: number;
}

/** A program under test that is running. */
export interface Running {
  readonly pids: readonly number[];
  /** Ports by what they are for; `main` for most. */
  readonly ports: Readonly<Record<string, number>>;
  /** Ends it at once: nothing that it wrote is needed any more. */
  stop(): Promise<void>;
}

/** How a program under test is started. */
export interface StartOptions {
  /** An empty folder of its own; `data` in it holds the key files, if it serves files. */
  readonly folder: string;
  /** Whether saves are to survive a power cut; the program's defaults apply otherwise. */
  readonly durable: boolean;
}

/**
 * How a server comes by its keys: it serves `files` put into `data` before it starts, or they are
 * saved to it in a dialect, on a port by name; or it needs none.
 */
export type KeySource = "files" | "none" | { readonly dialect: Dialect; readonly port: string };

/** A program that can be put under test. */
export interface Server {
  readonly name: string;
  /** How it comes by the keys that are loaded from it. */
  readonly keys: KeySource;
  /** Whether it caches what it loads from files. */
  readonly caches?: boolean;
  /** Why it cannot be used here; `undefined` where it can. */
  missing(): Promise<string | undefined>;
  start(options: StartOptions): Promise<Running>;
}

/** Makes a load and reports what came of it. */
export type Generator = (traffic: Traffic, folder: string) => Promise<Sample>;

/** A row of a table: a server and the way it is spoken to. */
export interface Contender {
  /** Names it in goals and in JSON. */
  readonly id: string;
  readonly label: string;
  readonly server: Server;
  readonly dialect: Dialect;
  readonly generator: Generator;
  /** The port by name that answers this workload. */
  port(workload: Workload): string;
}

/** One table. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  /** Whether saves must be durable: decides how servers are started. */
  readonly durable: boolean;
  /** Share of loads, 0 to 1. */
  readonly loadShare: number;
  readonly valueBytes: number;
  readonly keys: number;
  readonly inFlight: number;
  /** First character of its keys; no other workload has it. */
  readonly prefix: string;
  readonly contenders: readonly Contender[];
  /** Whether each key is loaded once before measuring, so that what caches has had its chance. */
  readonly warm?: boolean;
  /** In place of those of the command line. */
  readonly rounds?: number;
  readonly seconds?: number;
}

/** One round of one contender. */
export interface Round extends Sample {
  /** CPU seconds that the server took per second. */
  readonly serverCpu: number;
}

/** A goal and what came of it. */
export interface Outcome {
  readonly goal: string;
  readonly measured: string;
  readonly passed: boolean;
}
