// The tree as the page knows it: flat arrays, leaves first, every parent after its children, the
// root last. A cut is a number m: the first m divisions are made. What holds of a pixel or a border
// is worked out once; a cut then is one comparison with m.

class Tree {
  constructor({ parents, area, divisions }) {
    this.parents = Int32Array.from(parents);
    this.area = area;
    this.root = parents.length - 1;
    this.divisions = divisions;
    this.children = parents.map(() => []);
    this.level = new Int32Array(parents.length);
    this.below = new Int32Array(parents.length); // nodes below each
    for (let i = 0; i < this.root; i++) {
      this.children[parents[i]].push(i);
      this.below[parents[i]] += this.below[i] + 1;
    }
    for (let i = this.root - 1; i >= 0; i--) this.level[i] = this.level[parents[i]] + 1;
    this.depth = this.level.reduce((a, b) => Math.max(a, b));
    for (const siblings of this.children) siblings.sort((a, b) => area[b] - area[a] || a - b);
    this.leaves = parents.length - divisions.length;
    // Node i is divided by the divisions m > when[i]; leaves by none.
    this.when = new Int32Array(parents.length).fill(divisions.length);
    this.counts = [1]; // regions after m divisions
    divisions.forEach((node, m) => {
      this.when[node] = m;
      this.counts.push(this.counts[m] + this.children[node].length - 1);
    });
    // The cuts that a number of regions can ask for: of those with equal numbers the finest.
    this.steps = this.counts.flatMap((count, m) => (count === this.counts[m + 1] ? [] : [m]));
  }

  /** The finest cut into at most k regions: its place in `steps`. */
  stepOf(k) {
    let low = 0;
    for (let high = this.steps.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (this.counts[this.steps[middle]] <= k) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** For each node the region of cut m that holds it; -1 where the cut divides it. */
  owners(m) {
    const owner = new Int32Array(this.parents.length);
    for (let i = this.root; i >= 0; i--) {
      const above = i === this.root ? -1 : owner[this.parents[i]];
      owner[i] = above >= 0 ? above : this.when[i] >= m ? i : -1;
    }
    return owner;
  }

  /** For each node the place of its region in the cut (regions ascend by node), -1 if divided. */
  regions(m) {
    const owner = this.owners(m);
    let count = 0;
    const place = owner.map((region, node) => (region === node ? count++ : -1));
    return owner.map((region) => (region < 0 ? -1 : place[region]));
  }

  /** 1 for the node and all below it. */
  inside(node) {
    const inside = new Uint8Array(this.parents.length);
    if (node < 0) return inside;
    inside[node] = 1;
    for (let i = node - 1; i >= 0; i--) inside[i] = inside[this.parents[i]];
    return inside;
  }

  /** From the root down to the node. */
  path(node) {
    const path = [node];
    while (path[0] !== this.root) path.unshift(this.parents[path[0]]);
    return path;
  }

  /** The division that parts two leaves: that of the lowest node above both. */
  parting(a, b) {
    while (a !== b) {
      if (a < b) a = this.parents[a];
      else b = this.parents[b];
    }
    return this.when[a];
  }
}

/** Labels of a view and, for each pixel, the first division that draws a border there. */
class View {
  constructor(tree, labels, [height, width]) {
    Object.assign(this, { tree, labels, height, width });
    this.thick = Math.max(width, height) > 720 ? 2 : 1;
    this.borders = new Uint32Array(labels.length).fill(0xffffffff);
    this.boxes = new Int32Array(4 * tree.parents.length); // left, top, right, bottom of each node
    for (let node = 0; node <= tree.root; node++) {
      this.boxes.set([width, height, -1, -1], 4 * node);
    }
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0, since = 0; x < width; x++, i++) {
        const leaf = labels[i];
        if (y + 1 < height && labels[i + width] !== leaf) this.mark(i, i + width);
        if (x + 1 < width && labels[i + 1] === leaf) continue;
        if (x + 1 < width) this.mark(i, i + 1);
        this.grow(leaf, since, y, x, y); // a run of one leaf ends here
        since = x + 1;
      }
    }
    for (let i = 0; i < tree.root; i++) this.grow(tree.parents[i], ...this.box(i));
  }

  box(node) {
    return this.boxes.subarray(4 * node, 4 * node + 4);
  }

  mark(i, j) {
    const { borders } = this, m = this.tree.parting(this.labels[i], this.labels[j]);
    if (m < borders[i]) borders[i] = m;
    if (this.thick > 1 && m < borders[j]) borders[j] = m;
  }

  grow(node, left, top, right, bottom) {
    const { boxes } = this, at = 4 * node;
    if (left < boxes[at]) boxes[at] = left;
    if (top < boxes[at + 1]) boxes[at + 1] = top;
    if (right > boxes[at + 2]) boxes[at + 2] = right;
    if (bottom > boxes[at + 3]) boxes[at + 3] = bottom;
  }

  /** Pixels of a node that lie within `width` pixels of its edge. */
  outline(node, width) {
    const { labels, width: w, height: h } = this;
    const inside = this.tree.inside(node);
    const [left, top, right, bottom] = this.box(node);
    const found = [];
    for (let y = top; y <= bottom; y++) {
      for (let x = left, i = y * w + left; x <= right; x++, i++) {
        if (!inside[labels[i]]) continue;
        const within = x >= width && y >= width && x < w - width && y < h - width &&
          inside[labels[i - width]] && inside[labels[i + width]] &&
          inside[labels[i - width * w]] && inside[labels[i + width * w]];
        if (!within) found.push(i);
      }
    }
    return found;
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Bytes through a CompressionStream or its reverse. */
async function piped(bytes, stream) {
  const through = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(through).arrayBuffer());
}

async function readLabels({ labels, label_bytes }) {
  const { buffer } = await piped(bytesOf(labels), new DecompressionStream("deflate"));
  return label_bytes === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer);
}
