/** A real name server for tests: dnsmasq (Debian package dnsmasq-base) on a free port of loopback. */
import { until } from "../e2e/program.ts";

/** Whether dnsmasq is installed. */
export const HAS_DNSMASQ = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].some((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

/** A record: the name, the target, the port. */
export type Srv = readonly [name: string, target: string, port: number];

/** Answers for all names below `test`, and for nothing else. */
export class Dnsmasq implements AsyncDisposable {
  /** As `--dns` takes it. */
  readonly address: string;
  readonly #process: Deno.ChildProcess;

  private constructor(port: number, process: Deno.ChildProcess) {
    this.address = `127.0.0.1:${port}`;
    this.#process = process;
  }

  /** Starts one and waits until it answers. */
  static async start(records: readonly Srv[]): Promise<Dnsmasq> {
    for (let attempt = 1;; attempt++) {
      const port = freePort();
      const process = new Deno.Command("dnsmasq", {
        args: [
          "--keep-in-foreground",
          "--conf-file=/dev/null",
          "--pid-file=",
          "--no-resolv",
          "--no-hosts",
          "--local=/test/",
          "--bind-interfaces",
          "--listen-address=127.0.0.1",
          `--port=${port}`,
          "--log-facility=/dev/null",
          ...(Deno.uid() === 0 ? ["--user=root"] : []),
          "--srv-host=ready.test,ready.test,1",
          ...records.map((record) => `--srv-host=${record.join(",")}`),
        ],
        env: { PATH: `${Deno.env.get("PATH")}:/usr/sbin` },
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const server = new Dnsmasq(port, process);
      const ended = process.status.then(() => false);
      if (await Promise.race([server.#answers(), ended])) return server;
      // Somebody took the port meanwhile.
      if (attempt === 5) throw new Error("dnsmasq does not start");
    }
  }

  async #answers(): Promise<boolean> {
    const [ipAddr = "", port] = this.address.split(":");
    return await until("dnsmasq answers", async () => {
      const signal = AbortSignal.timeout(1000);
      const options = { nameServer: { ipAddr, port: Number(port) }, signal };
      const found = await Deno.resolveDns("ready.test", "SRV", options).catch(() => []);
      return found.length > 0 ? true : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
  }
}

/** A port that was free just now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
