// Bytes from text, and bytes through a stream that compresses or decompresses them.

/**
 * The bytes that a base64 text stands for.
 *
 * @param {string} base64
 */
export function decodeBase64(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/**
 * The bytes after a CompressionStream or a DecompressionStream.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {CompressionStream | DecompressionStream} stream
 */
export async function transform(bytes, stream) {
  const result = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(result).arrayBuffer());
}
