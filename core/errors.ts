/**
 * Every error that a caller of core may branch on, and nothing else. Each message is one line that
 * a user can act on; `main.ts` prints it as it is. Misuse by a programmer is a built-in class.
 */

/** Base of all errors whose message is meant for the user as it stands. */
export class KvsError extends Error {
  /** The name of its class. */
  override get name(): string {
    return this.constructor.name;
  }
}

/** Thrown when the command line or a `KVS_*` variable is wrong; the usage line follows it. */
export class UsageError extends KvsError {}

/** Thrown when a role cannot start: port taken, folder not writable, folder held by another. */
export class StartError extends KvsError {}

/** Thrown when a key is empty, not valid UTF-8, reserved, or too long for a file name. */
export class InvalidKeyError extends KvsError {}

/** Thrown when a conditional header is not of the form that RFC 9110 gives it. */
export class InvalidConditionError extends KvsError {}

/** Thrown when the query of a URL cannot be understood, or would be ignored. */
export class InvalidQueryError extends KvsError {}

/** Thrown when a request sends a part of a value: only whole values are taken. */
export class InvalidRangeError extends KvsError {}

/** Thrown when a value is saved with a content type that cannot be a header. */
export class InvalidContentTypeError extends KvsError {}

/** Thrown when a line of a batch is not an operation. */
export class InvalidOperationError extends KvsError {}

/** Thrown when a request says neither how long its body is nor that it is chunked. */
export class LengthRequiredError extends KvsError {}

/** Thrown when the chunks of a request body are damaged; the status is 400. */
export class MalformedBodyError extends KvsError {}

/** Thrown when the client is silent for too long within a body, or goes away. */
export class BodyTimeoutError extends KvsError {}

/** Thrown when a value has more bytes than the server accepts. */
export class ValueTooLargeError extends KvsError {
  constructor(bytes: number, maxBytes: number) {
    super(`Value too large: ${bytes} bytes, at most ${maxBytes} are accepted`);
  }
}

/** Thrown when the condition of a write does not hold. */
export class PreconditionFailedError extends KvsError {}

/** Thrown when a run of a move writes to a server where another run has begun since. */
export class AnotherMoveError extends KvsError {}

/** Thrown when a client tells of a move in another form than `PUT /v1/move` takes. */
export class InvalidMoveError extends KvsError {}

/** Thrown when a layout, or what goes with one, is not of the form that docs/scaling.md gives it. */
export class InvalidLayoutError extends KvsError {}

/** Thrown when another server answers for a key; the answer tells the layout. */
export class MisdirectedKeyError extends KvsError {}

/** Thrown when a server answers for no key, since its cluster has gone on without its disk. */
export class OutOfClusterError extends KvsError {}

/** Thrown when a layout, or a step of a hand-over, does not follow what the server has. */
export class LayoutConflictError extends KvsError {
  /** Why a target did not take a range. */
  readonly reason: "behind" | "old" | "repeated" | undefined;

  constructor(message: string, reason?: "behind" | "old" | "repeated") {
    super(message);
    this.reason = reason;
  }
}

/** Base of errors after which nothing has changed: the write was not carried out, and the old value stands. */
export class WriteRefusedError extends KvsError {}

/** Thrown when the disk has no room for a write; the old value stands. */
export class StorageFullError extends WriteRefusedError {}

/** Thrown when the system has no open files or no memory to spare for a moment; the old value stands. */
export class StorageBusyError extends WriteRefusedError {}

/** Thrown when other requests hold the memory that an answer needs. */
export class BusyError extends KvsError {}

/** Thrown when the server ends before a waiting write got room in the journal; the old value stands. */
export class ShuttingDownError extends KvsError {}

/**
 * Thrown when nothing on the disk can be trusted any more: after a failed flush, or if the journal is damaged. The
 * process has to end.
 */
export class StorageFailedError extends KvsError {}

/** Thrown when work is told to stop before it is done. */
export class StoppedError extends KvsError {}

/** Thrown when another server cannot be reached or answers with an error. */
export class RemoteError extends KvsError {
  /** The server as it stands in the server list. */
  readonly server: string;
  /** The HTTP status that it answered, or `undefined` if no whole answer came. */
  readonly status: number | undefined;
  /** How long the server asks to be left alone (milliseconds), if it does. */
  readonly retryAfterMs: number | undefined;

  /**
   * Makes an error of what `server` did.
   *
   * @param options `retryAfterMs` becomes the property of that name.
   */
  constructor(
    server: string,
    status: number | undefined,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.server = server;
    this.status = status;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether no answer came in time. */
  get timedOut(): boolean {
    return this.cause instanceof DOMException && this.cause.name === "TimeoutError";
  }

  /** Whether no connection came about, so that the server cannot have done anything. */
  get neverSent(): boolean {
    const { cause } = this;
    if (!(cause instanceof Error)) return false;
    // Only the words of the runtime's fetch tell a failed connection from a failed request, and each version of Deno
    // has them in another place.
    return cause.name === "ConnectionRefused" ||
      `${cause.message} ${messageOf(cause.cause)}`.includes("client error (Connect)");
  }
}

/**
 * Thrown when a conditional write got no answer, and its condition does not hold when it is sent again. The first
 * attempt may have been carried out, or not.
 */
export class UnknownOutcomeError extends KvsError {}

/** Thrown when a name that stands for a list of servers cannot be resolved to a list that is safe to use. */
export class DiscoveryError extends KvsError {}

/** Thrown when the output of a command cannot be written: its reader has gone, or the disk is full. */
export class OutputError extends KvsError {}

/** Thrown when a rebalance stops; the message says what was done so far. */
export class RebalanceError extends KvsError {}

/** Thrown when `kvs scale` stops; the message says what was done so far. */
export class ScaleError extends KvsError {}

// Deno's words for a file that it opens only for programs with every permission, and for other permissions.
const SPECIAL_PATH = /^Requires all access to (".*?")/;
const REFUSED_ACCESS = /^Requires (.+? access(?: to ".*?")?)/;

/**
 * Returns the message of anything thrown, for a log line or a longer message. If the runtime refuses a permission, its
 * message names flags of the compiler, which users of the binary do not have: then a message of our own.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message } = error;
  if (error.name !== "NotCapable") return message;
  const path = SPECIAL_PATH.exec(message)?.[1];
  if (path !== undefined) return `${path} is below /dev, /proc or /sys, where kvs opens no files`;
  const access = REFUSED_ACCESS.exec(message)?.[1];
  return `kvs has no permission of its own for ${access ?? "this"}`;
}
