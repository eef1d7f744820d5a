// Which part of the image's area the icicle shows, and the smooth change from one part to another.

const DURATION = 260; // milliseconds
const SURROUNDINGS = 3; // the part in sight is this many times as tall as the selection

/** @typedef {{ top: number, share: number }} Part - the part that begins at `top`, 0 to 1 */

export class Zoom {
  constructor() {
    this.top = 0;
    this.share = 1;
    /** @type {Part | null} where the change began; null when nothing changes */
    this.from = null;
    /** @type {Part} */
    this.target = { top: 0, share: 1 };
    this.began = 0;
  }

  /**
   * Begin to show a node in the middle, together with its surroundings.
   *
   * @param {number} top - of the node, as a share of the image
   * @param {number} share - of the node
   * @param {number} now - milliseconds
   * @param {boolean} smooth - whether the change takes time
   */
  aim(top, share, now, smooth) {
    const wanted = Math.min(1, SURROUNDINGS * share);
    const middle = top + share / 2;
    this.target = {
      top: Math.max(0, Math.min(1 - wanted, middle - wanted / 2)),
      share: wanted,
    };
    this.from = smooth ? { top: this.top, share: this.share } : null;
    this.began = now;
    if (!smooth) Object.assign(this, this.target);
  }

  /**
   * Go on to the part that is in sight now. True while the change is not complete.
   *
   * @param {number} now - milliseconds
   */
  move(now) {
    const { from, target } = this;
    if (!from) return false;
    const elapsed = Math.min(1, Math.max(0, (now - this.began) / DURATION));
    const eased = 1 - (1 - elapsed) ** 3;
    // The share changes by the same factor in the same time: this looks even to the eye.
    this.share = from.share * (target.share / from.share) ** eased;
    const change = from.share - target.share;
    const moved = change === 0 ? eased : (from.share - this.share) / change;
    this.top = from.top + (target.top - from.top) * moved;
    if (elapsed === 1) this.from = null;
    return this.from !== null;
  }
}
