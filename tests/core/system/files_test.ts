/** Which errors of the real file system mean what for the store. */
import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { join } from "@std/path";
import { constants } from "node:os";
import {
  StorageBusyError,
  StorageFailedError,
  StorageFullError,
  WriteRefusedError,
} from "../../../core/errors.ts";
import { denoFiles } from "../../../core/system/deno_files.ts";
import {
  isDiskFull,
  isExhausted,
  isFileTooLarge,
  isFolderInTheWay,
  refusedOr,
} from "../../../core/system/files.ts";

/** What `action` throws. */
async function errorOf(action: () => Promise<unknown>): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return error;
  }
  throw new Error("Expected an error");
}

/** An error as the runtime makes it of one for which it has no code. */
function numbered(name: keyof typeof constants.errno): Error {
  return new Error(`Some words (os error ${constants.errno[name]}): open '/a'`);
}

Deno.test("isDiskFull() knows a full disk by its code, a quota and a file of the largest size also by their number", async () => {
  const file = await denoFiles.open("/dev/full", { write: true });
  try {
    const full = await errorOf(() => file.write(new Uint8Array(1)));
    assertEquals([isDiskFull(full), isFileTooLarge(full), isExhausted(full)], [true, false, false]);
  } finally {
    file.close();
  }
  assert(isDiskFull(numbered("EDQUOT")) && isDiskFull(numbered("EFBIG")));
  assert(isFileTooLarge(numbered("EFBIG")) && !isFileTooLarge(numbered("EDQUOT")));
});

Deno.test("isFolderInTheWay() knows a folder in the place of a file, at a rename and at a removal", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const key = join(folder, "key");
    const temporary = join(folder, "temporary");
    await Deno.mkdir(join(key, "inside"), { recursive: true });
    await Deno.writeTextFile(temporary, "x");
    assert(isFolderInTheWay(await errorOf(() => denoFiles.rename(temporary, key))));
    assert(isFolderInTheWay(await errorOf(() => denoFiles.remove(key))));
    const missing = await errorOf(() => denoFiles.remove(join(folder, "none")));
    assertEquals([isFolderInTheWay(missing), isDiskFull(missing)], [false, false]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("refusedOr() tells no room and nothing to spare from a disk that failed, and keeps an error that says so", () => {
  assertInstanceOf(refusedOr("what", numbered("ENOSPC")), StorageFullError);
  for (const name of ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"] as const) {
    assertInstanceOf(refusedOr("what", numbered(name)), StorageBusyError, name);
  }
  const failed = refusedOr("Cannot do it", numbered("EIO"));
  assertInstanceOf(failed, StorageFailedError);
  assertEquals(failed.message.startsWith("Storage failed: Cannot do it: Some words"), true);
  for (const error of [failed, new WriteRefusedError("no")]) {
    assertStrictEquals(refusedOr("what", error), error);
  }
  assertInstanceOf(refusedOr("what", "no error at all"), StorageFailedError);
});
