import { assertEquals, assertThrows } from "@std/assert";
import { StorageBusyError, StorageFullError } from "../../../core/errors.ts";
import { Reserve } from "../../../core/storage/reserve.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";

Deno.test("A reserve that cannot be made refuses saves with the reason: no open files, or no room", async () => {
  const disk = new SimulatedDisk(new Random(1));
  for (
    const [fault, error] of [["exhausted", StorageBusyError], ["full", StorageFullError]] as const
  ) {
    disk.fault = ({ kind }) => kind === "create" ? fault : undefined;
    const reserve = await Reserve.open("/h", disk, 100);
    assertEquals(reserve.isGivenUp, true);
    assertThrows(() => reserve.checkSave(), error);
    disk.fault = () => undefined;
    await reserve.restore();
    reserve.checkSave();
    await reserve.giveUp();
    assertThrows(() => reserve.checkSave(), StorageFullError);
  }
});
