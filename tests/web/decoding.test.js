import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { decodeBase64, transform } from "../../src/regiontree/viewer/web/bytes.js";
import { hexColors, pixel, preorder } from "../../src/regiontree/viewer/web/palettes.js";
import { readLabels } from "../../src/regiontree/viewer/web/payload.js";
import { handTree } from "./trees.js";

test("labels of 2 and of 4 bytes are read", async () => {
  for (const Kind of [Uint16Array, Uint32Array]) {
    const labels = Kind.from([0, 1, 300, 65_535]);
    const text = deflateSync(labels).toString("base64");
    const read = await readLabels({ labels: text, label_bytes: Kind.BYTES_PER_ELEMENT });
    assert.deepEqual(read, labels);
  }
});

test("what is compressed comes back", async () => {
  const bytes = decodeBase64(Buffer.from("region ".repeat(1000)).toString("base64"));
  const small = await transform(bytes, new CompressionStream("deflate"));
  assert.ok(small.length < 100);
  assert.deepEqual(await transform(small, new DecompressionStream("deflate")), bytes);
});

test("colours are read from hexadecimal digits", () => {
  assert.deepEqual([...hexColors("00ff80a0b1c2")], [0, 255, 128, 160, 177, 194]);
});

test("a pixel of a canvas has red first in memory", () => {
  const bytes = new Uint8Array(Uint32Array.of(pixel(1, 2, 3, 1)).buffer);
  assert.deepEqual([...bytes], [1, 2, 3, 255]);
});

test("preorder visits each node before its children, largest children first", () => {
  assert.deepEqual(preorder(handTree()), [6, 0, 5, 3, 4, 1, 2]);
});
