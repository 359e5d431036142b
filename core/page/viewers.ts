/**
 * The viewers of the page: server-sent events to each of them. Everybody gets a full snapshot on
 * connect, so that whoever comes back needs not be told what was missed.
 */
import { type PageMessages } from "./model.ts";

/** What may wait for one viewer (bytes); who is further behind is dropped and may come back. */
const MAX_WAITING_BYTES = 256 * 1024;

/** A sign of life for proxies, and what finds out that a viewer has gone (milliseconds). */
const HEARTBEAT_MS = 15_000;

/** How soon a browser comes back after the stream ended (milliseconds). */
const RETRY_MS = 1000;

/** The most viewers at the same time. */
export const MAX_VIEWERS = 200;

/** Why a stream is cut. */
export class ViewerDroppedError extends Error {}

type Controller = ReadableStreamDefaultController<Uint8Array>;

const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode(":\n\n");

/** Everybody who watches. */
export class Viewers {
  readonly #controllers = new Set<Controller>();
  readonly #timer: ReturnType<typeof setInterval>;
  #lastId = 0;

  constructor() {
    this.#timer = setInterval(() => this.#sendBytes(HEARTBEAT), HEARTBEAT_MS);
  }

  get size(): number {
    return this.#controllers.size;
  }

  /** A stream for one more viewer, which begins with a snapshot; `undefined` if there are too many. */
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

  /** Sends a message to everybody. */
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
        // Not closed: what waits is dropped too.
        controller.error(new ViewerDroppedError("Viewer reads too slowly"));
      } else {
        controller.enqueue(bytes);
      }
    }
  }
}

/** A message as it is sent. JSON has no line breaks of its own, so that it is one line of data. */
export function formatMessage(id: number, type: string, message: unknown): string {
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(message)}\n\n`;
}
