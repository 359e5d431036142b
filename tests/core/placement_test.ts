import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { hash31, jump, jumpHash, modulo, PLACEMENTS } from "../../core/placement.ts";

Deno.test("modulo() places a, b, c, d as the specification's table says", () => {
  const place = (servers: number) => ["a", "b", "c", "d"].map((key) => modulo(key, servers));
  assertEquals(place(3), [1, 2, 0, 1]);
  assertEquals(place(2), [1, 0, 1, 0]);
});

Deno.test("hash31() is the code point for one character, and base 31 for more", () => {
  assertEquals(hash31("a"), 97);
  assertEquals(hash31("😀"), 0x1f600);
  assertEquals(hash31("ab"), 97 * 31 + 98);
  // Java: "hello world".hashCode() == 1794106052; "polygenelubricants" is -2^31 there.
  assertEquals(hash31("hello world"), 1794106052);
  assertEquals(hash31("polygenelubricants"), 2 ** 31);
});

Deno.test("hash31() equals exact arithmetic over code points", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (key) => {
    let exact = 0n;
    for (const character of key) {
      exact = (exact * 31n + BigInt(character.codePointAt(0) ?? 0)) % 2n ** 32n;
    }
    assertEquals(hash31(key), Number(exact));
  }));
});

Deno.test("jumpHash() equals the published test vectors", () => {
  // From the test suites of widely used implementations of the 2014 paper (Go, Guava).
  const vectors: [bigint, number, number][] = [
    [1n, 1, 0],
    [42n, 57, 43],
    [0xDEAD10CCn, 1, 0],
    [0xDEAD10CCn, 666, 361],
    [256n, 1024, 520],
    [0n, 60, 0],
    [0n, 1000, 0],
    [10863919174838991n, 11, 6],
    [2016238256797177309n, 11, 3],
    [1673758223894951030n, 11, 5],
    [2n, 100001, 80343],
    [2201n, 100001, 22152],
    [2202n, 100001, 15018],
  ];
  // Of the hashes 0, 1, 2, ... in 100 buckets.
  const hundred = [0, 55, 62, 8, 45, 59, 86, 97, 82, 59, 73, 37, 17, 56, 86, 21, 90, 37, 38, 83];
  for (const [hash, bucket] of hundred.entries()) vectors.push([BigInt(hash), 100, bucket]);
  for (const [hash, buckets, bucket] of vectors) assertEquals(jumpOf(hash, buckets), bucket);
});

/** jumpHash() of a 64-bit number. */
function jumpOf(hash: bigint, buckets: number): number {
  return jumpHash(Number(hash >> 32n), Number(hash & 0xffffffffn), buckets);
}

/** The C++ of the paper, word for word, with exact arithmetic. */
function jumpOfPaper(hash: bigint, buckets: number): number {
  let key = hash;
  let [b, j] = [-1, 0];
  while (j < buckets) {
    b = j;
    key = BigInt.asUintN(64, key * 2862933555777941757n + 1n);
    j = Math.floor((b + 1) * ((2 ** 31) / (Number(key >> 33n) + 1)));
  }
  return b;
}

Deno.test("jumpHash() on halves equals the function of the paper on 64 bits", () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      (hash, buckets) => assertEquals(jumpOf(hash, buckets), jumpOfPaper(hash, buckets)),
    ),
    { numRuns: 2000 },
  );
});

Deno.test("jump() is jumpHash() of the XXH64 of the key", () => {
  // The hashes are those of the reference implementation with seed 0.
  const hashes = { a: 0xd24ec4f1a98c6e5bn, abc: 0x44bc2cf5ad770999n };
  for (const [key, hash] of Object.entries(hashes)) {
    for (const servers of [1, 2, 3, 10, 1000]) {
      assertEquals(jump(key, servers), jumpOfPaper(hash, servers));
    }
  }
  const place = (servers: number) => [..."abcdefgh"].map((key) => jump(key, servers));
  assertEquals(place(2), [1, 1, 0, 1, 0, 0, 0, 1]);
  assertEquals(place(3), [1, 2, 0, 2, 2, 2, 0, 1]);
});

Deno.test("jump() moves a key only onto the server that was added", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.integer({ min: 1, max: 99 }), (key, servers) => {
      const before = jump(key, servers);
      const after = jump(key, servers + 1);
      assert(after === before || after === servers);
    }),
  );
});

/** More for a closer look: KVS_TEST_PLACEMENT_KEYS=1000000. */
const KEYS = Number(Deno.env.get("KVS_TEST_PLACEMENT_KEYS") ?? 200_000);

Deno.test(`jump() of ${KEYS} keys moves a quarter from 3 to 4, and is even within 1 %`, () => {
  let moved = 0;
  const loads = [0, 0, 0, 0];
  for (let index = 0; index < KEYS; index++) {
    const key = `key-${index}`;
    const [before, after] = [jump(key, 3), jump(key, 4)];
    loads[after] = (loads[after] ?? 0) + 1;
    if (before === after) continue;
    assertEquals(after, 3);
    moved++;
  }
  assert(Math.abs(moved / KEYS - 0.25) <= 0.01, `${moved}`);
  for (const load of loads) assert(Math.abs(4 * load / KEYS - 1) <= 0.01, loads.join());
});

Deno.test("every placement stays within the list", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.integer({ min: 1, max: 999 }), (key, servers) => {
      for (const place of Object.values(PLACEMENTS)) {
        const index = place(key, servers);
        assert(Number.isInteger(index) && index >= 0 && index < servers);
      }
    }),
  );
});
