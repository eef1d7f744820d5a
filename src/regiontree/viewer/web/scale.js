// The scale of the slider and of the icicle: 0 for one region, 1 for the largest number of regions.
//
// The scale is logarithmic: the step from 2 to 4 regions is as long as the step from 100 to 200.

/**
 * The position of a number of regions on the scale, 0 to 1.
 *
 * @param {number} count
 * @param {number} most - the largest number of regions
 */
export function positionOf(count, most) {
  return most > 1 ? Math.log(count) / Math.log(most) : 0;
}

/**
 * The number of regions at a position, 1 to `most`: the inverse of `positionOf`.
 *
 * @param {number} position - 0 to 1
 * @param {number} most
 */
export function countAt(position, most) {
  return Math.round(Math.exp(position * Math.log(most)));
}
