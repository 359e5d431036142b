/**
 * Lists folders with very many files, by the system call. `Deno.readDir` takes several times the time, and a lot of
 * memory that a server at its start may not have.
 */
import { messageOf } from "../errors.ts";
import { cString, loadLibC, O_CLOEXEC } from "./libc.ts";

/** Called for each entry of a folder. A symbolic link is not a file. */
export type OnEntry = (name: string, isFile: boolean) => void;

/**
 * Calls `onEntry` for each entry of the folder `path`, in no order. Lets the event loop run now and then. On a system
 * that is not Linux by `Deno.readDir`.
 *
 * @throws {Error} If the folder cannot be opened, as `Deno.readDir`, or cannot be read.
 */
export async function listFolder(path: string, onEntry: OnEntry): Promise<void> {
  const libc = loadLibC();
  const folder = libc?.open(cString(path), O_DIRECTORY | O_CLOEXEC, 0) ?? -1;
  // The error of Deno says why the folder cannot be opened.
  if (libc === undefined || folder < 0) return await listPortably(path, onEntry);
  try {
    await readEntries(path, (buffer) => {
      return Number(libc.getdents64(folder, buffer, BigInt(buffer.length)));
    }, onEntry);
  } finally {
    libc.close(folder);
  }
}

async function listPortably(path: string, onEntry: OnEntry): Promise<void> {
  for await (const entry of Deno.readDir(path)) onEntry(entry.name, entry.isFile);
}

// open(2) of Linux. O_DIRECTORY differs from processor to processor, so others than x86-64 do without: getdents64(2)
// fails on a file, too.
const O_DIRECTORY = Deno.build.arch === "x86_64" ? 0o200000 : 0;

// struct linux_dirent64 of getdents64(2): inode (8 bytes), offset (8), record length (2), type (1), name and NUL.
const LENGTH_AT = 16;
const TYPE_AT = 18;
const NAME_AT = 19;
const TYPE_UNKNOWN = 0;
const TYPE_FILE = 8;

const BUFFER_BYTES = 64 * 1024;
const READS_PER_TURN = 16;

async function readEntries(
  path: string,
  read: (buffer: Uint8Array<ArrayBuffer>) => number,
  onEntry: OnEntry,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  const view = new DataView(buffer.buffer);
  for (let reads = 1;; reads++) {
    const filled = read(buffer);
    if (filled < 0) throw new Error(`Cannot list folder ${path}: the system call failed`);
    if (filled === 0) return;
    for (let at = 0; at < filled; at += view.getUint16(at + LENGTH_AT, true)) {
      const name = nameAt(buffer, at + NAME_AT);
      if (name === undefined || name === "." || name === "..") continue;
      const type = buffer[at + TYPE_AT];
      onEntry(name, type === TYPE_UNKNOWN ? isFileAt(`${path}/${name}`) : type === TYPE_FILE);
    }
    if (reads % READS_PER_TURN === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** For file systems that do not tell the type of an entry in the listing. */
function isFileAt(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new Error(`Cannot look at ${path}: ${messageOf(error)}`, { cause: error });
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const units: number[] = [];

/** Returns the name from `start` to the next NUL; `undefined` if it is not UTF-8, which no key is. */
function nameAt(buffer: Uint8Array<ArrayBuffer>, start: number): string | undefined {
  let end = start;
  let ascii = true;
  for (let byte = buffer[end] ?? 0; byte !== 0; byte = buffer[++end] ?? 0) {
    if (byte >= 0x80) ascii = false;
  }
  if (ascii && end - start < 32) {
    // Much faster than a decoder for short names.
    units.length = end - start;
    for (let i = start; i < end; i++) units[i - start] = buffer[i] ?? 0;
    return String.fromCharCode(...units);
  }
  try {
    return decoder.decode(buffer.subarray(start, end));
  } catch {
    return undefined;
  }
}
