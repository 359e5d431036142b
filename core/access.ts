/** What a role needs for guarded servers: a bearer token to show, and TLS authorities to trust. */
import { UsageError } from "./errors.ts";

/** What an {@link Access} is made of. */
export interface AccessOptions {
  /** Sent with each request as `Authorization: Bearer`; by default no token is sent. */
  readonly token?: string | undefined;
  /** Authorities to trust besides the public ones: PEM texts, each with one or more certificates. */
  readonly caCerts?: readonly string[];
}

/** The form of a token: RFC 6750, section 2.1. */
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
   * @throws {UsageError} If the token has another form, or an authority's certificate cannot be read.
   */
  constructor({ token, caCerts = [] }: AccessOptions = {}) {
    if (token !== undefined) checkToken(token);
    this.token = token;
    this.caCerts = caCerts;
    if (caCerts.length === 0) return;
    try {
      // The runtime takes a text without a certificate, and trusts nobody more.
      if (!caCerts.every((pem) => pem.includes("-----BEGIN CERTIFICATE-----"))) throw undefined;
      this.#client = this.createClient({});
    } catch (error) {
      throw new UsageError("Invalid authority: no certificate in PEM form", { cause: error });
    }
  }

  /** The HTTP client for requests; `undefined` if the runtime's default one does. */
  get client(): Deno.HttpClient | undefined {
    return this.#client;
  }

  /** Creates an HTTP client that trusts the same authorities. The caller closes it. */
  createClient(options: Deno.CreateHttpClientOptions): Deno.HttpClient {
    return Deno.createHttpClient({ ...options, caCerts: [...this.caCerts] });
  }

  /** Returns `headers` with the token. */
  authorize(headers: HeadersInit | undefined): HeadersInit | undefined {
    if (this.token === undefined) return headers;
    const all = new Headers(headers);
    all.set("authorization", `Bearer ${this.token}`);
    return all;
  }

  /** Closes the connections. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}

/** Access to servers without a guard. */
export const OPEN_ACCESS: Access = new Access();

/**
 * Returns the tokens in the text of a token file, one a line. Blanks around a token and empty lines do not count.
 *
 * @throws {UsageError} If there is no token, or a line has another form.
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
  // The message does not repeat the token: it may be nearly right, and a log is no place for it.
  throw new UsageError("Invalid token: letters, digits and -._~+/ only, = at the end");
}
