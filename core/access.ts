/** What a role shows to guarded servers, and whom it trusts: a bearer token and TLS roots. */
import { UsageError } from "./errors.ts";

/** What an {@link Access} is made of. */
export interface AccessOptions {
  /** Sent with each request as `Authorization: Bearer`; without it none is sent. */
  readonly token?: string | undefined;
  /** Authorities that are trusted besides the public ones: PEM texts, each of one or more certificates. */
  readonly caCerts?: readonly string[];
}

/** What a token may be: RFC 6750 section 2.1. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** Access to the servers of a cluster; one for all servers that a role talks to. */
export class Access {
  /** As in {@link AccessOptions}. */
  readonly token: string | undefined;
  /** As in {@link AccessOptions}. */
  readonly caCerts: readonly string[];
  #client: Deno.HttpClient | undefined;

  /**
   * Makes an access, which may be shared.
   *
   * @throws {UsageError} If the token cannot be one, or an authority's certificate cannot be read.
   */
  constructor({ token, caCerts = [] }: AccessOptions = {}) {
    if (token !== undefined) checkToken(token);
    this.token = token;
    this.caCerts = caCerts;
    if (caCerts.length === 0) return;
    try {
      // The runtime takes a text without any for one that adds nothing.
      if (!caCerts.every((pem) => pem.includes("-----BEGIN CERTIFICATE-----"))) throw undefined;
      this.#client = this.createClient({});
    } catch (error) {
      throw new UsageError("Invalid authority: no certificate in PEM form", { cause: error });
    }
  }

  /** The client that carries requests; `undefined` where the runtime's own does. */
  get client(): Deno.HttpClient | undefined {
    return this.#client;
  }

  /** A client of the caller's own, to be closed by it, that trusts the same authorities. */
  createClient(options: Deno.CreateHttpClientOptions): Deno.HttpClient {
    return Deno.createHttpClient({ ...options, caCerts: [...this.caCerts] });
  }

  /** `headers` and the token. */
  authorize(headers: HeadersInit | undefined): HeadersInit | undefined {
    if (this.token === undefined) return headers;
    const all = new Headers(headers);
    all.set("authorization", `Bearer ${this.token}`);
    return all;
  }

  /** Lets go of the connections. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}

/** Access to servers that ask for nothing. */
export const OPEN_ACCESS: Access = new Access();

/**
 * The tokens in the text of a token file, one a line; blanks around them and empty lines do not count.
 *
 * @throws {UsageError} If there is none, or a line cannot be one.
 */
export function parseTokens(text: string): readonly [string, ...string[]] {
  const [first, ...rest] = text.split("\n").map((line) => line.trim()).filter((line) =>
    line !== ""
  );
  if (first === undefined) throw new UsageError("Invalid token: there is none");
  const tokens: [string, ...string[]] = [first, ...rest];
  tokens.forEach(checkToken);
  return tokens;
}

function checkToken(token: string): void {
  if (TOKEN.test(token)) return;
  // Not repeated: what is wrong with it may be little, and a log is no place for it.
  throw new UsageError("Invalid token: letters, digits and -._~+/ only, = at the end");
}
