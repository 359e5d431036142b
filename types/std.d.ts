// Types for the parts of Deno's standard library that deno.json takes from npm, where it is published
// without types. They are the signatures of the same modules on JSR, in places narrowed to what is
// useful here: with the import map pointed at JSR this file can go, and nothing else changes.

declare module "@std/assert" {
  type ErrorClass<E extends Error> = abstract new (...args: never[]) => E;

  export class AssertionError extends Error {
    constructor(message: string, options?: ErrorOptions);
  }

  export function assert(expr: unknown, msg?: string): asserts expr;
  export function assertAlmostEquals(
    actual: number,
    expected: number,
    tolerance?: number,
    msg?: string,
  ): void;
  export function assertArrayIncludes<T>(
    actual: ArrayLike<T>,
    expected: ArrayLike<T>,
    msg?: string,
  ): void;
  export function assertEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
  export function assertFalse(expr: unknown, msg?: string): asserts expr is false;
  export function assertGreater<T>(actual: T, expected: T, msg?: string): void;
  export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertInstanceOf<T>(
    actual: unknown,
    expectedType: abstract new (...args: never[]) => T,
    msg?: string,
  ): asserts actual is T;
  export function assertIsError<E extends Error = Error>(
    error: unknown,
    ErrorClass?: ErrorClass<E>,
    msgMatches?: string | RegExp,
    msg?: string,
  ): asserts error is E;
  export function assertLess<T>(actual: T, expected: T, msg?: string): void;
  export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertObjectMatch(
    actual: Record<PropertyKey, unknown>,
    expected: Record<PropertyKey, unknown>,
    msg?: string,
  ): void;
  export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
  export function assertRejects<E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    ErrorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
  export function assertStrictEquals<T>(
    actual: unknown,
    expected: T,
    msg?: string,
  ): asserts actual is T;
  export function assertStringIncludes(actual: string, expected: string, msg?: string): void;
  export function assertThrows(fn: () => unknown, msg?: string): unknown;
  export function assertThrows<E extends Error = Error>(
    fn: () => unknown,
    ErrorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): E;
  export function equal(a: unknown, b: unknown): boolean;
  export function fail(msg?: string): never;
  export function unimplemented(msg?: string): never;
  export function unreachable(msg?: string): never;
}

declare module "@std/async/deadline" {
  export interface DeadlineOptions {
    signal?: AbortSignal;
  }
  export function deadline<T>(p: Promise<T>, ms: number, options?: DeadlineOptions): Promise<T>;
}

declare module "@std/async/delay" {
  export interface DelayOptions {
    signal?: AbortSignal;
    persistent?: boolean;
  }
  export function delay(ms: number, options?: DelayOptions): Promise<void>;
}

declare module "@std/async/pool" {
  export function pooledMap<T, R>(
    poolLimit: number,
    array: Iterable<T> | AsyncIterable<T>,
    iteratorFn: (data: T) => Promise<R>,
  ): AsyncIterableIterator<R>;
}

declare module "@std/bytes/concat" {
  export function concat(buffers: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
}

declare module "@std/cli/parse-args" {
  export interface ParseOptions {
    "--"?: boolean;
    alias?: Record<string, string | string[]>;
    boolean?: boolean | string | string[];
    collect?: string | string[];
    default?: Record<string, unknown>;
    negatable?: string | string[];
    stopEarly?: boolean;
    string?: string | string[];
    /** Called for each argument that no other option names; `false` drops it from the result. */
    unknown?: (arg: string, key?: string, value?: unknown) => unknown;
  }
  export type Args = Record<string, unknown> & {
    _: (string | number)[];
    "--"?: string[];
  };
  export function parseArgs(args: string[], options?: ParseOptions): Args;
}

declare module "@std/encoding/base64" {
  export function encodeBase64(data: Uint8Array | ArrayBuffer | string): string;
  export function decodeBase64(b64: string): Uint8Array<ArrayBuffer>;
}

declare module "@std/encoding/hex" {
  export function encodeHex(src: Uint8Array | ArrayBuffer | string): string;
  export function decodeHex(src: string): Uint8Array<ArrayBuffer>;
}

declare module "@std/fmt/bytes" {
  export interface FormatOptions {
    binary?: boolean;
    bits?: boolean;
    locale?: boolean | string | string[];
    maximumFractionDigits?: number;
    minimumFractionDigits?: number;
    signed?: boolean;
  }
  export function format(num: number, options?: FormatOptions): string;
}

declare module "@std/fmt/colors" {
  export function getColorEnabled(): boolean;
  export function setColorEnabled(value: boolean): void;
  export function stripAnsiCode(string: string): string;
  export function bold(str: string): string;
  export function dim(str: string): string;
  export function italic(str: string): string;
  export function underline(str: string): string;
  export function inverse(str: string): string;
  export function black(str: string): string;
  export function red(str: string): string;
  export function green(str: string): string;
  export function yellow(str: string): string;
  export function blue(str: string): string;
  export function magenta(str: string): string;
  export function cyan(str: string): string;
  export function white(str: string): string;
  export function gray(str: string): string;
}

declare module "@std/fs/empty-dir" {
  export function emptyDir(dir: string | URL): Promise<void>;
}

declare module "@std/fs/ensure-dir" {
  export function ensureDir(dir: string | URL): Promise<void>;
}

declare module "@std/fs/exists" {
  export interface ExistsOptions {
    isReadable?: boolean;
    isDirectory?: boolean;
    isFile?: boolean;
  }
  export function exists(path: string | URL, options?: ExistsOptions): Promise<boolean>;
}

declare module "@std/fs/walk" {
  export interface WalkOptions {
    maxDepth?: number;
    includeFiles?: boolean;
    includeDirs?: boolean;
    includeSymlinks?: boolean;
    followSymlinks?: boolean;
    canonicalize?: boolean;
    exts?: string[];
    match?: RegExp[];
    skip?: RegExp[];
  }
  export interface WalkEntry extends Deno.DirEntry {
    path: string;
  }
  export function walk(
    root: string | URL,
    options?: WalkOptions,
  ): AsyncIterableIterator<WalkEntry>;
}

declare module "@std/http/etag" {
  export interface ETagOptions {
    algorithm?: "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
    weak?: boolean;
  }
  export function eTag(entity: string | Uint8Array, options?: ETagOptions): Promise<string>;
  export function ifMatch(value: string | null, etag: string | undefined): boolean;
  export function ifNoneMatch(value: string | null, etag: string | undefined): boolean;
}

declare module "@std/http/status" {
  export const STATUS_CODE: {
    readonly OK: 200;
    readonly Created: 201;
    readonly Accepted: 202;
    readonly NoContent: 204;
    readonly NotModified: 304;
    readonly BadRequest: 400;
    readonly Unauthorized: 401;
    readonly Forbidden: 403;
    readonly NotFound: 404;
    readonly MethodNotAllowed: 405;
    readonly NotAcceptable: 406;
    readonly RequestTimeout: 408;
    readonly Conflict: 409;
    readonly LengthRequired: 411;
    readonly PreconditionFailed: 412;
    readonly ContentTooLarge: 413;
    readonly URITooLong: 414;
    readonly UnsupportedMediaType: 415;
    readonly ExpectationFailed: 417;
    readonly MisdirectedRequest: 421;
    readonly TooManyRequests: 429;
    readonly RequestHeaderFieldsTooLarge: 431;
    readonly InternalServerError: 500;
    readonly NotImplemented: 501;
    readonly BadGateway: 502;
    readonly ServiceUnavailable: 503;
    readonly GatewayTimeout: 504;
    readonly HTTPVersionNotSupported: 505;
    readonly InsufficientStorage: 507;
  };
  export type StatusCode = typeof STATUS_CODE[keyof typeof STATUS_CODE];
  export const STATUS_TEXT: { readonly [S in StatusCode]: string };
  export function isStatus(status: number): status is StatusCode;
  export function isSuccessfulStatus(status: number): boolean;
  export function isClientErrorStatus(status: number): boolean;
  export function isServerErrorStatus(status: number): boolean;
  export function isErrorStatus(status: number): boolean;
}

declare module "@std/path" {
  export interface ParsedPath {
    root: string;
    dir: string;
    base: string;
    ext: string;
    name: string;
  }
  export function basename(path: string | URL, suffix?: string): string;
  export function dirname(path: string | URL): string;
  export function extname(path: string | URL): string;
  export function fromFileUrl(url: string | URL): string;
  export function isAbsolute(path: string): boolean;
  export function join(path: string | URL, ...paths: string[]): string;
  export function normalize(path: string | URL): string;
  export function parse(path: string): ParsedPath;
  export function relative(from: string, to: string): string;
  export function resolve(...pathSegments: string[]): string;
  export function toFileUrl(path: string): URL;
}

declare module "@std/streams/text-line-stream" {
  export interface TextLineStreamOptions {
    allowCR?: boolean;
  }
  export class TextLineStream extends TransformStream<string, string> {
    constructor(options?: TextLineStreamOptions);
  }
}

declare module "@std/yaml/parse" {
  /** All documents of `content`. @throws {SyntaxError} If it is not YAML, or names a key twice. */
  export function parseAll(content: string): unknown;
}
