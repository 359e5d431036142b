/** Who may read the files that this process makes. */
import { loadLibC } from "./libc.ts";

const GROUP = 0o070;
const OTHERS = 0o007;

/**
 * Has the files that this process makes from now on be for its user alone; for the group too if the data
 * directory `path` is there and the group may do everything in it, as in a volume with `fsGroup`. By the umask, so
 * that no way to make a file can be forgotten. What is there keeps what it has. On another system than Linux, or
 * with another C library, the umask stays what it was.
 */
export async function keepFilesPrivate(path: string): Promise<void> {
  loadLibC()?.umask(await isOfGroup(path) ? OTHERS : GROUP | OTHERS);
}

async function isOfGroup(path: string): Promise<boolean> {
  try {
    const { mode } = await Deno.stat(path);
    return mode !== null && (mode & GROUP) === GROUP;
  } catch {
    // It is to be made, or whoever needs it says what is wrong.
    return false;
  }
}
