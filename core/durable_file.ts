/** Files whose writes are durable when they are done: the kernel flushes each within the same call. */
import type { DurableFile } from "./files.ts";
import { cString, type LibC, loadLibC, O_CLOEXEC } from "./libc.ts";

// open(2) on Linux.
const O_WRONLY = 1;
const O_DSYNC = 0o10000;

class DescriptorFile implements DurableFile {
  readonly #libc: NonNullable<LibC>;
  readonly #descriptor: number;

  constructor(libc: NonNullable<LibC>, descriptor: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
  }

  /** The call's own promise: one around it would come behind all that is ready at the same time. */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): Promise<bigint> {
    return this.#libc.pwrite(this.#descriptor, bytes, BigInt(bytes.length), BigInt(offset));
  }

  close(): void {
    this.#libc.close(this.#descriptor);
  }
}

/** As `Files.openDurable`: `undefined` where there is no such C library, or it cannot open the file. */
export function openDurable(path: string): DurableFile | undefined {
  const libc = loadLibC();
  if (libc === undefined) return undefined;
  const descriptor = libc.open(cString(path), O_WRONLY | O_DSYNC | O_CLOEXEC, 0);
  return descriptor < 0 ? undefined : new DescriptorFile(libc, descriptor);
}
