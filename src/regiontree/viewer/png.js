// Grey PNG files of 8 or 16 bits, as of the PNG specification (third edition), sections 5 and 7 to
// 10: no filter, one chunk of deflated rows, which is all that masks and region numbers need.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** A chunk: length, type, data, and the CRC of type and data. */
function chunk(type, data) {
  const bytes = new Uint8Array(data.length + 12);
  const fields = new DataView(bytes.buffer);
  fields.setUint32(0, data.length);
  bytes.set(Array.from(type, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < data.length + 8; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  fields.setUint32(data.length + 8, ~crc);
  return bytes;
}

/** The image whose pixel i has the grey value(i), 0 to 2^bits - 1. */
async function greyPng(width, height, bits, value) {
  const size = bits / 8;
  const rows = new Uint8Array(height * (1 + width * size)); // a row begins with its filter: 0
  const samples = new DataView(rows.buffer);
  for (let y = 0, i = 0, at = 0; y < height; y++) {
    at++;
    for (let x = 0; x < width; x++, i++, at += size) {
      if (size === 2) samples.setUint16(at, value(i));
      else rows[at] = value(i);
    }
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, bits);
  const data = await piped(rows, new CompressionStream("deflate"));
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const first = chunk("IHDR", new Uint8Array(header.buffer));
  const parts = [signature, first, chunk("IDAT", data), chunk("IEND", [])];
  return new Blob(parts, { type: "image/png" });
}
