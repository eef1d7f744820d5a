// Grey PNG images of 8 or 16 bits, for masks and numbered regions.
//
// Source: PNG specification, third edition, sections 5 and 7 to 10. Rows have no filter, and all of
// them are in one compressed chunk. Masks and numbered regions compress well without more.

import { transform } from "./bytes.js";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/**
 * A chunk of a PNG: length, type, data, and the CRC of type and data.
 *
 * @param {string} type - four letters
 * @param {Uint8Array} data
 */
function chunk(type, data) {
  const bytes = new Uint8Array(data.length + 12);
  const fields = new DataView(bytes.buffer);
  fields.setUint32(0, data.length);
  bytes.set(Array.from(type, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < data.length + 8; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  fields.setUint32(data.length + 8, ~crc);
  return bytes;
}

/**
 * The PNG of a grey image.
 *
 * @param {number} width
 * @param {number} height
 * @param {8 | 16} bits
 * @param {(i: number) => number} grey - the value of pixel i, 0 to 2^bits - 1, row by row
 */
export async function greyPng(width, height, bits, grey) {
  const size = bits / 8;
  const rows = new Uint8Array(height * (1 + width * size));
  const samples = new DataView(rows.buffer);
  for (let y = 0, i = 0, at = 0; y < height; y++) {
    at++; // the first byte of a row is its filter: 0, none
    for (let x = 0; x < width; x++, i++, at += size) {
      if (size === 2) samples.setUint16(at, grey(i));
      else rows[at] = grey(i);
    }
  }
  const header = new Uint8Array(13);
  const fields = new DataView(header.buffer);
  fields.setUint32(0, width);
  fields.setUint32(4, height);
  fields.setUint8(8, bits);
  const pixels = await transform(rows, new CompressionStream("deflate"));
  const chunks = [chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", new Uint8Array(0))];
  return new Blob([SIGNATURE, ...chunks], { type: "image/png" });
}
