/** Admits requests that show one of the tokens to the data routes. */
import { parseTokens } from "../access.ts";
import { messageOf, StartError } from "../errors.ts";
import { type HttpRequest } from "../http/types.ts";
import { type Log } from "../log.ts";
import { FileWatch } from "../system/file_watch.ts";

/** The source of a server's tokens: a file that may change, or one token for good. */
export type TokenSource = { readonly file: string } | { readonly token: string };

/** The authentication scheme with its blank, in lower case: RFC 6750 section 2.1. */
const SCHEME = "bearer ";

/** Admits requests that show one of its tokens. */
export class Guard {
  #tokens: readonly string[];
  #watch: FileWatch | undefined;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  /**
   * Reads the tokens, and reads them again when the file changes. From then on the tokens of the file
   * count, also on connections that are open. A file that cannot be read changes nothing.
   *
   * @throws {StartError} If there is no token.
   */
  static async open(source: TokenSource, log: Log): Promise<Guard> {
    try {
      if ("token" in source) return new Guard(parseTokens(source.token));
      const guard = new Guard([]);
      guard.#watch = await FileWatch.open([source.file], {
        what: "tokens",
        use: ([text = ""]) => {
          guard.#tokens = parseTokens(text);
        },
        log,
      });
      return guard;
    } catch (error) {
      throw new StartError(`Cannot guard the server: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Whether `request` shows a token. The time that this takes tells nothing about the tokens. */
  admits(request: HttpRequest): boolean {
    const given = request.header("authorization");
    if (given === undefined) return false;
    if (given.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return false;
    const token = given.slice(SCHEME.length);
    let admitted = 0;
    for (const accepted of this.#tokens) admitted |= sameText(token, accepted);
    return admitted === 1;
  }

  /** Stops watching the file. */
  close(): void {
    this.#watch?.close();
  }
}

/** 1 if the texts are the same, else 0. The time depends on the length of `given` alone. */
function sameText(given: string, secret: string): number {
  let differs = given.length ^ secret.length;
  for (let at = 0; at < given.length; at++) {
    differs |= given.charCodeAt(at) ^ secret.charCodeAt(at % secret.length);
  }
  return differs === 0 ? 1 : 0;
}
