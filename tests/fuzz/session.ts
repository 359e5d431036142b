/** One connection: what is sent in which portions, how it ends, and whether the answers fit. */
import { delay } from "@std/async/delay";
import { deadline } from "@std/async/deadline";
import type { Dice } from "../crash/dice.ts";
import { bytesOf, latin1, type Piece } from "./good_requests.ts";
import { CutOffAnswer, ResponseParser } from "./response_parser.ts";

/** How long a server may take for all answers of a connection (milliseconds). */
const PATIENCE_MS = 30_000;

/** How a connection behaves. */
export interface Manner {
  /** Bytes a write; 0: all at once. */
  readonly portion: number;
  /** Milliseconds before reading begins. */
  readonly deafMs: number;
  /** `half`: closes for writing and reads to the end. `abort`: closes without reading. */
  readonly end: "half" | "abort";
}

/** A way to send `size` bytes; `maxDeafMs` is the longest that it leaves answers unread. */
export function manner(
  dice: Dice,
  size: number,
  mayAbort: boolean,
  maxDeafMs: number,
): Manner {
  const portion = dice.chance(0.5)
    ? 0
    : dice.chance(0.1) && size < 400
    ? 1
    : dice.integer(40, 4000);
  return {
    portion,
    deafMs: dice.chance(0.03) ? dice.integer(1, maxDeafMs) : 0,
    end: mayAbort && dice.chance(0.5) ? "abort" : "half",
  };
}

/** Sends `pieces`; resolves to all that came back, and whether the connection was reset. */
export async function converse(
  port: number,
  pieces: readonly Piece[],
  { portion, deafMs, end }: Manner,
): Promise<{ received: string; reset: boolean }> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const bytes = bytesOf(pieces.map((piece) => piece.bytes).join(""));
  const sent = send(connection, bytes, portion, end === "half");
  if (end === "abort") {
    // What is in the kernel's buffer unread makes the close a reset.
    await Promise.race([sent, delay(20)]);
    connection.close();
    await sent;
    return { received: "", reset: true };
  }
  if (deafMs > 0) await delay(deafMs);
  const received = await deadline(receive(connection), PATIENCE_MS);
  await sent;
  return received;
}

async function send(
  connection: Deno.TcpConn,
  bytes: Uint8Array,
  portion: number,
  half: boolean,
): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) {
      const end = portion === 0 ? bytes.length : at + portion;
      at += await connection.write(bytes.subarray(at, end));
      if (portion > 0) await delay(0);
    }
    if (half) await connection.closeWrite();
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function receive(connection: Deno.TcpConn): Promise<{ received: string; reset: boolean }> {
  let received = "";
  const buffer = new Uint8Array(65536);
  try {
    while (true) {
      const size = await connection.read(buffer);
      if (size === null) return { received, reset: false };
      received += latin1(buffer.subarray(0, size));
    }
  } catch (error) {
    if (!isGone(error)) throw error;
    return { received, reset: true };
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.Interrupted;
}

/**
 * Compares what came back with what had to; counts answers by status.
 * @param loose The server may refuse anything with 503 or 408, since it ends or its time-outs are short.
 * @throws {Error} What does not fit.
 */
export function judge(
  pieces: readonly Piece[],
  { received, reset }: { received: string; reset: boolean },
  statuses: Map<number, number>,
  loose: boolean,
): void {
  const parser = new ResponseParser(received);
  let noise = loose;
  for (let at = 0;; at++) {
    const piece = pieces[at];
    noise ||= piece?.outcome === "noise";
    let answer;
    try {
      answer = parser.next(piece?.toHead ?? false);
    } catch (error) {
      if ((reset || noise) && error instanceof CutOffAnswer) return;
      throw error;
    }
    if (answer === undefined) {
      if (piece !== undefined && !noise && !reset) throw new Error(`No answer to request ${at}`);
      return;
    }
    const { status, body } = answer;
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (body.includes("SECRET")) throw new Error(`A file outside of the folder was answered`);
    if (/\n\s+at .*:\d+:\d+/.test(body)) throw new Error(`A stack trace was answered: ${body}`);
    if (status >= 500 && status !== 501 && status !== 505 && !(loose && status === 503)) {
      throw new Error(`Status ${status}: ${body}`);
    }
    if (!noise) {
      if (piece === undefined) throw new Error(`An answer too many: ${status} ${body}`);
      const wrong = piece.outcome === "answer" ? piece.check?.(answer) : undefined;
      if (wrong !== undefined) throw new Error(`Request ${at}: ${wrong}`);
      if (piece.outcome === "answer" && answer.closes) throw new Error(`Request ${at} closed`);
      if (piece.outcome === "refused" && (status < 400 || !answer.closes)) {
        throw new Error(`Request ${at} had to be refused and closed: ${status}`);
      }
    }
    if (answer.closes) {
      if (parser.rest !== "") throw new Error(`More after the last answer: ${parser.rest}`);
      return;
    }
  }
}
