/** Which file system a folder is on, told so that servers on the same one are known to share its room. */
import { encodeHex } from "@std/encoding/hex";
import { readAtOnce } from "./quick_files.ts";

/** One for each start of the kernel, the same in all its containers; random(4). */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/**
 * Returns a name of the file system that `path` is on: the same for everyone on this machine, and
 * another one on every other machine. `undefined` where the system does not tell of itself (not
 * Linux). What is one disk behind two file systems (subvolumes of btrfs, thin volumes, a share mounted by
 * two machines) has two names.
 */
export async function fileSystemId(path: string): Promise<string | undefined> {
  // Through the C library: the runtime keeps /proc from those who may not do everything.
  const bytes = readAtOnce(BOOT_ID, 64);
  if (bytes === undefined) return undefined;
  const boot = new TextDecoder().decode(bytes);
  const { dev } = await Deno.stat(path);
  // Hashed, since it names the machine to others.
  const text = new TextEncoder().encode(`${boot} ${dev}`);
  const hash = await crypto.subtle.digest("SHA-256", text);
  return encodeHex(hash).slice(0, 16);
}
