/** A network that loses messages, delays them, and doubles those that the protocol of layouts must bear twice. */
import { V1_KEYS } from "../../core/protocol.ts";
import { type Scheduler } from "./scheduler.ts";
import { type SentRequest, type SimulatedServer } from "./simulated_server.ts";

/** The network of a run. */
export class SimulatedNetwork {
  /** Whether anything goes wrong. */
  isFaulty = true;
  readonly #scheduler: Scheduler;
  readonly #servers: ReadonlyMap<string, SimulatedServer>;

  constructor(scheduler: Scheduler, servers: ReadonlyMap<string, SimulatedServer>) {
    this.#scheduler = scheduler;
    this.#servers = servers;
  }

  /** A `fetch` for one sender. It gets no answer any more when `isAlive` says so. */
  fetchOf(sender: string, isAlive: () => boolean = () => true): typeof fetch {
    return async (input, init = {}) => {
      const { promise, resolve, reject } = Promise.withResolvers<Response>();
      const url = String(input);
      const { method = "GET", body, signal } = init;
      const request = { method, url, headers: new Headers(init.headers) };
      signal?.addEventListener("abort", () => reject(signal.reason));
      const bytes = await bytesOf(body);
      if (!isAlive()) return await promise;
      this.#send(sender, request, bytes, {
        resolve: (answer) => isAlive() && resolve(answer),
        reject: (error) => isAlive() && reject(error),
      });
      return await promise;
    };
  }

  #send(
    sender: string,
    request: SentRequest,
    bytes: Uint8Array<ArrayBuffer>,
    { resolve, reject }: {
      readonly resolve: (answer: Response) => void;
      readonly reject: (error: Error) => void;
    },
  ): void {
    const scheduler = this.#scheduler;
    const { host, pathname } = new URL(request.url);
    const what = `${sender} ${request.method} ${host}${pathname}`;
    const lost = () => reject(new TypeError("connection lost"));
    const chance = (probability: number) => this.isFaulty && scheduler.random.chance(probability);
    const deliver = async (kind: string, answered: (answer: Response) => void) => {
      const server = this.#servers.get(host);
      try {
        if (server === undefined) throw new TypeError("no such server");
        const { start } = server;
        server.whenDown(() => scheduler.add(`${what}: cut off`, lost));
        const answer = await server.answer(request, bytes);
        if (server.start !== start) return;
        scheduler.add(`${kind} ${what}: answer ${answer.status}`, () => answered(answer));
      } catch {
        scheduler.add(`${kind} ${what}: refused`, lost);
      }
    };
    const arrive = () => {
      scheduler.add(`${what}: arrives`, () => {
        if (chance(0.03)) return lost();
        if (chance(0.03)) {
          // Too late: the sender has given it up.
          lost();
          return scheduler.add(`${what}: arrives late`, () => void deliver("late", () => {}));
        }
        // A client never sends a write of a key twice without being asked to.
        if (!pathname.startsWith(V1_KEYS) && chance(0.05)) {
          scheduler.add(`${what}: arrives twice`, () => void deliver("second", () => {}));
        }
        void deliver("", (answer) => chance(0.03) ? lost() : resolve(answer));
      });
    };
    arrive();
  }
}

async function bytesOf(body: BodyInit | null | undefined): Promise<Uint8Array<ArrayBuffer>> {
  if (!(body instanceof ReadableStream)) return new Uint8Array();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of body) parts.push(part.slice());
  const [first] = parts;
  return parts.length === 1 && first !== undefined ? first : await new Blob(parts).bytes();
}
