import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, inflateSync } from "node:zlib";

import { greyPng } from "../../src/regiontree/viewer/web/png.js";

const SIGNATURE = "89504e470d0a1a0a";

/**
 * The chunks of a PNG, each with its CRC checked by node's own.
 *
 * @param {Blob} blob
 */
async function chunksOf(blob) {
  const file = Buffer.from(await blob.arrayBuffer());
  assert.equal(file.subarray(0, 8).toString("hex"), SIGNATURE);
  const chunks = [];
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const body = file.subarray(at + 4, at + 8 + length);
    assert.equal(file.readUInt32BE(at + 8 + length), crc32(body));
    chunks.push({ type: body.toString("latin1", 0, 4), data: body.subarray(4) });
    at += length + 12;
  }
  return chunks;
}

test("a mask of 8 bits", async () => {
  const blob = await greyPng(3, 2, 8, (i) => 40 * i);
  assert.equal(blob.type, "image/png");
  const [header, pixels, end] = await chunksOf(blob);
  assert.deepEqual([header.type, pixels.type, end.type], ["IHDR", "IDAT", "IEND"]);
  assert.equal(header.data.toString("hex"), "00000003" + "00000002" + "0800000000");
  assert.deepEqual([...inflateSync(pixels.data)], [0, 0, 40, 80, 0, 120, 160, 200]);
});

test("numbers of 16 bits have their high byte first", async () => {
  const [header, pixels] = await chunksOf(await greyPng(2, 1, 16, (i) => [258, 65_535][i]));
  assert.equal(header.data[8], 16);
  assert.deepEqual([...inflateSync(pixels.data)], [0, 1, 2, 255, 255]);
});
