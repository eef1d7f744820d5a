// What Python tells the page about a tree, and how the page reads it.

import { decodeBase64, transform } from "./bytes.js";

/**
 * Where the page finds its surroundings: relative URLs, null for what is not there.
 *
 * @typedef {object} Links
 * @property {string | null} index - the page of all images
 * @property {string | null} previous - the page of the image before this one
 * @property {string | null} next - the page of the image after this one
 * @property {string | null} tree - the file of the tree
 * @property {string | null} mask - the mask of a region; "{node}" stands for its number
 * @property {string | null} cut - the picture of a cut; "{regions}" stands for its regions
 * @property {string | null} whole - of a page of pieces, the page of the whole tree
 * @property {string | null} pieces - of another page, the page of its pieces
 */

/**
 * The data of one page. The function `payload` of page.py writes it and explains every field.
 *
 * @typedef {object} Payload
 * @property {string} name
 * @property {string[]} notices
 * @property {Links} links
 * @property {[number, number]} shape - height and width of the image
 * @property {[number, number]} view - height and width as shown
 * @property {string} labels
 * @property {number} label_bytes
 * @property {number[]} parents
 * @property {number[]} area
 * @property {number[]} height
 * @property {number[] | null} ncut
 * @property {number[]} stop
 * @property {(number | null)[] | null} stability
 * @property {Record<string, string>} reasons
 * @property {number[]} divisions
 * @property {number} natural
 * @property {string} colors
 * @property {string | null} means
 * @property {string | null} photo
 * @property {string | null} tree
 * @property {boolean} whole
 */

/** @typedef {Uint16Array | Uint32Array} Labels - the leaf of each pixel of the view, row by row */

/**
 * The labels of a payload, decoded.
 *
 * @param {Pick<Payload, "labels" | "label_bytes">} data
 * @returns {Promise<Labels>}
 */
export async function readLabels({ labels, label_bytes: size }) {
  const { buffer } = await transform(decodeBase64(labels), new DecompressionStream("deflate"));
  return size === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer);
}
