/** Why the certificate of a server is not trusted, in words that help. */
import { messageOf } from "../errors.ts";

/** Why the certificate of a server is not trusted, `undefined` if the failure is another one. */
export function distrustOf(cause: unknown): string | undefined {
  // Which of both messages has the reason depends on the version of Deno.
  const inner = cause instanceof Error ? messageOf(cause.cause) : "";
  const why = /invalid peer certificate: (?:Other\(OtherError\(|certificate )?(\w[^;()\n]{0,99})/
    .exec(`${messageOf(cause)}\n${inner}`)?.[1]?.trim();
  if (why === undefined) return undefined;
  return DISTRUST[why] ?? `its certificate is not valid: ${why}`;
}

const UNTRUSTED = "its certificate is signed by nobody who is trusted (--ca names who is)";

/** What to tell of reasons that the runtime gives only by a name. */
const DISTRUST: Readonly<Record<string, string>> = {
  UnknownIssuer: UNTRUSTED,
  BadSignature: UNTRUSTED,
  CaUsedAsEndEntity:
    "its certificate is that of an authority, as openssl req -x509 makes it: make one with " +
    "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME",
  UnsupportedCertVersion:
    "its certificate is of version 1, which names no servers: make one with an extension " +
    "subjectAltName=DNS:NAME",
};
