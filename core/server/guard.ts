/** Who may touch data: those who show one of the tokens. */
import { parseTokens } from "../access.ts";
import { messageOf, StartError } from "../errors.ts";
import { type HttpRequest } from "../http/types.ts";
import { type Log } from "../log.ts";
import { FileWatch } from "../system/file_watch.ts";

/** Where a server has its tokens from: a file that may change, or one token for good. */
export type TokenSource = { readonly file: string } | { readonly token: string };

/** The authentication scheme with its blank, in lower case: RFC 6750 section 2.1. */
const SCHEME = "bearer ";

/** Admits requests that show one of its tokens. */
export class Guard {
  #tokens: readonly string[];
  #watch: FileWatch | undefined;

  /** Admits those who show one of `tokens`. */
  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  /**
   * Reads the tokens, and reads them again when the file changes: then a new token is accepted and one
   * that is not there any more is refused, on connections that are open too. What cannot be read
   * changes nothing.
   *
   * @throws {StartError} If there is no token to be had.
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

  /** Whether `request` shows a token. How long that takes does not tell how much of it is right. */
  admits(request: HttpRequest): boolean {
    const given = request.header("authorization");
    if (given === undefined) return false;
    if (given.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return false;
    const token = given.slice(SCHEME.length);
    let admitted = 0;
    for (const accepted of this.#tokens) admitted |= sameText(token, accepted);
    return admitted === 1;
  }

  /** Looks at the file no more. */
  close(): void {
    this.#watch?.close();
  }
}

/** 1 where the texts are the same, else 0; takes as long as `given` is, whatever is in it. */
function sameText(given: string, secret: string): number {
  let differs = given.length ^ secret.length;
  for (let at = 0; at < given.length; at++) {
    differs |= given.charCodeAt(at) ^ secret.charCodeAt(at % secret.length);
  }
  return differs === 0 ? 1 : 0;
}
