/**
 * Sends server-sent events to the viewers of the page. Each new stream begins with a full snapshot,
 * so a viewer that comes back needs no list of missed events.
 */
import { type PageMessages } from "./model.ts";

/** The most that may wait for one viewer (bytes). A viewer that is further behind is dropped. */
const MAX_WAITING_BYTES = 256 * 1024;

/** How often a comment is sent: it keeps proxies from ending the stream (milliseconds). */
const HEARTBEAT_MS = 15_000;

/** How soon a browser connects again after the stream has ended (milliseconds). */
const RETRY_MS = 1000;

/** The most viewers at once. */
export const MAX_VIEWERS = 200;

/** Thrown into the stream of a viewer that reads too slowly. */
export class ViewerDroppedError extends Error {}

type Controller = ReadableStreamDefaultController<Uint8Array>;

const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode(":\n\n");

/** The streams to all viewers. */
export class Viewers {
  readonly #controllers = new Set<Controller>();
  readonly #timer: ReturnType<typeof setInterval>;
  #lastId = 0;

  constructor() {
    this.#timer = setInterval(() => this.#sendBytes(HEARTBEAT), HEARTBEAT_MS);
  }

  /** How many viewers there are. */
  get size(): number {
    return this.#controllers.size;
  }

  /**
   * A stream for one more viewer, which begins with `snapshot`; `undefined` at {@link MAX_VIEWERS}.
   */
  open(snapshot: PageMessages["snapshot"]): ReadableStream<Uint8Array> | undefined {
    if (this.size >= MAX_VIEWERS) return undefined;
    const first = encoder.encode(
      `retry: ${RETRY_MS}\n\n${formatMessage(++this.#lastId, "snapshot", snapshot)}`,
    );
    let own: Controller;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.#controllers.add(controller);
        controller.enqueue(first);
      },
      cancel: () => void this.#controllers.delete(own),
    }, {
      highWaterMark: MAX_WAITING_BYTES + first.length,
      size: (chunk) => chunk.length,
    });
  }

  /** Sends a message to all viewers. */
  send<T extends keyof PageMessages>(type: T, message: PageMessages[T]): void {
    this.#lastId++;
    if (this.size === 0) return;
    this.#sendBytes(encoder.encode(formatMessage(this.#lastId, type, message)));
  }

  /** Ends all streams. */
  close(): void {
    clearInterval(this.#timer);
    for (const controller of this.#controllers) controller.close();
    this.#controllers.clear();
  }

  #sendBytes(bytes: Uint8Array): void {
    for (const controller of this.#controllers) {
      if ((controller.desiredSize ?? 0) < bytes.length) {
        this.#controllers.delete(controller);
        // An error drops the messages that wait, and a close would not.
        controller.error(new ViewerDroppedError("Viewer reads too slowly"));
      } else {
        controller.enqueue(bytes);
      }
    }
  }
}

/** A message as a server-sent event. JSON has no line breaks, so it is one line of data. */
export function formatMessage(id: number, type: string, message: unknown): string {
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(message)}\n\n`;
}
