/** The options with which a role gets access to guarded servers, the same for every role. */
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

/** `KVS_TOKEN`, which is no option of the command line. */
export const TOKEN: Option<string | undefined> = {
  ...textOption("token", "TOKEN", "The bearer token itself, where there is no --token-file"),
  variableOnly: "a command line is visible to everyone on the machine",
  parse: nonEmpty,
};

const CA = textOption(
  "ca",
  "FILE",
  "Trust servers whose certificate one of these authorities (PEM) has signed, and speak TLS to servers " +
    "that are listed without http://",
);

/** What a role takes that sends a token. */
export const TOKEN_OPTIONS: readonly Option<unknown>[] = [TOKEN_FILE, TOKEN];

/** What a role takes that talks to servers it did not start. */
export const ACCESS_OPTIONS: readonly Option<unknown>[] = [...TOKEN_OPTIONS, CA];

/**
 * The access that the options of {@link ACCESS_OPTIONS} give. Reads the files, so before the role
 * gives up to read any.
 *
 * @throws {UsageError} If a file cannot be read or does not hold what it should.
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

/** What servers speak that are listed without a scheme. */
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
