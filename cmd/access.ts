/** The options by which any role gets access to guarded servers. */
import { Access, parseTokens } from "../core/access.ts";
import { messageOf, UsageError } from "../core/errors.ts";
import { openSpecialFile } from "../core/system/special_file.ts";
import { type Scheme } from "../core/client/server_list.ts";
import { type Args, nonEmpty, type Option, textOption } from "./args.ts";

/** `--token-file` of roles that send a token. */
const TOKEN_FILE = textOption(
  "token-file",
  "FILE",
  "The bearer token for servers that ask for one: the first line of this file",
);

/** `KVS_TOKEN`, which has no option on the command line. */
export const TOKEN: Option<string | undefined> = {
  ...textOption("token", "TOKEN", "The bearer token itself, if there is no --token-file"),
  variableOnly: "a command line is visible to everyone on the machine",
  parse: nonEmpty,
};

const CA = textOption(
  "ca",
  "FILE",
  "Trust servers whose certificate one of these authorities (PEM) has signed, and speak TLS to servers " +
    "that are listed without http://",
);

/** The options of a role that sends a token. */
export const TOKEN_OPTIONS: readonly Option<unknown>[] = [TOKEN_FILE, TOKEN];

/** The options of a role that asks servers which it did not start. */
export const ACCESS_OPTIONS: readonly Option<unknown>[] = [...TOKEN_OPTIONS, CA];

/**
 * The access by {@link ACCESS_OPTIONS}. It reads files, so it comes before the role gives up the
 * permission to read.
 *
 * @throws {UsageError} If a file cannot be read, or holds no token or no certificate.
 */
export async function accessOf(args: Args): Promise<Access> {
  const file = args.get(TOKEN_FILE);
  const text = file === undefined ? args.get(TOKEN) : await readOptionFile(TOKEN_FILE, file);
  const ca = args.get(CA);
  return new Access({
    token: text === undefined ? undefined : parseTokens(text)[0],
    caCerts: ca === undefined ? [] : [await readOptionFile(CA, ca)],
  });
}

/** The scheme of servers that are listed without one. */
export function schemeOf(args: Args): Scheme {
  return args.get(CA) === undefined ? "http" : "https";
}

async function readOptionFile({ name }: { readonly name: string }, path: string): Promise<string> {
  try {
    return await readText(path);
  } catch (error) {
    throw new UsageError(`Cannot read the file of --${name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    const special = error instanceof Deno.errors.NotCapable ? openSpecialFile(path) : undefined;
    if (special === undefined) throw error;
    return await new Response(special).text();
  }
}
