/** Three servers of ours with many small keys on them, for tests of what can go wrong in a move. */
import { modulo } from "../../core/placement.ts";
import { Remote } from "../../core/client/remote.ts";
import { type Doorman, Doorway } from "./doorway.ts";
import { Running, Server, TempDir } from "./program.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A cluster that clients write to by the list of all its servers. */
export class ManyKeys implements AsyncDisposable {
  /** What clients wrote last. */
  readonly expected = new Map<string, string>();
  readonly #dir: TempDir;
  readonly #servers: Server[];
  /** By server; from then on rebalance goes through them. */
  readonly #doorways = new Map<number, Doorway>();

  private constructor(dir: TempDir, servers: Server[]) {
    this.#dir = dir;
    this.#servers = servers;
  }

  /** Starts `count` servers with `keys` keys, each on its owner. */
  static async start(count: number, keys: number): Promise<ManyKeys> {
    const dir = new TempDir();
    const expected = new Map(
      Array.from({ length: keys }, (_, index) => [`key-${index}`, `first ${index}`]),
    );
    for (let index = 0; index < count; index++) await Deno.mkdir(dir.join(String(index)));
    for (const [key, value] of expected) {
      Deno.writeTextFileSync(dir.join(String(modulo(key, count)), key), value);
    }
    const servers: Server[] = [];
    const cluster = new ManyKeys(dir, servers);
    for (let index = 0; index < count; index++) {
      servers.push(await Server.start(dir.join(String(index))));
    }
    for (const [key, value] of expected) cluster.expected.set(key, value);
    return cluster;
  }

  /** The first `count` servers as a server list. */
  list(count: number): string {
    return this.#servers.slice(0, count)
      .map(({ address }, index) => this.#doorways.get(index)?.address ?? address).join(",");
  }

  /** Has a doorman in front of a server, whom everyone passes who goes by {@link list}. */
  guard(index: number, doorman: Doorman): void {
    this.#doorways.set(index, new Doorway(this.#server(index).address, doorman));
  }

  get size(): number {
    return this.#servers.length;
  }

  /** Saves by the list of all servers, as clients do that do not know of the move, or of the first `count`. */
  async write(key: string, value: string, count = this.size): Promise<void> {
    await this.#remote(modulo(key, count)).save(key, encoder.encode(value));
    this.expected.set(key, value);
  }

  /** What the first `count` servers hold, each key on its owner by their list. */
  async view(count: number): Promise<Map<string, string | undefined>> {
    const keys = [...this.expected.keys()];
    const values = await Promise.all(keys.map(async (key) => {
      const bytes = await this.#remote(modulo(key, count)).load(key);
      return bytes === undefined ? undefined : decoder.decode(bytes);
    }));
    return new Map(keys.map((key, index) => [key, values[index]]));
  }

  /** Starts a rebalance to the first `count` servers. */
  rebalance(count: number, args: readonly string[]): Running {
    return new Running(["rebalance", this.list(this.size), this.list(count), ...args]);
  }

  /** Ends a server as a crash does. */
  async kill(index: number): Promise<void> {
    const server = this.#server(index);
    server.kill("SIGKILL");
    await server.exit();
  }

  /** Starts a server that was killed again, on its folder and its port. */
  async restart(index: number): Promise<void> {
    const { dir, port } = this.#server(index);
    this.#servers[index] = await Server.start(dir, [], port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const doorway of this.#doorways.values()) await doorway[Symbol.asyncDispose]();
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }

  #server(index: number): Server {
    const server = this.#servers[index];
    if (server === undefined) throw new RangeError(`No server ${index}`);
    return server;
  }

  #remote(index: number): Remote {
    const name = this.#server(index).address;
    return new Remote({ name, origin: `http://${name}` }, { timeoutMs: 10_000 });
  }
}
