// A small picture of one region: its shape in its colour. It shows where in the image the region is.

import { brushOf, make } from "./elements.js";
import { pixel } from "./palettes.js";

/** @import { View } from "./view.js" */

const LONGEST = 64; // pixels
const SHORTEST = 8;

/**
 * A canvas with the silhouette of a node.
 *
 * @param {View} view
 * @param {number} node
 * @param {ArrayLike<number>} color - red, green and blue
 */
export function silhouette(view, node, color) {
  const { labels, width, height, tree } = view;
  const scale = LONGEST / Math.max(width, height);
  const canvas = make("canvas", {
    width: Math.max(SHORTEST, Math.round(width * scale)),
    height: Math.max(SHORTEST, Math.round(height * scale)),
  });
  const brush = brushOf(canvas);
  const image = brush.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const inside = tree.inside(node);
  const filled = pixel(color[0], color[1], color[2], 1);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    const row = Math.floor(((y + 0.5) / canvas.height) * height) * width;
    for (let x = 0; x < canvas.width; x++, i++) {
      const leaf = labels[row + Math.floor(((x + 0.5) / canvas.width) * width)];
      pixels[i] = inside[leaf] ? filled : 0;
    }
  }
  brush.putImageData(image, 0, 0);
  return canvas;
}
