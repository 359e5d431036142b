/** Key files put into a folder directly, which is the fast way to many keys. */
import { join } from "@std/path";
import { valueOf } from "./dialects.ts";
import { KEY_DIGITS } from "./types.ts";

/** Names that one file gets at most; ext4 allows 65,000. */
const MAX_LINKS = 50_000;

const PAUSE_EVERY = 10_000;

/**
 * Writes one file a key, numbers from 0. They are not flushed.
 *
 * With `linked` they are names of a few files. That is fast, and it does not leave many deleted
 * inodes behind: for half a minute ext4 searches around those whenever a file is created, which
 * makes it twenty times as slow for whoever is measured next. Only for keys that are not saved to,
 * and that are cached before they are measured.
 */
export async function writeKeyFiles(
  folder: string,
  prefix: string,
  options: { readonly keys: number; readonly valueBytes: number; readonly linked?: boolean },
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const value = new TextEncoder().encode(valueOf(options.valueBytes));
  let original = "";
  for (let key = 0; key < options.keys; key++) {
    const path = join(folder, prefix + String(key).padStart(KEY_DIGITS, "0"));
    // Synchronously: several times as fast, and there is nothing else to do meanwhile.
    if (options.linked && key % MAX_LINKS !== 0) {
      Deno.linkSync(original, path);
    } else {
      Deno.writeFileSync(path, value);
      original = path;
    }
    // Lets a Ctrl-C through.
    if (key % PAUSE_EVERY === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
