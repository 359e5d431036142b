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

/** Thrown when the query of a target cannot be understood, or would be ignored. */
export class InvalidQueryError extends KvsError {}

/** Thrown when a part of a value is sent, where only whole ones are taken. */
export class InvalidRangeError extends KvsError {}

/** Thrown when a value is saved with a content type that could not be a header. */
export class InvalidContentTypeError extends KvsError {}

/** Thrown when a line of a batch is not an operation. */
export class InvalidOperationError extends KvsError {}

/** Thrown when a request says neither how long its body is nor that it is chunked. */
export class LengthRequiredError extends KvsError {}

/** Thrown when the client was silent for too long, or went away, within a body. */
export class BodyTimeoutError extends KvsError {}

/** Thrown when a value has more bytes than the server accepts. */
export class ValueTooLargeError extends KvsError {
  constructor(bytes: number, maxBytes: number) {
    super(`Value too large: ${bytes} bytes, at most ${maxBytes} are accepted`);
  }
}

/** Thrown when a conditional write finds another state than the one it names. */
export class PreconditionFailedError extends KvsError {}

/** Thrown when a move of keys writes to a server where another one has begun since. */
export class AnotherMoveError extends KvsError {}

/** Thrown when the note of a move that a client sends is none. */
export class InvalidMoveError extends KvsError {}

/** Base of what says that a write was not carried out, and nothing is wrong with what is stored. */
export class WriteRefusedError extends KvsError {}

/** Thrown when the disk has no room for a write; the old value stands. */
export class StorageFullError extends WriteRefusedError {}

/** Thrown when the system has no open files or memory to spare for a moment; the old value stands. */
export class StorageBusyError extends WriteRefusedError {}

/** Thrown when others keep the memory that an answer needs; nothing more was done. */
export class BusyError extends KvsError {}

/** Thrown when a write could not be let in before the end of the server; the old value stands. */
export class ShuttingDownError extends KvsError {}

/**
 * Thrown when the disk failed in a way after which nothing it holds can be trusted (a failed flush,
 * a damaged journal). The process has to end.
 */
export class StorageFailedError extends KvsError {}

/** Thrown where work ends before it is done, because it was told to stop. */
export class StoppedError extends KvsError {}

/** Thrown when another server cannot be reached or answers with an error. */
export class RemoteError extends KvsError {
  /** The server as it stands in the server list. */
  readonly server: string;
  /** The HTTP status it answered, or `undefined` if no answer came. */
  readonly status: number | undefined;
  /** How long the server asked to be left alone (ms), where it did. */
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

  /** Whether the server was there but no answer came in time. */
  get timedOut(): boolean {
    return this.cause instanceof DOMException && this.cause.name === "TimeoutError";
  }

  /** Whether there was no connection to begin with, so that the server cannot have done anything. */
  get neverSent(): boolean {
    const { cause } = this;
    if (!(cause instanceof Error)) return false;
    // The runtime's fetch tells a failed connection from a failed request by nothing but its words,
    // and it depends on the version of Deno where it says them.
    return cause.name === "ConnectionRefused" ||
      `${cause.message} ${messageOf(cause.cause)}`.includes("client error (Connect)");
  }
}

/**
 * Thrown when a conditional write got no answer and its repetition found another state: whether it
 * was carried out before that state came about, nobody can tell.
 */
export class UnknownOutcomeError extends KvsError {}

/** Thrown when a name that stands for servers cannot be resolved to a list that is safe to use. */
export class DiscoveryError extends KvsError {}

/** Thrown when what a command prints cannot be written: its reader has gone, or the disk is full. */
export class OutputError extends KvsError {}

/** Thrown when a rebalance stops; the message says what was done so far. */
export class RebalanceError extends KvsError {}

// Where the runtime opens a file only for programs that may do everything.
const SPECIAL_PATH = /^Requires all access to (".*?")/;
const REFUSED_ACCESS = /^Requires (.+? access(?: to ".*?")?)/;

/**
 * Returns the message of anything thrown, for a log line or a longer message. Not that of the runtime where
 * it refuses a permission: it tells which flags to compile with, which nobody who has the binary can use.
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

/** Thrown when the chunks of a request body are damaged; the status is 400. */
export class MalformedBodyError extends KvsError {}
