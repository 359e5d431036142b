/** `kvs put`: a value from the command line, a file, or standard input. */
import { concat } from "@std/bytes/concat";
import { messageOf, StartError, UsageError } from "../core/errors.ts";
import { displayJson } from "../core/key.ts";
import { type PutContent } from "../core/client/kvs.ts";
import { following } from "../core/system/chunks.ts";
import { openSpecialFile } from "../core/system/special_file.ts";
import { giveUp } from "./permissions.ts";
import { type Command, switchOption, textOption } from "./args.ts";
import { tell, writeLine } from "./screen.ts";
import {
  EXIT,
  JSON_OUTPUT,
  positionals,
  STORE_NOTES,
  STORE_OPTIONS,
  withStore,
} from "./key_commands.ts";

const FILE = textOption("file", "FILE", "Take the value from this file; - is standard input");
const CONTENT_TYPE = textOption(
  "content-type",
  "TYPE",
  "The content type, which a get tells with the value",
);
const IF_MATCH = textOption("if-match", "ETAG", "Save only if the present value has this ETag");
const IF_ABSENT = switchOption("if-absent", "Save only if there is no such key");

/** Stands for standard input as VALUE or FILE. */
const STDIN = "-";

/** The largest value from a pipe (bytes) that is kept, so that it can be sent again. */
const KEPT_BYTES = 16 * 1024 ** 2;

export const put: Command = {
  name: "put",
  summary: "Saves a value under a key; it is on disk when this returns.",
  usage: "KEY [VALUE] [options]",
  examples: [
    "kvs put greeting hello --servers 'server-{0..2}.server'",
    "kvs put photo --file photo.jpg --content-type image/jpeg",
    "tar c notes | kvs put notes.tar",
    'kvs put lock "$HOSTNAME" --if-absent',
  ],
  notes: [
    "Without VALUE and --file the value is standard input, which must not be empty then. A VALUE or FILE of - is",
    "standard input that may be empty. Put -- before any other VALUE that begins with -.",
    ...STORE_NOTES,
  ],
  options: [...STORE_OPTIONS, FILE, CONTENT_TYPE, IF_MATCH, IF_ABSENT, JSON_OUTPUT],
  async run(args) {
    const [key = "", value] = positionals(args, ["KEY", "VALUE"], 1);
    const file = args.get(FILE);
    if (value !== undefined && file !== undefined) {
      throw new UsageError("Give either VALUE or --file");
    }
    const options = {
      contentType: args.get(CONTENT_TYPE),
      ifMatch: args.get(IF_MATCH),
      ifAbsent: args.get(IF_ABSENT),
    };
    if (options.ifMatch !== undefined && options.ifAbsent) {
      throw new UsageError("Give either --if-match or --if-absent");
    }
    return await withStore(args, async (store) => {
      await giveUp("run", "write", "env", "sys");
      const content = await contentOf(value, file);
      await giveUp("ffi");
      const { created, etag } = await store.put(key, content, options);
      if (args.get(JSON_OUTPUT)) {
        const { server } = store.ownerOf(key);
        writeLine(Deno.stdout, displayJson({ key, server: server.name, created, etag }));
      }
      return EXIT.ok;
    });
  },
};

/** The value by the command line. @throws {UsageError} If that has none and standard input is empty. */
async function contentOf(value: string | undefined, file: string | undefined): Promise<PutContent> {
  if (value === STDIN || file === STDIN) return await fromStdin();
  if (value !== undefined) return value;
  if (file !== undefined) return await fromFile(file);
  const content = await fromStdin();
  // As in a script whose variable is not set: the user may not mean an empty value.
  if (content instanceof Uint8Array && content.length === 0) {
    throw new UsageError('Missing value: standard input is empty; give "" or - to save nothing');
  }
  return content;
}

/** Opens a file for each attempt, or reads a pipe as standard input. @throws {StartError} If it cannot. */
async function fromFile(path: string): Promise<PutContent> {
  if (path === "/dev/stdin") return await fromStdin();
  const open = async () => (await Deno.open(path)).readable;
  let first: ReadableStream<Uint8Array<ArrayBuffer>>;
  try {
    first = await open();
  } catch (error) {
    const special = error instanceof Deno.errors.NotCapable ? openSpecialFile(path) : undefined;
    if (special !== undefined) return await fromPipe(special);
    throw cannotRead(path, error instanceof Deno.errors.NotFound ? MISSING : messageOf(error));
  }
  const { isFile, isDirectory } = await Deno.stat(path);
  // A pipe cannot be read again: a second attempt would save the rest of it.
  if (!isFile && !isDirectory) return await fromPipe(first);
  await first.cancel();
  if (isDirectory) throw cannotRead(path, "it is a folder");
  return open;
}

const MISSING = "there is no such file";

function cannotRead(path: string, why: string): StartError {
  return new StartError(`Cannot read ${path}: ${why}`);
}

async function fromStdin(): Promise<PutContent> {
  if (Deno.stdin.isTerminal()) {
    tell("Type the value; Ctrl-D on a line of its own ends it");
  }
  return await fromPipe(Deno.stdin.readable);
}

/** Reads what can be read only once. A small value is kept; a larger one is sent once, as it comes. */
async function fromPipe(pipe: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<PutContent> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const rest = pipe[Symbol.asyncIterator]();
  for (let size = 0; size <= KEPT_BYTES;) {
    const next = await rest.next();
    if (next.done === true) return concat(chunks);
    chunks.push(next.value);
    size += next.value.length;
  }
  return ReadableStream.from(following(chunks, rest));
}
