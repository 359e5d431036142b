import { assertEquals } from "@std/assert";
import { following } from "../../../core/system/chunks.ts";

Deno.test("following() yields first and rest in order, and ends the rest wherever its reader stops", async () => {
  for (let stopAt = 1; stopAt <= 5; stopAt++) {
    let isEnded = false;
    const rest = async function* (): AsyncGenerator<number> {
      try {
        for (let i = 2; i < 5; i++) yield await Promise.resolve(i);
      } finally {
        isEnded = true;
      }
    }();
    // It has begun, as one has from which the first were read.
    await rest.next();
    const seen: number[] = [];
    for await (const one of following([1, 2], rest)) {
      seen.push(one);
      if (seen.length === stopAt) break;
    }
    assertEquals(seen, [1, 2, 3, 4].slice(0, stopAt));
    assertEquals(isEnded, true, `stopped at ${stopAt}`);
  }
});
