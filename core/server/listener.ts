/** The listeners of a shard: plain TCP, or TLS with a certificate that can be replaced. */
import { messageOf, StartError } from "../errors.ts";
import { FileWatch } from "../system/file_watch.ts";
import { type HttpListener } from "../http/types.ts";
import { type Log } from "../log.ts";

/** The address of a listener. */
export interface ListenAddress {
  /** For example `0.0.0.0`. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** The files of a certificate (PEM): the chain, which begins with the server's own, and the private key. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Listens with plain TCP. @throws {StartError} If the address is taken or not this machine's. */
export function listen({ host, port }: ListenAddress): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (error) {
    throw notListening({ host, port }, error);
  }
}

/** A TLS listener whose certificate is read again when its files change. */
export class TlsEndpoint {
  readonly #place: ListenAddress;
  #listener: Deno.TlsListener | undefined;
  #watch: FileWatch | undefined;
  #replaced: (listener: HttpListener) => void = () => {};

  private constructor(place: ListenAddress) {
    this.#place = place;
  }

  /**
   * Listens with the certificate in `files`.
   *
   * @throws {StartError} If they are no certificate and key, or the address cannot be used.
   */
  static async open(place: ListenAddress, files: CertificateFiles, log: Log): Promise<TlsEndpoint> {
    const endpoint = new TlsEndpoint(place);
    // A TLS listener shares its port, even with another program that shares its own. A plain one does not.
    if (place.port !== 0) listen(place).close();
    try {
      endpoint.#watch = await FileWatch.open([files.certFile, files.keyFile], {
        what: "certificate and key",
        use: ([cert = "", key = ""]) => endpoint.#use(cert, key),
        log,
      });
    } catch (error) {
      if (error instanceof StartError) throw error;
      throw new StartError(
        `Cannot use --tls-cert ${files.certFile} with --tls-key ${files.keyFile}: ${
          messageOf(error)
        }`,
        { cause: error },
      );
    }
    return endpoint;
  }

  /** The current listener. */
  get listener(): Deno.TlsListener {
    if (this.#listener === undefined) throw new TypeError("Not listening");
    return this.#listener;
  }

  /** `replaced` is called with each listener that takes the place of the one before. */
  onReplaced(replaced: (listener: HttpListener) => void): void {
    this.#replaced = replaced;
  }

  /** Stops watching the files. */
  close(): void {
    this.#watch?.close();
  }

  /**
   * Listens with a new certificate. A listener keeps its certificate for good. So a second listener
   * shares the port, and then the first one is closed. So the port is open at every moment.
   */
  #use(cert: string, key: string): void {
    const { host, port } = this.#listener === undefined
      ? this.#place
      : { host: this.#place.host, port: this.#listener.addr.port };
    const options = { hostname: host, port, reusePort: true, alpnProtocols: ["http/1.1"] };
    let listener: Deno.TlsListener;
    try {
      listener = Deno.listenTls({ ...options, cert, key });
    } catch (error) {
      const isNetwork = error instanceof Deno.errors.AddrInUse ||
        error instanceof Deno.errors.AddrNotAvailable;
      throw isNetwork ? notListening({ host, port }, error) : error;
    }
    this.#listener = listener;
    this.#replaced(listener);
  }
}

function notListening({ host, port }: ListenAddress, cause: unknown): StartError {
  const why = cause instanceof Deno.errors.AddrInUse ? "the port is taken" : messageOf(cause);
  return new StartError(`Cannot listen on ${host}:${port}: ${why}`, { cause });
}
